//! The searches of one session that nobody has answered yet. Each entry is
//! owned by the [`Wait`] of whoever waits for it and goes when that is dropped,
//! so that a frame that ends, however it ends, leaves nothing behind.
//!
//! While no client is connected, their time stands still.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

use super::{Miss, SearchRequest};
use crate::domain::{FrameId, Hit, RequestId};

/// What a desktop answers: what it found, or why the search failed.
pub type Answer = Result<Vec<Hit>, String>;

/// The table, cheap to clone. At most (frames at once + jobs of a user at once) x
/// (searches per turn) entries: whoever adds one is waiting for it.
#[derive(Clone, Debug, Default)]
pub struct Pending(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    /// Somebody can be asked again.
    resumed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    closed: bool,
    /// Since when nobody has been connected who could be asked.
    paused: Option<Instant>,
    /// How long such times were, together.
    stood_still: Duration,
    /// Oldest first.
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    request: SearchRequest,
    /// The desktop has been asked.
    asked: bool,
    time: Time,
    answer: oneshot::Sender<Answer>,
}

/// How long an answer is waited for.
#[derive(Clone, Copy, Debug)]
enum Time {
    Until(Instant),
    /// So long, from when somebody can be asked again.
    Left(Duration),
}

impl Pending {
    /// Makes a place for an answer. Do it before the desktop is asked, or a fast
    /// answer finds nobody. `None` if nobody can answer any more.
    pub fn register(&self, request: SearchRequest) -> Option<Wait> {
        let (answer, answered) = oneshot::channel();
        let id = request.id.clone();
        let mut table = self.table();
        if table.closed || (table.paused.is_some() && request.job.is_some()) {
            return None;
        }
        let time = match table.paused {
            Some(_) => Time::Left(request.timeout),
            None => Time::Until(Instant::now() + request.timeout),
        };
        table.slots.push(Slot {
            request,
            asked: false,
            time,
            answer,
        });
        Some(Wait {
            id,
            answered,
            pending: self.clone(),
        })
    }

    /// Hands an answer to whoever waits for it. `false` if nobody does: the id
    /// is unknown, late or repeated.
    pub fn resolve(&self, id: &RequestId, answer: Answer) -> bool {
        let slot = self.table().remove(id);
        slot.is_some_and(|slot| slot.answer.send(answer).is_ok())
    }

    /// What the desktop is now to be asked. `None` if it was asked before, or
    /// nobody waits for the answer any more: do not ask.
    pub fn ask(&self, id: &RequestId) -> Option<SearchRequest> {
        let mut table = self.table();
        let slot = table.slots.iter_mut().find(|slot| slot.request.id == *id)?;
        (!slot.asked).then(|| slot.ask())
    }

    /// Nobody is connected: every wait stands still until [`Self::resume`], but for
    /// those of jobs, which end now: another desktop can be asked.
    pub fn pause(&self) {
        let mut table = self.table();
        let now = Instant::now();
        table.paused.get_or_insert(now);
        table.slots.retain(|slot| slot.request.job.is_none());
        for slot in &mut table.slots {
            if let Time::Until(deadline) = slot.time {
                slot.time = Time::Left(deadline.saturating_duration_since(now));
            }
        }
    }

    /// Somebody else is connected, or the same again: what they are to be asked,
    /// whether somebody was asked before or not. Waits go on.
    pub fn resume(&self) -> Vec<SearchRequest> {
        let mut table = self.table();
        let now = Instant::now();
        if let Some(since) = table.paused.take() {
            table.stood_still += now - since;
        }
        for slot in &mut table.slots {
            if let Time::Left(left) = slot.time {
                slot.time = Time::Until(now + left);
            }
        }
        let requests = table.slots.iter_mut().map(Slot::ask).collect();
        drop(table);
        self.0.resumed.notify_waiters();
        requests
    }

    /// How long time has stood still by now, all in all.
    pub fn stood_still(&self) -> Duration {
        let table = self.table();
        let now = table.paused.map_or(Duration::ZERO, |since| since.elapsed());
        table.stood_still + now
    }

