//! From the order to stop to the end of the process.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM (Kubernetes) and SIGINT (Ctrl-C), as one stream of orders.
#[derive(Debug)]
pub struct Signals {
    term: Signal,
    int: Signal,
}

/// Which signal came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// SIGTERM.
    Term,
    /// SIGINT.
    Int,
}

impl Order {
    /// The exit code of a process that this signal ended: 128 and its number.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Term => 143,
            Self::Int => 130,
        }
    }
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
        })
    }

    /// The next order.
    pub async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.term.recv() => Order::Term,
            _ = self.int.recv() => Order::Int,
        }
    }
}
