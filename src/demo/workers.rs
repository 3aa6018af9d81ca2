//! The workers beside the demo's server: which tools they offer, and what they were asked,
//! as the server within this process tells it.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::mpsc::Receiver;

use super::print::Printer;
use crate::tools::workers::Executed;

/// What there is to tell of workers.
pub struct Workers {
    /// Their calls, as they end.
    calls: Receiver<Executed>,
    offered: Vec<String>,
    /// How often which tool ended how.
    counted: BTreeMap<(String, &'static str), usize>,
}

impl Workers {
    /// Workers that offer these tools.
    pub fn new(offered: Vec<String>, calls: Receiver<Executed>) -> Self {
        Self {
            calls,
            offered,
            counted: BTreeMap::new(),
        }
    }

    /// Tells the calls that have ended by now.
    pub(super) fn tell<W: Write>(&mut self, printer: &mut Printer<W>) {
        for call in self.calls.try_iter() {
            printer.executed(&call);
            let status = call.status();
            *self.counted.entry((call.tool, status)).or_default() += 1;
        }
    }

    /// What they did, in a sentence.
    pub(super) fn summary(&self) -> String {
        let counted = self.counted.iter();
        let counted = counted.map(|((tool, status), count)| format!("{tool} ({status}: {count})"));
        let counted: Vec<_> = counted.collect();
        let executed = match counted.is_empty() {
            true => format!("none (offered: {})", self.offered.join(", ")),
            false => counted.join(", "),
        };
        format!("Tools that workers executed: {executed}.")
    }
}
