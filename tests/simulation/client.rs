//! A desktop that obeys the contract, on a network that breaks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use proactive::domain::{Frame, FrameFaultCode, FrameId, Hit, MatchType, ScreenText, TaskStatus};
use proactive::session::{
    ClientMessage, FrameAnswer, Hello, Ready, Resume, ServerMessage, Version,
};
use proactive::tools::SearchRequest;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::network::Cable;
use super::stage::Stage;

/// How often a client promises to be heard.
const BEAT: Duration = Duration::from_secs(5);
/// The server's heartbeats come every 20 s.
const PATIENCE: Duration = Duration::from_secs(60);
/// A frame's 60 s, the time of a search that stood still, and the cable's.
const LONGEST_WAIT: Duration = Duration::from_secs(95);
/// How often a frame is sent again because its fault may pass.
const MOST_RETRIES: u32 = 4;

/// What a client is.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    pub(crate) name: String,
    pub(crate) uid: String,
    /// It may come back to its session, and confirms answers.
    pub(crate) resumes: bool,
    pub(crate) version: Version,
    pub(crate) frames: usize,
}

pub(crate) struct Client {
    habits: Habits,
    dice: SmallRng,
    /// Still to be shown.
    to_send: VecDeque<FrameId>,
    /// Sent or to be sent again, and not yet over.
    open: BTreeMap<FrameId, Open>,
    over: BTreeSet<FrameId>,
    /// Sent twice at once. If the first fails in a way that may pass, the second
    /// counts as one sent again.
    doubled: BTreeSet<FrameId>,
    session: Resume,
    /// Results that are not ready yet.
    results: BTreeMap<Instant, Vec<ClientMessage>>,
}

#[derive(Default)]
struct Open {
    /// On the present stream, or known to the session.
    sent: bool,
    /// To be sent again then.
    again: Option<Instant>,
    retries: u32,
    cancelled: bool,
    /// For how long the server has had it and could have said so.
    waited: Duration,
}

/// Why a stream is left.
enum Left {
    Finished,
    Broken,
    /// The next one takes the session along.
    Moving(Cable),
}

impl Client {
    pub(crate) fn new(habits: Habits, seed: u64) -> Self {
        let to_send = (0..habits.frames).map(|n| FrameId::new(format!("{}-{n}", habits.name)));
        Self {
            to_send: to_send.collect(),
            habits,
            dice: SmallRng::seed_from_u64(seed),
            open: BTreeMap::new(),
            over: BTreeSet::new(),
            doubled: BTreeSet::new(),
            session: Resume::default(),
            results: BTreeMap::new(),
        }
    }

    /// Lives until every frame is over.
    pub(crate) async fn live(mut self, stage: &Stage) {
        let mut old: Option<Cable> = None;
        while !self.is_finished() {
            if old.is_none() {
                let pause = match self.dice.random_bool(0.9) {
                    true => self.millis(4_000),
                    // Now and then longer than a session waits.
                    false => self.millis(45_000),
                };
                sleep(pause).await;
            }
            let mut cable = stage.connect(&self.habits.uid, &mut self.dice);
            if !self.greet(&mut cable, stage).await {
                old = None;
                continue;
            }
            drop(old.take());
            old = match self.serve(cable, stage).await {
                Left::Finished => return,
                Left::Broken => None,
                Left::Moving(cable) => Some(cable),
            };
        }
    }

    fn is_finished(&self) -> bool {
        self.to_send.is_empty() && self.open.is_empty()
    }

    async fn greet(&mut self, cable: &mut Cable, stage: &Stage) -> bool {
        self.results.clear();
        for open in self.open.values_mut() {
            open.sent = false;
        }
        let hello = Hello {
            version: self.habits.version,
            context_version: "v1".to_owned(),
            context: Some(Box::default()),
            resume: self.habits.resumes.then(|| Box::new(self.session.clone())),
            heartbeat_interval: (self.habits.version >= Version::V1_1).then_some(BEAT),
            ..Hello::default()
        };
        if !say(cable, ClientMessage::Hello(hello)).await {
            return false;
        }
        match timeout(Duration::from_secs(10), cable.from_server.recv()).await {
            Ok(Some(message)) => match *message {
                ServerMessage::Ready(ready) => {
                    self.ready(*ready, stage);
                    true
                }
                other => {
                    stage.blame(&format!(
                        "{} heard before ready: {other:?}",
                        self.habits.name
                    ));
                    false
                }
            },
            _ => false,
        }
    }

