//! The connections to the model: a few, each call on the one that carries least.

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Client;

/// An HTTP client keeps one HTTP/2 connection per host, and calls beyond the
/// streams its peer allows (commonly 100) wait in it while their time runs out.
/// Four carry 400 calls at once, more than a process of this size asks.
const CONNECTIONS: usize = 4;

/// A fixed set of HTTP clients, made once.
pub struct Pool([Line; CONNECTIONS]);

struct Line {
    http: Client,
    /// Calls under way.
    calls: AtomicUsize,
}

impl Pool {
    /// The clients, as `make` makes them.
    ///
    /// # Errors
    /// Why it could not make one.
    pub fn new(make: impl Fn() -> reqwest::Result<Client>) -> reqwest::Result<Self> {
        let line = || {
            let calls = AtomicUsize::new(0);
            make().map(|http| Line { http, calls })
        };
        Ok(Self([line()?, line()?, line()?, line()?]))
    }

    /// The client with the fewest calls under way, the first of equals: with
    /// little to do, one connection is used and stays warm. Two calls at the
    /// same instant may choose the same; the next ones make up for it.
    pub(super) fn least_busy(&self) -> Lease<'_> {
        let calls = |line: &&Line| line.calls.load(Ordering::Relaxed);
        let line = self.0.iter().min_by_key(calls).expect("it is not empty");
        line.calls.fetch_add(1, Ordering::Relaxed);
        Lease(line)
    }
}

/// A call under way on a client, until it is dropped.
pub(super) struct Lease<'a>(&'a Line);

impl Lease<'_> {
    pub(super) fn http(&self) -> &Client {
        &self.0.http
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}
