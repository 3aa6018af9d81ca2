//! What a client is owed by its sessions, and whether it gets that: each frame one
//! end, each answer once and in order, each search asked of whoever can answer it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proactive::domain::{FrameFault, FrameFaultCode, FrameId, Outcome, RequestId};
use proactive::session::{FrameAnswer, Ready, Refusal, RefusalCode, Resume, Resumed, StreamEnd};
use proactive::tools::ToolRequest;
use tokio::time::Instant;

use super::network::Taken;
use super::stage::Stage;

/// A frame's 60 s, and the cable's. (The time of a search that stood still is no
/// time on a stream.)
const LONGEST_WAIT: Duration = Duration::from_secs(62);
/// How often a frame is sent again because its fault may pass.
const MOST_RETRIES: u32 = 4;
/// A session knows its last answers, so many.
const KEPT: u32 = 30;
/// What crossed a stream's beginning has been said by then.
const CROSSING: Duration = Duration::from_secs(1);

/// All frames of one client.
pub(crate) struct Ledger {
    name: String,
    /// It sends more than is remembered, and each frame once.
    floods: bool,
    /// Still to be shown.
    to_send: VecDeque<FrameId>,
    /// Sent or to be sent again, and not yet over.
    open: BTreeMap<FrameId, Open>,
    over: BTreeMap<FrameId, Over>,
    /// How many frames were sent, those sent again counted.
    copies: u64,
}

/// A frame that is not over.
#[derive(Default)]
pub(crate) struct Open {
    /// The session that has it, or will find it on its stream.
    at: Option<u64>,
    /// The first copy that went there, since it failed last.
    copy: u64,
    /// To be sent again then.
    again: Option<Instant>,
    retries: u32,
    pub(crate) cancelled: bool,
    /// When that was sent.
    since: Option<Instant>,
    /// For how long the server has had it and could have said so.
    waited: Duration,
}

struct Over {
    session: u64,
    number: u64,
    decision: Option<Outcome>,
}

/// A client's side of one session.
pub(crate) struct Book {
    /// The client's own number of the session.
    pub(crate) number: u64,
    pub(crate) resume: Resume,
    numbered: bool,
    /// The server may know that everything up to here was received.
    confirmed: u64,
    answers: u32,
    /// Copies beyond a frame's first, each of which may be answered, too.
    extras: BTreeMap<FrameId, u32>,
    /// A frame's fault that was not heard of is forgotten for its next copy's answer:
    /// so many numbers may be missing.
    replaced: u64,
    faults: BTreeMap<FrameId, u32>,
    /// Who was asked for what: the number of the stream, and when that began.
    asked: BTreeMap<RequestId, u32>,
    stream: (u32, Instant),
    /// Unusable events that nobody has complained of.
    unusable: u32,
    /// What it has read of its streams.
    taken: Vec<Taken>,
}

impl Book {
    pub(crate) fn new(number: u64, ready: &Ready) -> Self {
        let secret = ready.resume.as_ref().map(|resume| resume.secret.clone());
        Self {
            number,
            numbered: secret.is_some(),
            resume: Resume {
                session: ready.session.clone(),
                secret: secret.unwrap_or_default(),
                received: 0,
            },
            confirmed: 0,
            answers: 0,
            extras: BTreeMap::new(),
            replaced: 0,
            faults: BTreeMap::new(),
            asked: BTreeMap::new(),
            stream: (0, Instant::now()),
            unusable: 0,
            taken: vec![],
        }
    }

    /// The session has a stream, since then.
    pub(crate) fn streams(&mut self, taken: Taken, since: Instant) {
        self.taken.push(taken);
        self.stream = (self.stream.0 + 1, since);
        self.unusable = 0;
    }

    /// What was received is confirmed.
    pub(crate) fn confirms(&mut self) -> &Resume {
        self.confirmed = self.resume.received;
        &self.resume
    }

    pub(crate) fn can_be_resumed(&self) -> bool {
        self.numbered
    }

    /// An unusable event goes out.
    pub(crate) fn spoils(&mut self) {
        self.unusable += 1;
    }

    /// The latest copy of the frame that the session has read; `None`: nothing of it.
    fn taken(&self, id: &FrameId) -> Option<u64> {
        self.taken.iter().filter_map(|taken| taken.copy(id)).max()
    }

    /// Whether copies went out that may be analysed, too.
    pub(crate) fn has_extras(&self) -> bool {
        !self.extras.is_empty()
    }

    fn use_extra(&mut self, id: &FrameId) -> bool {
        let left = self.extras.get_mut(id).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    }
}

