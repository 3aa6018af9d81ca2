//! How the device of one session is asked, and what is left if nobody waits any more.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Errand, Output, Pending, ToolRequest, Wait, faults};
use crate::domain::{CallFault, CallFaultCode, FrameId, Ran, RequestId};

/// How long a cancellation may wait for its place in the session's queue.
const CANCEL_WAIT: Duration = Duration::from_secs(1);

/// How the device of one session is asked.
#[derive(Clone, Debug)]
pub struct Contact {
    /// Where its answer comes in.
    pub pending: Pending,
    /// To the session, which asks it.
    pub errands: mpsc::Sender<Box<Errand>>,
}

impl Contact {
    /// Asks for a call and waits for its answer until its deadline. If that passes, the
    /// device is told so.
    pub(super) async fn ask(&self, request: ToolRequest) -> Result<Output, CallFault> {
        let deadline = Instant::now() + request.timeout;
        let errand = Box::new(Errand::Ask(request.id.clone()));
        let name = request.tool.name.clone();
        let mut open = Open::new(self, request).ok_or_else(|| faults::gone(&name, false))?;
        let answered = match timeout_at(deadline, self.errands.send(errand)).await {
            Ok(Ok(())) => open.wait.answer().await,
            Ok(Err(_)) => Err(faults::gone(&name, false)),
            Err(_) => Err(faults::timed_out(&name, false)),
        };
        let mut fault = match answered {
            Ok(output) => return Ok(output),
            Err(fault) => fault,
        };
        if let Some(errand) = open.end("the call's deadline passed") {
            // Until just now it could be asked.
            fault.ran = Ran::Maybe;
            if fault.code == CallFaultCode::Timeout {
                let telling = timeout(CANCEL_WAIT, self.errands.send(errand));
                if telling.await.is_err() {
                    tracing::warn!("a client was too slow to be told that a call is over");
                }
            }
        }
        Err(fault)
    }
}

/// A call that nobody has answered yet. If it is not for the asked session's own frame,
/// and is given up, the device is told. (A session tells that of its own frames itself.)
struct Open<'a> {
    contact: &'a Contact,
    request: RequestId,
    frame: FrameId,
    is_own: bool,
    wait: Wait,
}

impl<'a> Open<'a> {
    fn new(contact: &'a Contact, request: ToolRequest) -> Option<Self> {
        Some(Self {
            contact,
            request: request.id.clone(),
            frame: request.frame.clone(),
            is_own: request.is_own(),
            wait: contact.pending.register(request)?,
        })
    }

    /// Ends it; what the device is to be told, if it was asked and has not answered.
    fn end(&self, reason: &str) -> Option<Box<Errand>> {
        self.wait.give_up().then(|| {
            Box::new(Errand::Cancel {
                request: self.request.clone(),
                frame: self.frame.clone(),
                reason: reason.to_owned(),
            })
        })
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.is_own
            && let Some(errand) = self.end("whoever asked has given it up")
        {
            // Without room the device works in vain.
            let _ = self.contact.errands.try_send(errand);
        }
    }
}
