//! The calls that one session's device has not answered yet. Each entry is
//! owned by the [`Wait`] of whoever waits for it and goes when that is dropped,
//! so that a frame that ends, however it ends, leaves nothing behind.
//!
//! While no client is connected, the time of its own frames' calls stands still.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

use super::called_off::{AllCalledOff, CalledOff};
use super::faults::{failed, gone, timed_out};
use super::pieces::{Piece, Pieces};
use super::{Answer, Origin, Output, ToolRequest};
use crate::domain::{CallFault, CallFaultCode, FrameId, RequestId};

/// The table, cheap to clone. At most (frames at once of the user's sessions + jobs of
/// a user at once) x (calls per turn) entries: whoever adds one is waiting for it.
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
    called_off: AllCalledOff,
}

#[derive(Debug)]
struct Slot {
    request: ToolRequest,
    /// The device has been asked.
    asked: bool,
    time: Time,
    /// By how much the device may still move its deadline.
    extension: Duration,
    /// What has come of a long result.
    pieces: Pieces,
    ended: oneshot::Sender<Result<Output, CallFault>>,
}

/// How long an answer is waited for.
#[derive(Clone, Copy, Debug)]
enum Time {
    Until(Instant),
    /// So long, from when somebody can be asked again.
    Left(Duration),
}