    fn ready(&mut self, ready: Ready, stage: &Stage) {
        stage.note(&self.habits.name, || format!("{:?}", ready.resume));
        let same = ready.session == self.session.session;
        let resumed = ready.resume.as_ref().and_then(|it| it.resumed.as_ref());
        if same != resumed.is_some() {
            stage.blame("the session is the same if and only if it was resumed");
        }
        if let Some(resumed) = resumed {
            let known = resumed.in_flight.iter().chain(&resumed.answered);
            for id in known {
                self.is_mine(id, stage);
                // One that is to be sent again has been answered, and that is known.
                if let Some(open) = self.open.get_mut(id).filter(|open| open.again.is_none()) {
                    open.sent = true;
                }
            }
        } else {
            self.session.received = 0;
        }
        self.session.session = ready.session.clone();
        if let Some(resume) = ready.resume {
            self.session.secret = resume.secret.clone();
        }
    }

    async fn serve(&mut self, mut cable: Cable, stage: &Stage) -> Left {
        let mut heard = Instant::now();
        let mut beat = Instant::now() + BEAT;
        let mut next_frame = Instant::now() + self.millis(2_000);
        let mut leaving = false;
        loop {
            if self.is_finished() {
                cable.to_server = None;
                // What is still said is for nobody.
                let rest = async {
                    while let Some(message) = cable.from_server.recv().await {
                        self.hear(*message, stage);
                    }
                };
                let _ = timeout(PATIENCE, rest).await;
                return Left::Finished;
            }
            if !self.send_due(&mut cable, stage, leaving).await {
                return Left::Broken;
            }
            let due = self.next_due(leaving).min(beat).min(next_frame);
            tokio::select! {
                message = cable.from_server.recv() => {
                    let Some(message) = message else { return Left::Broken };
                    self.wait(heard.elapsed(), stage);
                    heard = Instant::now();
                    if let ServerMessage::GoAway(go_away) = &*message {
                        stage.note(&self.habits.name, || format!("{go_away:?}"));
                        if go_away.resumable {
                            sleep(go_away.reconnect_delay).await;
                            return Left::Moving(cable);
                        }
                        leaving = true;
                    }
                    for reply in self.hear(*message, stage) {
                        if !say(&cable, reply).await {
                            return Left::Broken;
                        }
                    }
                }
                () = sleep_until(due) => {}
            }
            if heard.elapsed() > PATIENCE {
                return Left::Broken;
            }
            let now = Instant::now();
            if beat <= now {
                beat = now + BEAT;
                if !say(&cable, ClientMessage::Heartbeat).await {
                    return Left::Broken;
                }
            }
            if next_frame <= now {
                next_frame = now + self.millis(12_000) + Duration::from_millis(1);
                if let Some(id) = self.to_send.pop_front() {
                    self.open.insert(id, Open::default());
                }
                if self.dice.random_bool(0.05) && !self.cancel(&cable, stage).await {
                    return Left::Broken;
                }
            }
        }
    }

    /// So much time has passed on a stream that was whole.
    fn wait(&mut self, time: Duration, stage: &Stage) {
        for (id, open) in self.open.iter_mut().filter(|(_, open)| open.sent) {
            open.waited += time;
            if open.waited > LONGEST_WAIT {
                stage.blame(&format!("{id} has waited for {:?}", open.waited));
            }
        }
    }

    /// When something is to be sent again, or a result is ready.
    fn next_due(&self, leaving: bool) -> Instant {
        let again = self.open.values().filter_map(|open| open.again);
        // A server that goes away takes no more.
        let again = again.filter(|_| !leaving);
        let results = self.results.keys().copied();
        let most = Instant::now() + PATIENCE;
        again.chain(results).fold(most, Instant::min)
    }

    async fn send_due(&mut self, cable: &mut Cable, stage: &Stage, leaving: bool) -> bool {
        let now = Instant::now();
        while let Some(entry) = self
            .results
            .first_entry()
            .filter(|entry| *entry.key() <= now)
        {
            for result in entry.remove() {
                if !say(cable, result).await {
                    return false;
                }
            }
        }
        if leaving {
            return true;
        }
        let is_due = |open: &Open| !open.sent && open.again.is_none_or(|again| again <= now);
        let due = self.open.iter().filter(|(_, open)| is_due(open));
        let due: Vec<_> = due.map(|(id, _)| id.clone()).collect();
        for id in due {
            stage.note(&self.habits.name, || format!("sends {id}"));
            if !say(cable, ClientMessage::Frame(Box::new(frame(&id)))).await {
                return false;
            }
            if self.dice.random_bool(0.05) {
                self.doubled.insert(id.clone());
                if !say(cable, ClientMessage::Frame(Box::new(frame(&id)))).await {
                    return false;
                }
            }
            if let Some(open) = self.open.get_mut(&id) {
                open.sent = true;
                open.again = None;
                open.waited = Duration::ZERO;
            }
        }
        true
    }

    async fn cancel(&mut self, cable: &Cable, stage: &Stage) -> bool {
        let sent = self.open.iter_mut().find(|(_, open)| open.sent);
        let Some((id, open)) = sent else { return true };
        open.cancelled = true;
        stage.note(&self.habits.name, || format!("cancels {id}"));
        say(cable, ClientMessage::CancelFrame(id.clone())).await
    }

