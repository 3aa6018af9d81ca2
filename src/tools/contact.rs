//! How the device of one session is asked, and what is left if nobody waits any more.

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::{Errand, Output, Pending, ToolRequest, Wait, faults};
use crate::domain::{CallFault, Ran};

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
        if open.wait.call_off("the call's deadline passed") {
            // Until just now it could be asked.
            fault.ran = Ran::Maybe;
        }
        Err(fault)
    }

    /// Has the session tell what is called off. Without room, it does so when it takes
    /// what is in the queue; and who had a place there, and leaves it, comes here, too.
    fn tell(&self) {
        if self.pending.has_called_off() {
            let _ = self.errands.try_send(Box::new(Errand::CallOff));
        }
    }
}

/// A call that nobody has answered yet. If it is given up, the device is told.
struct Open<'a> {
    contact: &'a Contact,
    wait: Wait,
}

impl<'a> Open<'a> {
    fn new(contact: &'a Contact, request: ToolRequest) -> Option<Self> {
        Some(Self {
            contact,
            wait: contact.pending.register(request)?,
        })
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.wait.call_off("whoever asked has given it up");
        self.contact.tell();
    }
}
