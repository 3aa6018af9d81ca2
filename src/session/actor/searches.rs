//! The searches of a session's frames: asked of its client, answered or called off.

use super::Session;
use crate::domain::RequestId;
use crate::session::{ServerMessage, Version};
use crate::tools::{Answer, Errand, SearchRequest};

impl Session {
    pub(super) fn resolve(&mut self, id: &RequestId, answer: Answer) {
        if !self.pending.resolve(id, answer) {
            self.totals.discarded_results += 1;
            self.lobby.tools().metrics.tool_result_discarded();
            // Once: a client that floods its session must not flood the log.
            if self.totals.discarded_results == 1 {
                tracing::warn!("a tool result came that nobody waits for; it is discarded");
            }
        }
    }

    pub(super) fn run_errand(&mut self, errand: Errand) {
        match errand {
            // Without a stream it is asked for when there is one.
            Errand::Search(_) if self.line.is_none() => {}
            Errand::Search(id) => {
                // Otherwise its frame ended before the desktop was asked.
                if let Some(request) = self.pending.ask(&id) {
                    self.ask(request);
                }
            }
            Errand::Cancel {
                request,
                frame,
                reason,
            } => {
                let reason = reason.into();
                self.say(ServerMessage::CancelSearch {
                    request,
                    frame,
                    reason,
                });
            }
        }
    }

    pub(super) fn ask(&mut self, mut request: SearchRequest) {
        // The task of a frame just cancelled may still be running on another
        // thread. (A job's frame was never here.)
        if request.job.is_none() && !self.frames.contains(&request.frame) {
            return;
        }
        self.totals.searches += 1;
        if self.version < Version::V1_1 {
            request.trace = None;
        }
        self.say(ServerMessage::Search(Box::new(request)));
    }
}