    /// Takes a message in; what it makes the client say at once.
    fn hear(&mut self, message: ServerMessage, stage: &Stage) -> Vec<ClientMessage> {
        match message {
            ServerMessage::Answer(answer) => self.answered(&answer, stage),
            ServerMessage::Search(request) => self.search(&request, stage),
            ServerMessage::CancelSearch { frame, .. } => {
                self.is_mine(&frame, stage);
                vec![]
            }
            ServerMessage::Refused(refusal) => {
                stage.blame(&format!("refused: {refusal:?}"));
                vec![]
            }
            ServerMessage::Ready(_) => {
                stage.blame("ready, twice");
                vec![]
            }
            ServerMessage::Heartbeat(_) | ServerMessage::GoAway(_) => vec![],
        }
    }

    fn answered(&mut self, answer: &FrameAnswer, stage: &Stage) -> Vec<ClientMessage> {
        let (id, number) = (&answer.frame, answer.number);
        let told = answer.result.as_ref().map(|_| "decided");
        let told = told.map_err(|fault| fault.code);
        stage.note(&self.habits.name, || format!("{id} {number} {told:?}"));
        self.is_mine(id, stage);
        if (number > 0) != self.habits.resumes {
            stage.blame("answers are numbered if and only if the session can be resumed");
        }
        let ack = vec![ClientMessage::Ack(number)];
        if number > 0 {
            if number <= self.session.received {
                if self.doubled.contains(id) {
                    return ack;
                }
                stage.blame(&format!("{id} was answered again with number {number}"));
                return ack;
            }
            self.session.received = number;
        }
        let Some(open) = self.open.get_mut(id).filter(|open| open.sent) else {
            if self.doubled.contains(id) {
                return ack;
            }
            stage.blame(&format!("{id} was answered, and was not under way"));
            return ack;
        };
        match &answer.result {
            Err(fault) if fault.retryable && open.retries < MOST_RETRIES && !open.cancelled => {
                open.retries += 1;
                open.sent = false;
                let pause = self.dice.random_range(0..6_000);
                open.again = Some(Instant::now() + Duration::from_millis(pause));
            }
            Err(fault) if fault.code == FrameFaultCode::Cancelled && !open.cancelled => {
                stage.blame(&format!("{id} was cancelled by nobody"));
            }
            _ => {
                self.open.remove(id);
                if !self.over.insert(id.clone()) {
                    stage.blame(&format!("{id} ended twice"));
                }
            }
        }
        match number {
            0 => vec![],
            _ => ack,
        }
    }

    fn search(&mut self, request: &SearchRequest, stage: &Stage) -> Vec<ClientMessage> {
        self.is_mine(&request.frame, stage);
        let under_way = self.open.get(&request.frame).is_some_and(|open| open.sent);
        if !under_way && !self.doubled.contains(&request.frame) {
            stage.blame(&format!("a search for {}, which is over", request.frame));
        }
        let hit = Hit {
            task_id: 1,
            description: format!("for {}", marked(&request.frame)),
            status: Some(TaskStatus::Active),
            similarity: 0.5,
            match_type: Some(MatchType::Both),
            score: Some(1),
        };
        let result = || ClientMessage::ToolResult(request.id.clone(), Ok(vec![hit.clone()]));
        let delay = match self.dice.random_range(0..10) {
            // Never.
            0 => return vec![],
            1..4 => 11_000,
            _ => 2_000,
        };
        let ready = Instant::now() + self.millis(delay);
        let copies = match self.dice.random_bool(0.05) {
            true => vec![result(), result()],
            false => vec![result()],
        };
        self.results.entry(ready).or_default().extend(copies);
        vec![]
    }

    fn is_mine(&self, id: &FrameId, stage: &Stage) {
        let name = id.as_str().rsplit_once('-').map(|(name, _)| name);
        if name != Some(&self.habits.name) {
            stage.blame(&format!("{} heard of {id}", self.habits.name));
        }
    }

    fn millis(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.dice.random_range(0..most))
    }
}

/// `false` if the stream is broken.
async fn say(cable: &Cable, message: ClientMessage) -> bool {
    let Some(to_server) = &cable.to_server else {
        return false;
    };
    let sent = timeout(Duration::from_secs(10), to_server.send(message)).await;
    matches!(sent, Ok(Ok(())))
}

/// A frame's name, as nothing else is written.
pub(crate) fn marked(id: &FrameId) -> String {
    format!("<frame {id}>")
}

fn frame(id: &FrameId) -> Frame {
    Frame {
        id: id.clone(),
        named: true,
        image: None,
        app: "Mail".to_owned(),
        window: String::new(),
        ocr: ScreenText(marked(id)),
        captured_at: None::<Timestamp>,
        utc_offset: None,
        context: None,
    }
}
