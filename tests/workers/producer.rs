//! A worker that streams: as fast as it may, and no faster.

use std::future::ready;

use proactive::transport::proto::workers::worker_command::Command;
use proactive::transport::proto::workers::{ToolCall, Value};

use crate::worker::{Worker, result};

/// Chunks of a call that may lie unread in the server.
const UNREAD: i32 = 100;

/// A call that a worker answers in chunks.
pub(crate) struct Producer {
    worker: Worker,
    call: ToolCall,
    credit: i32,
    /// How many chunks were sent.
    pub(crate) sent: i64,
}

impl Producer {
    /// Takes the worker's next call.
    pub(crate) async fn of(mut worker: Worker) -> Self {
        let asked = loop {
            match worker.next().await.unwrap() {
                Some(Command::ExecuteStreaming(asked)) => break asked,
                // Of the call before, which had nothing more to send.
                Some(Command::Credit(_)) => {}
                other => panic!("no call: {other:?}"),
            }
        };
        assert!(asked.credit <= UNREAD, "{} at first", asked.credit);
        Self {
            worker,
            call: asked.call.unwrap(),
            credit: asked.credit,
            sent: 0,
        }
    }

    /// Sends chunks until there are so many in all. Whether it may go on: `false` as
    /// soon as it is told to stop.
    pub(crate) async fn sends(&mut self, in_all: i64, value: impl Fn(i64) -> Value) -> bool {
        while self.sent < in_all {
            tokio::select! {
                biased;
                told = self.worker.next() => {
                    if self.hears(told.unwrap()) {
                        return false;
                    }
                }
                () = ready(()), if self.credit > 0 => {
                    self.worker.chunk(&self.call, self.sent, value(self.sent)).await;
                    self.sent += 1;
                    self.credit -= 1;
                }
            }
        }
        true
    }

    /// Has nothing more to send yet, and waits until it is told to stop.
    pub(crate) async fn is_stopped(&mut self) {
        loop {
            let told = self.worker.next().await.unwrap();
            if self.hears(told) {
                return;
            }
        }
    }

    /// Has sent everything.
    pub(crate) async fn ends(self) -> Worker {
        self.worker.say(result(&self.call.call_id, None)).await;
        self.worker
    }

    /// Whether it is told to stop. Else it may send more, but never so much that more
    /// than a hundred chunks are on their way or unread.
    fn hears(&mut self, told: Option<Command>) -> bool {
        match told {
            Some(Command::Cancel(it)) => {
                assert_eq!(it.call_id, self.call.call_id);
                true
            }
            Some(Command::Credit(more)) => {
                self.credit += more.more;
                assert!(self.credit <= UNREAD, "{} may lie unread", self.credit);
                false
            }
            other => panic!("{other:?}"),
        }
    }
}