impl Pending {
    /// Makes a place for an answer. Do it before the device is asked, or a fast
    /// answer finds nobody. `None` if nobody can answer any more, or for a call that is
    /// not this session's own: now.
    pub fn register(&self, request: ToolRequest) -> Option<Wait> {
        let (ended, answered) = oneshot::channel();
        let id = request.id.clone();
        let mut table = self.table();
        if table.closed || (table.paused.is_some() && !request.is_own()) {
            return None;
        }
        let time = match table.paused {
            Some(_) => Time::Left(request.timeout),
            None => Time::Until(Instant::now() + request.timeout),
        };
        // Mostly there is one, and the session keeps the room.
        table.slots.reserve_exact(1);
        table.slots.push(Slot {
            asked: false,
            time,
            extension: request.longest.saturating_sub(request.timeout),
            pieces: Pieces::default(),
            ended,
            request,
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
        slot.is_some_and(|slot| {
            let result = answer
                .map_err(failed)
                .and_then(|it| fitting(&slot.request, it));
            slot.end(result)
        })
    }

    /// The device says that it goes on: its deadline moves by the time the call had, as
    /// far as the tool's longest time allows. `false` if nobody waits for it.
    pub fn extend(&self, id: &RequestId) -> bool {
        let mut table = self.table();
        let slot = table.slots.iter_mut().find(|slot| slot.request.id == *id);
        let Some(slot) = slot else { return false };
        if let Time::Until(deadline) = slot.time {
            let later = Instant::now() + slot.request.timeout;
            let by = later
                .saturating_duration_since(deadline)
                .min(slot.extension);
            slot.extension -= by;
            slot.time = Time::Until(deadline + by);
        }
        true
    }

    /// Takes a piece of a long result; the last one is the answer. `false` if nobody
    /// waits for it.
    pub fn piece(&self, id: &RequestId, piece: Piece) -> bool {
        let mut table = self.table();
        let Some(at) = table.position(id) else {
            return false;
        };
        let Some(whole) = table.slots[at].pieces.add(&piece) else {
            return true;
        };
        let slot = table.slots.remove(at);
        drop(table);
        let read = whole.and_then(|text| {
            let broken = |why| CallFault::may_have_run(CallFaultCode::Broken, why);
            Output::of_json(&text).map_err(broken)
        });
        let result = read.and_then(|it| fitting(&slot.request, it));
        slot.end(result)
    }

    /// What the device is now to be asked. `None` if it was asked before, or
    /// nobody waits for the answer any more: do not ask.
    pub fn ask(&self, id: &RequestId) -> Option<ToolRequest> {
        let mut table = self.table();
        let slot = table.slots.iter_mut().find(|slot| slot.request.id == *id)?;
        (!slot.asked).then(|| slot.ask())
    }

    /// Nobody is connected: every wait of the session's own frames stands still until
    /// [`Self::resume`]. Those of jobs end now, for another device can be asked; so do
    /// those of other sessions' frames that were not asked, for the device may come back
    /// as another session. The others may have run, and have what is left of their time.
    pub fn pause(&self) {
        let mut table = self.table();
        let table = &mut *table;
        let now = Instant::now();
        table.paused.get_or_insert(now);
        let ends = |slot: &mut Slot| match slot.request.origin {
            Origin::Session => false,
            Origin::Job(_) => true,
            Origin::Elsewhere(_) => !slot.asked,
        };
        for slot in table.slots.extract_if(.., ends) {
            // Of a job: should the device be back, nobody waits for it any more.
            table.called_off.add(slot.called_off("its stream broke"));
            slot.lose();
        }
        let own = table.slots.iter_mut().filter(|slot| slot.request.is_own());
        for slot in own {
            if let Time::Until(deadline) = slot.time {
                slot.time = Time::Left(deadline.saturating_duration_since(now));
            }
        }
    }

    /// Somebody else is connected, or the same again: what they are to be asked,
    /// whether somebody was asked before or not, unless it would be done twice. Waits
    /// go on.
    pub fn resume(&self) -> Vec<ToolRequest> {
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
        table.called_off.tell_again();
        let again = |slot: &&mut Slot| !(slot.asked && slot.request.tool.changes_device);
        let requests = table
            .slots
            .iter_mut()
            .filter(again)
            .map(Slot::ask)
            .collect();
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

    /// Ends every wait of a frame of this session, and calls off what the device has been
    /// asked. What it was not asked by now, it never will be: on another thread the
    /// frame's task may not have ended yet. (Another session's frame may have the same
    /// name.)
    pub fn give_up(&self, frame: &FrameId, reason: &'static str) {
        let mut table = self.table();
        let table = &mut *table;
        let given_up = table.slots.extract_if(.., |slot| {
            slot.request.is_own() && slot.request.frame == *frame
        });
        for slot in given_up {
            table.called_off.add(slot.called_off(reason));
        }
    }

    /// What the device is now to be told that nobody waits for.
    pub fn called_off(&self) -> Vec<CalledOff> {
        self.table().called_off.tell()
    }

    /// Whether there is any of that.
    pub(super) fn has_called_off(&self) -> bool {
        self.table().called_off.has_news()
    }

    /// Nobody will answer any more: every wait ends now, and no new one begins.
    pub fn close(&self) {
        let mut table = self.table();
        table.closed = true;
        table.slots.drain(..).for_each(Slot::lose);
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

    /// Which tool a call is for, and whether the device was asked.
    fn state(&self, id: &RequestId) -> Option<(Arc<str>, bool)> {
        let table = self.table();
        let slot = table.slots.iter().find(|slot| slot.request.id == *id)?;
        Some((slot.request.tool.name.clone(), slot.asked))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().expect("no holder of this lock panics")
    }
}

impl Table {
    fn remove(&mut self, id: &RequestId) -> Option<Slot> {
        let at = self.position(id)?;
        Some(self.slots.remove(at))
    }

    fn position(&self, id: &RequestId) -> Option<usize> {
        self.slots.iter().position(|slot| slot.request.id == *id)
    }
}

impl Slot {
    /// Whether somebody still waited for it.
    fn end(self, result: Result<Output, CallFault>) -> bool {
        self.ended.send(result).is_ok()
    }

    /// What its device is to be told, if it has been asked.
    fn called_off(&self, reason: &'static str) -> Option<CalledOff> {
        self.asked.then(|| CalledOff {
            request: self.request.id.clone(),
            frame: self.request.frame.clone(),
            reason,
        })
    }

    /// Nobody will answer it.
    fn lose(self) {
        let fault = gone(&self.request.tool.name, self.asked);
        self.end(Err(fault));
    }

    fn ask(&mut self) -> ToolRequest {
        self.asked = true;
        // Whoever is asked again begins again.
        self.pieces = Pieces::default();
        let timeout = match self.time {
            Time::Until(deadline) => deadline.saturating_duration_since(Instant::now()),
            Time::Left(left) => left,
        };
        ToolRequest {
            timeout,
            ..self.request.clone()
        }
    }
}

/// A search is answered with what it found, any other tool with JSON; nothing is null.
fn fitting(request: &ToolRequest, output: Output) -> Result<Output, CallFault> {
    match (request.kind(), output) {
        (Some(_), Output::Hits(hits)) => Ok(Output::Hits(hits)),
        (None, Output::Json(json)) => Ok(Output::Json(json)),
        (None, Output::Hits(hits)) if hits.is_empty() => Ok(Output::Json(Value::Null)),
        (Some(_), Output::Json(_)) | (None, Output::Hits(_)) | (_, Output::Beginning(_)) => {
            let message = "Its result is one of another kind of tool.";
            Err(CallFault::may_have_run(CallFaultCode::Broken, message))
        }
    }
}

/// A place for one answer; dropping it gives the place up.
#[derive(Debug)]
pub struct Wait {
    id: RequestId,
    answered: oneshot::Receiver<Result<Output, CallFault>>,
    pending: Pending,
}

impl Wait {
    /// Waits for the answer until the request's time is over.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn answer(&mut self) -> Result<Output, CallFault> {
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
                // Its frame was given up: nobody hears this.
                answer = &mut *answered => return answer.unwrap_or_else(|_| Err(gone("it", true))),
                () = over => {}
            }
            let moved = pending.deadline(id) != deadline;
            if deadline.is_some() && !moved {
                let (tool, asked) = pending.state(id).unwrap_or_default();
                return Err(timed_out(&tool, asked));
            }
        }
    }

    /// Gives the place up. If the device has been asked, and has not answered, it is to be
    /// told; whether that is so.
    pub(super) fn call_off(&self, reason: &'static str) -> bool {
        let mut table = self.pending.table();
        let slot = table.remove(&self.id);
        let called_off = slot.and_then(|slot| slot.called_off(reason));
        let is_told = called_off.is_some();
        table.called_off.add(called_off);
        is_told
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        drop(self.pending.table().remove(&self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    const TIMEOUT: Duration = Duration::from_secs(10);

    fn request(id: &str, frame: &str) -> ToolRequest {
        ToolRequest::search(id, frame, "the lease")
    }

    fn none() -> Answer {
        Ok(Output::Hits(vec![]))
    }

    #[tokio::test]
    async fn a13_only_the_first_answer_to_an_open_request_counts() {
        let pending = Pending::default();
        let one = RequestId::new("1");
        let mut wait = pending.register(request("1", "f")).unwrap();
        assert!(!pending.resolve(&RequestId::new("2"), none()), "unknown");
        assert!(pending.resolve(&one, Err("first".into())));
        assert!(!pending.resolve(&one, none()), "repeated");
        assert_eq!(wait.answer().await, Err(failed("first".into())));
        drop(wait);
        assert!(!pending.resolve(&one, none()), "late");
    }

    #[tokio::test]
    async fn a_dropped_wait_frees_its_place_and_a_closed_table_ends_every_wait() {
        let pending = Pending::default();
        drop(pending.register(request("1", "f")));
        assert!(pending.is_empty());
        let mut wait = pending.register(request("2", "f")).unwrap();
        pending.close();
        assert_eq!(wait.answer().await, Err(gone("search_similar", false)));
        assert!(pending.register(request("3", "f")).is_none());
    }

    #[tokio::test]
    async fn a_frame_given_up_calls_off_what_the_desktop_was_asked_and_asks_nothing_more() {
        let pending = Pending::default();
        let frame = FrameId::new("f");
        let asked = pending.register(request("1", "f")).unwrap();
        let mut unasked = pending.register(request("2", "f")).unwrap();
        let _other = pending.register(request("3", "g")).unwrap();
        assert!(pending.ask(&RequestId::new("1")).is_some());
        assert!(pending.ask(&RequestId::new("1")).is_none(), "asked once");
        pending.give_up(&frame, "it is over");
        let called_off = pending.called_off();
        assert_eq!(called_off.len(), 1);
        assert_eq!(called_off[0].request, RequestId::new("1"));
        assert!(pending.ask(&RequestId::new("2")).is_none());
        assert!(unasked.answer().await.is_err());
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
        assert_eq!(waiting.0, Err(timed_out("search_similar", true)));
        assert_eq!(began.elapsed(), Duration::from_secs(110));
    }

    #[tokio::test]
    async fn e01_a_device_that_is_back_is_told_that_a_job_asks_it_no_more() {
        let pending = Pending::default();
        let of_job = ToolRequest {
            origin: Origin::Job(crate::domain::JobId::new("j")),
            ..request("1", "f")
        };
        let mut wait = pending.register(of_job).unwrap();
        pending.ask(&RequestId::new("1"));
        pending.pause();
        assert_eq!(wait.answer().await, Err(gone("search_similar", true)));
        assert_eq!(pending.resume(), vec![]);
        assert_eq!(pending.called_off()[0].request, RequestId::new("1"));
    }
}