    /// Ends every wait of a frame of this session and returns those requests that
    /// the desktop has been asked. What it was not asked by now, it never will be: on
    /// another thread the frame's task may not have ended yet. (A job's frame may have
    /// the same name.)
    pub fn give_up(&self, frame: &FrameId) -> Vec<RequestId> {
        let mut table = self.table();
        let given_up = table.slots.extract_if(.., |slot| {
            slot.request.job.is_none() && slot.request.frame == *frame
        });
        given_up
            .filter_map(|slot| slot.asked.then_some(slot.request.id))
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

    /// When the wait ends; `None` while time stands still, or once it is over.
    fn deadline(&self, id: &RequestId) -> Option<Instant> {
        let table = self.table();
        let slot = table.slots.iter().find(|slot| slot.request.id == *id)?;
        match slot.time {
            Time::Until(deadline) => Some(deadline),
            Time::Left(_) => None,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().expect("no holder of this lock panics")
    }
}

impl Table {
    fn remove(&mut self, id: &RequestId) -> Option<Slot> {
        let at = self.slots.iter().position(|slot| slot.request.id == *id)?;
        Some(self.slots.remove(at))
    }
}

impl Slot {
    fn ask(&mut self) -> SearchRequest {
        self.asked = true;
        let timeout = match self.time {
            Time::Until(deadline) => deadline.saturating_duration_since(Instant::now()),
            Time::Left(left) => left,
        };
        SearchRequest {
            timeout,
            ..self.request.clone()
        }
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
    /// Waits for the answer until the request's time is over.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn answer(&mut self) -> Result<Vec<Hit>, Miss> {
        let Self {
            id,
            answered,
            pending,
        } = self;
        loop {
            // Before the look at the table, so that nothing is missed after it.
            let resumed = pending.0.resumed.notified();
            let deadline = pending.deadline(id);
            let over = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => resumed.await,
                }
            };
            tokio::select! {
                biased;
                answer = &mut *answered => return match answer {
                    Ok(answer) => answer.map_err(Miss::Failed),
                    Err(_) => Err(Miss::Gone),
                },
                () = over => {}
            }
            let moved = pending.deadline(id) != deadline;
            if deadline.is_some() && !moved {
                return Err(Miss::TimedOut);
            }
        }
    }

    /// Gives the place up; whether the desktop has been asked, and has not answered.
    pub(super) fn give_up(&self) -> bool {
        let slot = self.pending.table().remove(&self.id);
        slot.is_some_and(|slot| slot.asked)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SearchKind;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn request(id: &str, frame: &str) -> SearchRequest {
        SearchRequest {
            job: None,
            id: RequestId::new(id),
            frame: FrameId::new(frame),
            kind: SearchKind::Similar,
            query: "the lease".to_owned(),
            timeout: TIMEOUT,
            trace: None,
        }
    }

    #[tokio::test]
    async fn a13_only_the_first_answer_to_an_open_request_counts() {
        let pending = Pending::default();
        let one = RequestId::new("1");
        let mut wait = pending.register(request("1", "f")).unwrap();
        assert!(
            !pending.resolve(&RequestId::new("2"), Ok(vec![])),
            "unknown"
        );
        assert!(pending.resolve(&one, Err("first".into())));
        assert!(!pending.resolve(&one, Ok(vec![])), "repeated");
        assert_eq!(wait.answer().await, Err(Miss::Failed("first".into())));
        drop(wait);
        assert!(!pending.resolve(&one, Ok(vec![])), "late");
    }

    #[tokio::test]
    async fn a_dropped_wait_frees_its_place_and_a_closed_table_ends_every_wait() {
        let pending = Pending::default();
        drop(pending.register(request("1", "f")));
        assert!(pending.is_empty());
        let mut wait = pending.register(request("2", "f")).unwrap();
        pending.close();
        assert_eq!(wait.answer().await, Err(Miss::Gone));
        assert!(pending.register(request("3", "f")).is_none());
    }

    #[tokio::test]
    async fn a_frame_given_up_names_what_the_desktop_was_asked_and_asks_nothing_more() {
        let pending = Pending::default();
        let frame = FrameId::new("f");
        let asked = pending.register(request("1", "f")).unwrap();
        let mut unasked = pending.register(request("2", "f")).unwrap();
        let _other = pending.register(request("3", "g")).unwrap();
        assert!(pending.ask(&RequestId::new("1")).is_some());
        assert!(pending.ask(&RequestId::new("1")).is_none(), "asked once");
        assert_eq!(pending.give_up(&frame), vec![RequestId::new("1")]);
        assert!(pending.ask(&RequestId::new("2")).is_none());
        assert_eq!(unasked.answer().await, Err(Miss::Gone));
        assert_eq!(pending.len(), 1, "other frames keep theirs");
        drop(asked);
    }

    #[tokio::test(start_paused = true)]
    async fn time_stands_still_while_nobody_can_be_asked() {
        let pending = Pending::default();
        let began = Instant::now();
        let mut early = pending.register(request("1", "f")).unwrap();
        pending.ask(&RequestId::new("1"));
        let waiting = tokio::join!(early.answer(), async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            pending.pause();
            let late = pending.register(request("2", "f"));
            tokio::time::sleep(Duration::from_secs(100)).await;
            let left: Vec<_> = pending.resume().iter().map(|ask| ask.timeout).collect();
            assert_eq!(left, [Duration::from_secs(6), TIMEOUT], "both are asked");
            late
        });
        assert_eq!(waiting.0, Err(Miss::TimedOut));
        assert_eq!(began.elapsed(), Duration::from_secs(110));
    }
}
