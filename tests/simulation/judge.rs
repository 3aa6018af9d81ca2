//! What goes wrong in one simulation, and the trace of it.

use std::fmt::Write;
use std::sync::{Mutex, MutexGuard};

use tokio::time::Instant;

/// Shared by all who play.
pub(crate) struct Judge {
    began: Instant,
    wrong: Mutex<Option<String>>,
    trace: Option<Mutex<String>>,
}

impl Judge {
    pub(crate) fn new(traced: bool) -> Self {
        Self {
            began: Instant::now(),
            wrong: Mutex::default(),
            trace: traced.then(Mutex::default),
        }
    }

    /// Something is wrong; the first thing counts.
    pub(crate) fn blame(&self, what: &str) {
        self.note("WRONG", || what.to_owned());
        lock(&self.wrong).get_or_insert_with(|| what.to_owned());
    }

    pub(crate) fn note(&self, who: &str, what: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            let at = self.began.elapsed().as_secs_f64();
            let _ = writeln!(lock(trace), "{at:9.3} {who}: {}", what());
        }
    }

    /// What was wrong, and the trace.
    pub(crate) fn verdict(&self) -> (Option<String>, String) {
        let trace = self.trace.as_ref().map(|trace| lock(trace).clone());
        (lock(&self.wrong).clone(), trace.unwrap_or_default())
    }
}

/// Never held over an await, nor by somebody who panics.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding it")
}
