//! The calls of a session's frames, and of others': asked of its client, answered or
//! called off.

use super::Session;
use crate::session::{ServerMessage, Version};
use crate::tools::{CalledOff, Errand, ToolRequest};

impl Session {
    /// Something was said of a call, for which somebody waited or nobody did.
    pub(super) fn note(&mut self, awaited: bool) {
        if !awaited {
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
            Errand::Ask(_) if self.line.is_none() => {}
            Errand::Ask(id) => {
                // Otherwise its frame ended before the device was asked.
                if let Some(request) = self.pending.ask(&id) {
                    self.ask(request);
                }
            }
            Errand::CallOff => {}
        }
        self.tell_called_off();
    }

    /// Tells the client what nobody waits for any more, or will when it is back.
    pub(super) fn tell_called_off(&mut self) {
        if self.line.is_none() {
            return;
        }
        for call in self.pending.called_off() {
            let CalledOff {
                request,
                frame,
                reason,
            } = call;
            let reason = reason.into();
            self.say(ServerMessage::CancelToolCall {
                request,
                frame,
                reason,
            });
        }
    }

    pub(super) fn ask(&mut self, mut request: ToolRequest) {
        // The task of a frame just cancelled may still be running on another
        // thread. (The frame of another session, or a job's, was never here.)
        if request.is_own() && !self.frames.contains(&request.frame) {
            return;
        }
        self.totals.searches += 1;
        if self.version < Version::V1_1 {
            request.trace = None;
        }
        self.say(ServerMessage::ToolCall(Box::new(request)));
    }
}
