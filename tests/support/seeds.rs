//! Plays something random from one seed after the other, on all cores, until one
//! of them fails.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// A seed that failed, and what was wrong.
pub(crate) type Failed = (u64, String);

/// Plays the seeds below `count`. Each core begins with a value of its own, which
/// all its seeds share and which is returned.
pub(crate) fn play_all<V: Send>(
    count: u64,
    begin: impl Fn() -> V + Sync,
    play: impl Fn(&mut V, u64) -> Result<(), String> + Sync,
) -> Result<Vec<V>, Failed> {
    let next = AtomicU64::new(0);
    let failed = Mutex::new(None);
    let work = || {
        let mut value = begin();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= count {
                return value;
            }
            if let Err(wrong) = caught(|| play(&mut value, seed)) {
                next.store(count, Ordering::Relaxed);
                let mut failed = failed.lock().expect("nobody panics here");
                failed.get_or_insert((seed, wrong));
            }
        }
    };
    let values = thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined
            .map(|value| value.expect("a worker catches its panics"))
            .collect()
    });
    match failed.into_inner().expect("nobody panics here") {
        Some(failed) => Err(failed),
        None => Ok(values),
    }
}

/// What was played, or how it crashed. A task that survives the crash of another
/// hides it from whoever plays, but not from here.
pub(crate) fn caught<T>(play: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let played = catch_unwind(AssertUnwindSafe(play));
    match (CRASHED.take(), played) {
        (Some(what), _) => Err(format!("a crash: {what}")),
        (None, Ok(result)) => result,
        (None, Err(_)) => Err("a crash on purpose came through".to_owned()),
    }
}

thread_local! {
    /// The last crash of this thread that was not on purpose.
    static CRASHED: Cell<Option<String>> = const { Cell::new(None) };
}

/// Crashes that say this are not printed; all others are, and are noted.
pub(crate) fn crash_quietly(on_purpose: &'static str) {
    let loud = take_hook();
    set_hook(Box::new(move |panic| {
        if panic.payload_as_str() != Some(on_purpose) {
            CRASHED.set(Some(panic.to_string()));
            loud(panic);
        }
    }));
}

/// A number from the environment.
#[expect(clippy::disallowed_methods, reason = "how a test is told its size")]
pub(crate) fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number")),
    )
}