impl Ledger {
    pub(crate) fn new(name: String, frames: usize, floods: bool) -> Self {
        let to_send = (0..frames).map(|n| FrameId::new(format!("{name}-{n}")));
        Self {
            to_send: to_send.collect(),
            name,
            floods,
            open: BTreeMap::new(),
            over: BTreeMap::new(),
            copies: 0,
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.to_send.is_empty() && self.open.is_empty()
    }

    /// The next frames are shown.
    pub(crate) fn shows(&mut self, count: usize) {
        let shown = self.to_send.drain(..count.min(self.to_send.len()));
        self.open.extend(shown.map(|id| (id, Open::default())));
    }

    /// What is to be sent by now.
    pub(crate) fn due(&self, now: Instant) -> Vec<FrameId> {
        let is_due = |open: &Open| open.at.is_none() && open.again.is_none_or(|again| again <= now);
        let due = self.open.iter().filter(|(_, open)| is_due(open));
        due.map(|(id, _)| id.clone()).collect()
    }

    /// When something is to be sent again.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.open.values().filter_map(|open| open.again).min()
    }

    /// A frame is sent to a session; the number of the copy.
    pub(crate) fn sends(&mut self, id: &FrameId, book: &Book) -> u64 {
        self.copies += 1;
        if let Some(open) = self.open.get_mut(id) {
            *open = Open {
                at: Some(book.number),
                copy: self.copies,
                again: None,
                since: Some(Instant::now()),
                waited: Duration::ZERO,
                ..*open
            };
        }
        self.copies
    }

    /// A copy is sent though nobody asked for it.
    pub(crate) fn sends_extra(&mut self, id: &FrameId, book: &mut Book) -> u64 {
        self.copies += 1;
        *book.extras.entry(id.clone()).or_default() += 1;
        book.replaced += 1;
        self.copies
    }

    /// A frame that this session has decided.
    pub(crate) fn decided_by(&self, book: &Book) -> Option<FrameId> {
        let mut over = self.over.iter();
        let decided = |it: &Over| it.session == book.number && it.decision.is_some();
        over.find(|(_, it)| decided(it)).map(|(id, _)| id.clone())
    }

    /// A frame that this session has.
    pub(crate) fn under_way(&mut self, book: &Book) -> Option<(&FrameId, &mut Open)> {
        let mut open = self.open.iter_mut();
        open.find(|(_, open)| open.at == Some(book.number))
    }

    /// Between these two a stream of this session was there, and read.
    pub(crate) fn waits(&mut self, from: Instant, to: Instant, book: &Book, stage: &Stage) {
        for (id, open) in &mut self.open {
            if let Some(since) = open.since.filter(|_| open.at == Some(book.number)) {
                open.waited += to.saturating_duration_since(from.max(since));
                if open.waited > LONGEST_WAIT {
                    stage.blame(&format!("{id} has waited for {:?}", open.waited));
                }
            }
        }
    }

    /// The session has been taken up, and says what it knows.
    pub(crate) fn resumes(&mut self, book: &Book, resumed: &Resumed, stage: &Stage) {
        let known: Vec<_> = resumed.in_flight.iter().chain(&resumed.answered).collect();
        for id in &known {
            self.is_mine(id, stage);
            if book.taken(id).is_none() {
                stage.blame(&format!("{id} is known, and never came"));
            }
        }
        for (id, open) in &mut self.open {
            if open.at != Some(book.number) || known.contains(&id) {
                continue;
            }
            if book.taken(id) >= Some(open.copy) && !self.floods {
                stage.blame(&format!("{id} came, and is forgotten"));
            }
            open.at = None;
        }
    }

    /// The session is given up: what it had is to be sent to another.
    pub(crate) fn gives_up(&mut self, book: &Book, stage: &Stage) {
        self.audit(book, stage);
        for open in self.open.values_mut() {
            if open.at == Some(book.number) {
                open.at = None;
            }
        }
    }

    /// What is decided is not analysed again.
    pub(crate) fn audit(&self, book: &Book, stage: &Stage) {
        for (id, over) in &self.over {
            if over.session == book.number && over.decision.is_some() {
                self.analysed_once(id, book, stage);
            }
        }
    }

    /// Each analysis but the last failed, and that was told.
    fn analysed_once(&self, id: &FrameId, book: &Book, stage: &Stage) {
        let begun = stage.begun(&(id.to_string(), book.number));
        let faults = book.faults.get(id).copied().unwrap_or_default();
        if begun > faults + 1 && book.answers < KEPT {
            stage.blame(&format!(
                "{id} was analysed {begun} times, and failed {faults}"
            ));
        }
    }

