//! The connections to the model: a few, the next one used when those before it are
//! well filled.

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Client;

/// An HTTP client keeps one HTTP/2 connection per host, and calls beyond the
/// streams its peer allows (commonly 100, the least that RFC 9113 recommends in
/// section 6.5.2) wait in it while their time runs out.
/// Four carry 400 calls at once, more than a process of this size asks.
const CONNECTIONS: usize = 4;
/// Few, so that a peer which allows fewer streams than it should makes none wait, as
/// long as it allows so many.
const WELL_FILLED: usize = 16;

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

    /// The first client with room, or else the one with the fewest calls under
    /// way. Calls that share a connection share its system calls, and keep it
    /// warm. Several at the same instant may choose the same; the next ones make
    /// up for it.
    pub(super) fn lease(&self) -> Lease<'_> {
        let calls = |line: &&Line| line.calls.load(Ordering::Relaxed);
        let mut lines = self.0.iter();
        let line = lines
            .find(|line| calls(line) < WELL_FILLED)
            .or_else(|| self.0.iter().min_by_key(calls))
            .expect("it is not empty");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_filled_in_turn_and_then_evenly() {
        let pool = Pool::new(|| Client::builder().build()).unwrap();
        let mut leases: Vec<_> = (0..CONNECTIONS * WELL_FILLED)
            .map(|_| pool.lease())
            .collect();
        let calls = || {
            pool.0
                .each_ref()
                .map(|line| line.calls.load(Ordering::Relaxed))
        };
        assert_eq!(calls(), [WELL_FILLED; CONNECTIONS]);
        leases.extend((0..CONNECTIONS).map(|_| pool.lease()));
        assert_eq!(calls(), [WELL_FILLED + 1; CONNECTIONS]);
        leases.truncate(10);
        assert_eq!(calls(), [10, 0, 0, 0]);
        let _eleventh = pool.lease();
        assert_eq!(calls(), [11, 0, 0, 0]);
    }
}
