//! The bounds of everything that workers do here.

use std::time::Duration;

/// How many, how much, how long.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Workers that may be connected at once.
    pub at_most: usize,
    /// Tools of different names, of all workers together.
    pub tools_at_most: usize,
    /// Calls of one tool that may wait until a worker has room.
    pub waiting: usize,
    /// So many failures in a row, and a worker is not asked for a while; 0: never.
    pub failures: u32,
    /// For how long. Then one call may try.
    pub pause: Duration,
    /// Chunks of one call that may lie unread in the server.
    pub credit: u32,
    /// What one call may return, chunks together: bytes of memory.
    pub result_bytes: usize,
    /// So often may a worker say what cannot be, before it is sent away.
    pub lies: u32,
    /// Between two signs of life; a worker that is silent for three times as long has
    /// gone.
    pub heartbeat: Duration,
    /// By when a new stream must have said what it is.
    pub hello_timeout: Duration,
    /// How long a worker may leave unread what it is told.
    pub unread_limit: Duration,
    /// What calls under way still have when the server ends its workers' streams, which
    /// it does when its own work is done.
    pub goodbye: Duration,
    /// The variables of sessions.
    pub variables: VariableOptions,
}

/// The bounds of sessions' variables.
#[derive(Clone, Copy, Debug)]
pub struct VariableOptions {
    /// In one session.
    pub count: usize,
    /// Bytes of memory that one session's may take, names included.
    pub session_bytes: usize,
    /// The same for all sessions.
    pub all_bytes: usize,
    /// Between two looks for those whose time is over.
    pub sweep: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            at_most: 64,
            tools_at_most: 128,
            waiting: 100,
            failures: 5,
            pause: Duration::from_secs(30),
            credit: 100,
            result_bytes: 1 << 20,
            lies: 8,
            heartbeat: Duration::from_secs(20),
            hello_timeout: Duration::from_secs(10),
            unread_limit: Duration::from_secs(10),
            goodbye: Duration::from_secs(1),
            variables: VariableOptions::default(),
        }
    }
}

impl Default for VariableOptions {
    fn default() -> Self {
        Self {
            count: 64,
            session_bytes: 256 << 10,
            all_bytes: 64 << 20,
            sweep: Duration::from_secs(60),
        }
    }
}