    pub(crate) fn answered(
        &mut self,
        book: &mut Book,
        answer: &FrameAnswer,
        soon: Duration,
        stage: &Stage,
    ) {
        let (id, number) = (&answer.frame, answer.number);
        self.is_mine(id, stage);
        book.answers += 1;
        if (number > 0) != book.numbered {
            stage.blame("answers are numbered if and only if the session can be resumed");
        }
        let received = book.resume.received;
        if number > 0 && number <= received {
            if !book.use_extra(id) {
                stage.blame(&format!("{id} was answered again with number {number}"));
            }
            return self.same_decision(book, answer, stage);
        }
        let missing = number.saturating_sub(received + 1);
        match book.replaced.checked_sub(missing) {
            Some(left) => book.replaced = left,
            None if self.floods => {}
            None => {
                let what = format!(
                    "{number} came after {received}: an answer to {} is lost",
                    self.name
                );
                stage.blame(&what);
            }
        }
        book.resume.received = number;
        if answer.result.is_err() {
            *book.faults.entry(id.clone()).or_default() += 1;
        }
        let Some(open) = self.open.get_mut(id) else {
            if !book.use_extra(id) {
                stage.blame(&format!("{id} was answered, and was over"));
            }
            self.same_number(book, answer, stage);
            return self.same_decision(book, answer, stage);
        };
        if open.at != Some(book.number) && !book.use_extra(id) {
            stage.blame(&format!("{id} was answered, and was not under way"));
        }
        match &answer.result {
            Err(fault) if fault.code == FrameFaultCode::Cancelled && !open.cancelled => {
                stage.blame(&format!("{id} was cancelled by nobody"));
            }
            Err(fault) if Self::may_pass(fault, open) && !self.floods => {
                if open.at == Some(book.number) {
                    open.retries += 1;
                    open.again = Some(Instant::now() + fault.retry_after.unwrap_or(soon));
                    open.at = None;
                }
            }
            result => {
                let decision = result.as_ref().ok().cloned();
                let session = book.number;
                self.open.remove(id);
                let over = Over {
                    session,
                    number,
                    decision,
                };
                self.over.insert(id.clone(), over);
                if answer.result.is_ok() {
                    self.analysed_once(id, book, stage);
                }
            }
        }
    }

    fn may_pass(fault: &FrameFault, open: &Open) -> bool {
        fault.retryable && open.retries < MOST_RETRIES && !open.cancelled
    }

    /// A frame that is over is answered again: as before.
    fn same_decision(&self, book: &Book, answer: &FrameAnswer, stage: &Stage) {
        let over = self.over.get(&answer.frame);
        let over = over.filter(|over| over.session == book.number);
        if let Some(first) = over.and_then(|over| over.decision.as_ref())
            && answer.result.as_ref() != Ok(first)
            && book.answers < KEPT
        {
            stage.blame(&format!("{} was decided once more", answer.frame));
        }
    }

    /// Until it is confirmed, a decision keeps its number.
    fn same_number(&self, book: &Book, answer: &FrameAnswer, stage: &Stage) {
        if let Some(over) = self.over.get(&answer.frame)
            && over.session == book.number
            && over.decision.is_some()
            && over.number > book.confirmed
            && book.answers < KEPT
        {
            let (id, new) = (&answer.frame, answer.number);
            stage.blame(&format!("{id}'s number {} has become {new}", over.number));
        }
    }

    pub(crate) fn refused(&mut self, book: &mut Book, refusal: &Refusal, stage: &Stage) {
        if let Some(id) = &refusal.frame {
            self.is_mine(id, stage);
        }
        match refusal.code {
            RefusalCode::InvalidEvent | RefusalCode::InvalidFrame if book.unusable > 0 => {
                book.unusable -= 1;
            }
            _ => stage.blame(&format!("refused: {refusal:?}")),
        }
    }

    /// The client is asked for a search.
    pub(crate) fn asked(&self, book: &mut Book, request: &ToolRequest, stage: &Stage) {
        let id = &request.frame;
        self.is_mine(id, stage);
        let here = |open: &Open| open.at == Some(book.number);
        if !self.open.get(id).is_some_and(here) && !book.extras.contains_key(id) {
            stage.blame(&format!("a search for {id}, which is over"));
        }
        let stream = book.stream.0;
        if book.asked.insert(request.id.clone(), stream) == Some(stream) {
            stage.blame(&format!("{} is asked for twice on one stream", request.id));
        }
    }

    /// A search is no longer waited for, as was said at that time.
    pub(crate) fn called_off(
        &self,
        book: &Book,
        (request, frame): (&RequestId, &FrameId),
        said: Instant,
        stage: &Stage,
    ) {
        self.is_mine(frame, stage);
        let (stream, since) = book.stream;
        if book.asked.get(request) != Some(&stream) && said > since + CROSSING {
            stage.blame(&format!("{request} is called off, and was not asked for"));
        }
    }

    /// The server has ended a stream of this session in good order: by then it has
    /// answered what it took.
    pub(crate) fn ended(&self, book: &Book, end: StreamEnd, stage: &Stage) {
        use StreamEnd::{Expired, Silent, TakenUp};
        let may_go_on = matches!(end, Expired | Silent | TakenUp);
        let goes_on = may_go_on && book.numbered;
        for (id, open) in self.open.iter().filter(|_| !goes_on && !self.floods) {
            if open.at == Some(book.number) && book.taken(id) >= Some(open.copy) {
                stage.blame(&format!(
                    "the stream ended ({end:?}), and {id} had no answer"
                ));
            }
        }
    }

    fn is_mine(&self, id: &FrameId, stage: &Stage) {
        let name = id.as_str().rsplit_once('-').map(|(name, _)| name);
        if name != Some(&self.name) {
            stage.blame(&format!("{} heard of {id}", self.name));
        }
    }
}
