//! The searches of one session that nobody has answered yet. Each entry is
//! owned by the [`Wait`] of whoever waits for it and goes when that is dropped,
//! so that a frame that ends, however it ends, leaves nothing behind.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

use crate::domain::{FrameId, Hit, RequestId};

/// What a desktop answers: what it found, or why the search failed.
pub type Answer = Result<Vec<Hit>, String>;

/// The table, cheap to clone. At most (frames at once) x (searches per turn)
/// entries: whoever adds one is waiting for it.
#[derive(Clone, Debug, Default)]
pub struct Pending(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    closed: bool,
    slots: HashMap<RequestId, Slot>,
}

#[derive(Debug)]
struct Slot {
    frame: FrameId,
    /// The desktop has been asked.
    asked: bool,
    answer: oneshot::Sender<Answer>,
}

impl Pending {
    /// Makes a place for an answer. Do it before the request is sent, or a fast
    /// answer finds nobody. `None` if nobody can answer any more.
    pub fn register(&self, id: RequestId, frame: FrameId) -> Option<Wait> {
        let (answer, answered) = oneshot::channel();
        let mut table = self.table();
        if table.closed {
            return None;
        }
        let slot = Slot {
            frame,
            asked: false,
            answer,
        };
        table.slots.insert(id.clone(), slot);
        Some(Wait {
            id,
            answered,
            pending: self.clone(),
        })
    }

    /// Hands an answer to whoever waits for it. `false` if nobody does: the id
    /// is unknown, late or repeated.
    pub fn resolve(&self, id: &RequestId, answer: Answer) -> bool {
        let slot = self.table().slots.remove(id);
        slot.is_some_and(|slot| slot.answer.send(answer).is_ok())
    }

    /// Notes that the desktop is being asked. `false` if nobody waits for the
    /// answer any more: do not ask.
    pub fn ask(&self, id: &RequestId) -> bool {
        let mut table = self.table();
        let slot = table.slots.get_mut(id);
        slot.map(|slot| slot.asked = true).is_some()
    }

    /// Ends every wait of a frame and returns those requests that the desktop
    /// has been asked. What it was not asked by now, it never will be: on
    /// another thread the frame's task may not have ended yet.
    pub fn give_up(&self, frame: &FrameId) -> Vec<RequestId> {
        let mut table = self.table();
        let given_up = table.slots.extract_if(|_, slot| slot.frame == *frame);
        given_up
            .filter_map(|(id, slot)| slot.asked.then_some(id))
            .collect()
    }

    /// Nobody will answer any more: every wait ends now, and no new one begins.
    pub fn close(&self) {
        let mut table = self.table();
        table.closed = true;
        table.slots.clear();
    }

    /// How many requests are open.
    pub fn len(&self) -> usize {
        self.table().slots.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

/// A place for one answer; dropping it gives the place up.
#[derive(Debug)]
pub struct Wait {
    id: RequestId,
    answered: oneshot::Receiver<Answer>,
    pending: Pending,
}

impl Wait {
    /// Waits for the answer, as long as somebody can still give it: the caller
    /// sets the deadline. `None` if nobody can.
    pub async fn answer(&mut self) -> Option<Answer> {
        (&mut self.answered).await.ok()
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.pending.table().slots.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(n: u8) -> (RequestId, FrameId) {
        (
            RequestId::new(format!("r{n}")),
            FrameId::new(format!("f{n}")),
        )
    }

    #[tokio::test]
    async fn a13_only_the_first_answer_to_an_open_request_counts() {
        let pending = Pending::default();
        let (request, frame) = ids(1);
        let mut wait = pending.register(request.clone(), frame).unwrap();
        assert!(!pending.resolve(&ids(2).0, Ok(vec![])), "unknown");
        assert!(pending.resolve(&request, Err("first".into())));
        assert!(!pending.resolve(&request, Ok(vec![])), "repeated");
        assert_eq!(wait.answer().await, Some(Err("first".into())));
        drop(wait);
        assert!(!pending.resolve(&request, Ok(vec![])), "late");
    }

    #[tokio::test]
    async fn a_dropped_wait_frees_its_place_and_a_closed_table_ends_every_wait() {
        let pending = Pending::default();
        let (one, two) = (ids(1), ids(2));
        drop(pending.register(one.0, one.1));
        assert!(pending.is_empty());
        let mut wait = pending.register(two.0.clone(), two.1.clone()).unwrap();
        pending.close();
        assert_eq!(wait.answer().await, None);
        assert!(pending.register(ids(3).0, ids(3).1).is_none());
    }

    #[tokio::test]
    async fn a_frame_given_up_names_what_the_desktop_was_asked_and_asks_nothing_more() {
        let pending = Pending::default();
        let (frame, other) = (ids(1).1, ids(2).1);
        let asked = pending.register(ids(1).0, frame.clone()).unwrap();
        let mut unasked = pending.register(ids(2).0, frame.clone()).unwrap();
        let _other = pending.register(ids(3).0, other).unwrap();
        assert!(pending.ask(&ids(1).0));
        assert_eq!(pending.give_up(&frame), vec![ids(1).0]);
        assert!(!pending.ask(&ids(2).0));
        assert_eq!(unasked.answer().await, None);
        assert_eq!(pending.len(), 1, "other frames keep theirs");
        drop(asked);
    }
}
