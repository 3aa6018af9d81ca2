//! What a conversation begins with, for the tools that are offered: made once for each
//! set of tools, because most callers are offered the same ones.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::instruction;
use crate::gemini::Brief;
use crate::tools::{Offer, Tool};

/// Sets of tools that are remembered. There are few: searches or none, a worker's tools
/// or none.
const REMEMBERED: usize = 16;

/// A function that ends a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Terminal {
    Extract,
    Reject,
    NoTask,
}

impl Terminal {
    const EXTRACT: &str = "extract_task";

    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            Self::EXTRACT => Some(Self::Extract),
            "reject_task" => Some(Self::Reject),
            "no_task_found" => Some(Self::NoTask),
            _ => None,
        }
    }
}

/// The briefs that were made.
#[derive(Default)]
pub(super) struct Briefs(Mutex<Vec<(Vec<Arc<Tool>>, Brief)>>);

impl Briefs {
    pub(super) fn of(&self, offer: &Offer) -> Brief {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |tools: &[Arc<Tool>]| {
            let mut offered = tools_of(offer);
            tools.len() == offer.tools.len() + offer.terminal.len()
                && tools
                    .iter()
                    .all(|tool| offered.next().is_some_and(|it| Arc::ptr_eq(it, tool)))
        };
        if let Some((_, brief)) = made.iter().find(|(tools, _)| is_it(tools)) {
            return brief.clone();
        }
        if made.len() == REMEMBERED {
            made.remove(0);
        }
        let tools: Vec<_> = tools_of(offer).cloned().collect();
        let can_extract = offer.terminal(Terminal::EXTRACT).is_some();
        let declared: Vec<_> = tools.iter().map(|tool| declaration(tool)).collect();
        let brief = Brief::new(&instruction::text(can_extract), &declared.into());
        made.push((tools, brief.clone()));
        brief
    }
}

fn tools_of(offer: &Offer) -> impl Iterator<Item = &Arc<Tool>> {
    let tools = offer.tools.iter().map(|place| &place.tool);
    tools.chain(&offer.terminal)
}

/// Gemini's `FunctionDeclaration`. A function without parameters has none.
fn declaration(tool: &Tool) -> Value {
    let parameters = tool.schema.declared();
    let mut declaration = json!({ "name": &*tool.name, "description": tool.description });
    let properties = parameters.get("properties").and_then(Value::as_object);
    if properties.is_some_and(|properties| !properties.is_empty()) {
        declaration["parameters"] = parameters.clone();
    }
    declaration
}
