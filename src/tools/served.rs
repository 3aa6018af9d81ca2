//! The tools of the server's side as the model is offered them: the catalogue's, where a
//! worker serves them, and those that only workers declare.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use jiff::tz::Offset;
use serde_json::{Map, Value as Json};
use tokio::time::Instant;

use super::catalogue::{Catalogue, Tool};
use super::workers::{Call, CallContext, Declared, Executed, Workers};
use super::{Asker, Output, Schema, devices};
use crate::domain::{CallFault, Value};
use crate::telemetry::TraceContext;

/// A model is shown 16,000 characters; what is beyond this is not waited for.
const ENOUGH: usize = 32 << 10;

/// Who executes tools beside the users' devices; cheap to clone.
#[derive(Clone)]
pub struct Served(Arc<Inner>);

struct Inner {
    catalogue: Catalogue,
    workers: Workers,
    /// As tools, what only workers declare; the same tool for as long as it is declared.
    declared: Mutex<Vec<(Arc<Declared>, Arc<Tool>)>>,
}

/// When and where "today" is for whoever a tool is called for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// When the screen looked so.
    pub(super) now: Timestamp,
    /// How far the client's clock is from UTC, if it said so.
    pub(super) utc_offset: Option<Offset>,
}

impl Served {
    /// What these workers serve.
    pub fn new(catalogue: Catalogue, workers: Workers) -> Self {
        Self(Arc::new(Inner {
            catalogue,
            workers,
            declared: Mutex::default(),
        }))
    }

    /// Whether a worker may declare this tool.
    ///
    /// # Errors
    /// Why not, for the worker's author.
    pub fn accepts(&self, declared: &Declared) -> Result<(), String> {
        match self.0.catalogue.find(&declared.name) {
            Some(tool) if tool.terminal => Err("a tool of this name ends a frame".to_owned()),
            Some(tool) if devices::is_one(tool) => {
                Err("the server executes this tool itself".to_owned())
            }
            Some(tool) if !tool.executors.may_be_served() => {
                Err("this tool is for users' devices alone".to_owned())
            }
            Some(_) => Ok(()),
            None => Schema::new(&declared.parameters).map(|_| ()),
        }
    }

    /// Whether somebody on the server's side executes it now.
    pub(super) fn has(&self, tool: &Tool) -> bool {
        devices::is_one(tool) || self.0.workers.has(&tool.name)
    }

    /// Tools that only workers declare, and that can be asked for now.
    pub(super) fn own(&self) -> Vec<Arc<Tool>> {
        let Inner {
            catalogue,
            workers,
            declared,
        } = &*self.0;
        if workers.connected() == 0 {
            return Vec::new();
        }
        let offered = workers.tools().into_iter();
        let offered: Vec<_> = offered
            .filter(|offered| catalogue.find(&offered.tool.name).is_none())
            .collect();
        let mut declared = declared.lock().unwrap_or_else(PoisonError::into_inner);
        declared.retain(|(known, _)| offered.iter().any(|it| Arc::ptr_eq(&it.tool, known)));
        let mut tools = Vec::with_capacity(offered.len());
        for offered in offered.iter().filter(|offered| offered.workers > 0) {
            let known = declared
                .iter()
                .find(|(it, _)| Arc::ptr_eq(it, &offered.tool));
            if let Some((_, tool)) = known {
                tools.push(tool.clone());
            } else if let Some(tool) = tool(&offered.tool) {
                declared.push((offered.tool.clone(), tool.clone()));
                tools.push(tool);
            }
        }
        tools
    }

    /// How many workers can be asked for each tool now, by its name.
    pub(super) fn asked(&self) -> Vec<(String, usize)> {
        let tools = self.0.workers.tools().into_iter();
        tools.map(|it| (it.tool.name.clone(), it.workers)).collect()
    }

    /// Tells whoever watches of a call that has ended.
    pub(super) fn tell(&self, executed: impl FnOnce() -> Executed) {
        self.0.workers.tell(executed);
    }

    /// Has a worker execute a tool. Of a streaming tool, as much as a model is shown;
    /// then the worker is told to stop.
    pub(super) async fn call(
        &self,
        tool: &Tool,
        arguments: &Map<String, Json>,
        (asker, moment): (&Asker, Moment),
        trace: Option<Box<TraceContext>>,
        (deadline, latest): (Instant, Instant),
    ) -> Result<Output, CallFault> {
        let Moment { now, utc_offset } = moment;
        let arguments = arguments.iter();
        let call = Call {
            tool: (*tool.name).to_owned(),
            arguments: arguments
                .map(|(name, value)| (name.clone(), Value::from(value.clone())))
                .collect::<BTreeMap<_, _>>(),
            context: CallContext {
                session: asker.session.clone(),
                locale: asker.profile.locale.clone(),
                time_zone: asker.profile.time_zone.clone(),
                utc_offset,
                now,
            },
            trace,
        };
        let workers = &self.0.workers;
        if !workers.streams(&tool.name) {
            let value = workers.call(call, deadline, latest).await?;
            return Ok(Output::Json(json(&value)));
        }
        let mut chunks = workers.stream(call, deadline, latest)?;
        let (mut shown, mut characters) = (Vec::new(), 0);
        while let Some(chunk) = chunks.next().await {
            let chunk = json(&chunk?);
            characters += chunk.to_string().len();
            shown.push(chunk);
            if characters > ENOUGH {
                return Ok(Output::Beginning(shown.into()));
            }
        }
        Ok(Output::Json(shown.into()))
    }
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Served")
    }
}

fn json(value: &Value) -> Json {
    serde_json::to_value(value).expect("every value has its JSON")
}

fn tool(declared: &Declared) -> Option<Arc<Tool>> {
    // It was checked when it was declared.
    let schema = Schema::new(&declared.parameters).ok()?;
    let (name, description) = (declared.name.as_str(), declared.description.clone());
    let tool = Tool::of_worker(name, description, schema, declared.changes);
    Some(Arc::new(tool))
}
