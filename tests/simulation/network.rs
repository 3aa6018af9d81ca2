//! The cable between a client and the server: it takes its time, and breaks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures::StreamExt;
use proactive::domain::FrameId;
use proactive::session::{
    Caller, ClientMessage, Input, Lobby, NoRoom, OUTBOUND_QUEUE, Refusal, RefusalCode,
    ServerMessage, StreamEnd,
};
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::judge::{Judge, lock};

/// Messages to a client that are under way at once.
const WINDOW: usize = 4;
/// What a client's own machine keeps, so that it can read while it writes.
const BUFFER: usize = 128;
/// For what takes no time in theory.
const SLACK: Duration = Duration::from_secs(2);
/// How long a session keeps a client that takes nothing of what it is told.
const SLOW: Duration = Duration::from_secs(10);
/// So many distinct frames find room, in the window, the queue and the session,
/// before one of their answers has to wait.
const ROOM: usize = WINDOW + OUTBOUND_QUEUE + 3;
/// A session takes no more frames than that while nobody reads their answers: it
/// keeps 32 of them, and what finds room.
const MOST_UNREAD: usize = ROOM + 32 + 8;
/// A client that promises to be heard every 5 s is given up after 15; if it is
/// slow as well, a little later.
const SILENCE: Duration = Duration::from_secs(30);

/// A client's end of a stream. Dropping it leaves the stream without a word.
pub(crate) struct Cable {
    /// `None` once the client has closed its side.
    pub(crate) to_server: Option<mpsc::Sender<(Instant, Input)>>,
    pub(crate) from_server: mpsc::Receiver<Heard>,
    pub(crate) taken: Taken,
    /// At some time the client does not read for a while.
    pub(crate) stalls: bool,
}

/// What comes out at the client's end.
pub(crate) enum Heard {
    /// When the session said it, and what.
    Said(Instant, Box<ServerMessage>),
    /// The server ended the stream; `None` if the session crashed.
    Ended(Option<StreamEnd>),
}

/// What a session has read of one stream.
#[derive(Clone, Default)]
pub(crate) struct Taken(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    /// The latest copy of each frame; 0 if only a refusal of it came.
    copies: BTreeMap<FrameId, u64>,
    frames: Vec<Instant>,
}

impl Taken {
    fn note(&self, input: &Input) {
        let mut log = lock(&self.0);
        let (id, copy) = match input {
            Input::Message(ClientMessage::Frame(frame)) => (&frame.id, copy_of(&frame.window)),
            Input::Refused(Refusal {
                frame: Some(id), ..
            }) => (id, 0),
            _ => return,
        };
        log.frames.push(Instant::now());
        let latest = log.copies.entry(id.clone()).or_default();
        *latest = copy.max(*latest);
    }

    /// The latest copy of the frame, if any came.
    pub(crate) fn copy(&self, id: &FrameId) -> Option<u64> {
        lock(&self.0).copies.get(id).copied()
    }

    fn since(&self, when: Instant) -> Vec<Instant> {
        let frames = &lock(&self.0).frames;
        frames.iter().copied().filter(|at| *at >= when).collect()
    }
}

/// Where a frame's window names its copy.
fn copy_of(window: &str) -> u64 {
    let number = window.rsplit_once(' ').map(|(_, number)| number.parse());
    number.and_then(Result::ok).expect("a frame names its copy")
}

/// How a stream breaks.
#[derive(Clone, Copy, Debug)]
enum Break {
    /// Both sides learn of it.
    Reset,
    /// Nothing goes through any more, and nobody is told.
    HalfOpen,
}

/// What happens to one stream.
struct Fate {
    breaks: Option<(Instant, Break)>,
    /// Of each message, either way.
    latency: Duration,
    /// The client does not read from then to then.
    stall: Option<(Instant, Instant)>,
    /// There is no room for one frame in so many.
    crowded: u32,
}

impl Fate {
    fn draw(dice: &mut SmallRng, floods: bool) -> Self {
        let now = Instant::now();
        let latency = Duration::from_millis(dice.random_range(1..300));
        let mut within =
            |seconds: u64| Duration::from_millis(dice.random_range(0..seconds * 1_000));
        let (soon, late, stall_at, stall_for) = (within(5), within(60), within(40), within(14));
        let at = match dice.random_range(0..10) {
            0..2 => None,
            2..6 => Some(now + soon),
            _ => Some(now + late),
        };
        let how = match dice.random_bool(0.7) {
            true => Break::Reset,
            false => Break::HalfOpen,
        };
        let stall = match floods {
            // Just when the answers to its flood begin to come.
            true => Some((now + 3 * latency, now + 2 * stall_for)),
            false => dice
                .random_bool(0.1)
                .then_some((now + stall_at, now + stall_at + stall_for)),
        };
        Self {
            breaks: at.filter(|_| !floods).map(|at| (at, how)),
            latency,
            stall: stall.filter(|_| !floods || dice.random_bool(0.5)),
            crowded: dice.random_range(10..50),
        }
    }

    /// When what was said at that time comes out.
    fn arrives(&self, said: Instant) -> Instant {
        let due = said + self.latency;
        match self.stall {
            Some((from, to)) if from <= due && due < to => to,
            _ => due,
        }
    }
}

/// What is known of a stream that is about to be opened.
pub(crate) struct Terms {
    /// How old it may grow.
    pub(crate) life: Duration,
    /// The client promises to be heard.
    pub(crate) promised: bool,
    /// The client sends more than it reads.
    pub(crate) floods: bool,
    /// The server's machine is gone, and all its cables.
    pub(crate) killed: CancellationToken,
}

/// Opens a stream. The session has let go of it when the second value is gone.
pub(crate) fn connect(
    lobby: &Lobby,
    caller: Caller,
    terms: Terms,
    dice: &mut SmallRng,
    cables: &TaskTracker,
    judge: &Arc<Judge>,
) -> (Cable, Weak<()>) {
    let (to_session, inputs) = mpsc::channel(8);
    let (to_client, session_says) = mpsc::channel(OUTBOUND_QUEUE);
    let (ended, end) = oneshot::channel();
    let (taken, open) = (Taken::default(), Arc::new(()));
    let (log, weak) = (taken.clone(), Arc::downgrade(&open));
    let inputs = ReceiverStream::new(inputs).inspect(move |input| {
        let _open = &open;
        log.note(input);
    });
    lobby.open(lobby.connection(caller, Box::pin(inputs), to_client, ended));
    let (to_server, client_says) = mpsc::channel(BUFFER);
    let (to_desk, from_server) = mpsc::channel(BUFFER);
    let fate = Fate::draw(dice, terms.floods);
    let stalls = fate.stall.is_some();
    let wire = Wire {
        client_says,
        to_session: Some(to_session),
        session_says,
        end,
        to_desk,
        open: weak.clone(),
        taken: taken.clone(),
        fate,
        must_end: Instant::now() + terms.life + SLACK,
        promised: terms.promised,
        judge: judge.clone(),
    };
    cables.spawn(wire.carry(terms.killed));
    let cable = Cable {
        to_server: Some(to_server),
        from_server,
        taken,
        stalls,
    };
    (cable, weak)
}

struct Wire {
    client_says: mpsc::Receiver<(Instant, Input)>,
    to_session: Option<mpsc::Sender<Input>>,
    session_says: mpsc::Receiver<Box<ServerMessage>>,
    end: oneshot::Receiver<StreamEnd>,
    to_desk: mpsc::Sender<Heard>,
    /// The session has not let go of the stream.
    open: Weak<()>,
    taken: Taken,
    fate: Fate,
    must_end: Instant,
    promised: bool,
    judge: Arc<Judge>,
}

impl Wire {
    async fn carry(mut self, killed: CancellationToken) {
        let (open, must_end) = (self.open.clone(), self.must_end);
        let (judge, desk) = (self.judge.clone(), self.to_desk.clone());
        let too_old = async {
            sleep_until(must_end).await;
            if open.strong_count() > 0 {
                judge.blame("a stream outlives its age, or its token");
            }
            std::future::pending().await
        };
        let (breaks, stall, taken) = (self.fate.breaks, self.fate.stall, self.taken.clone());
        let slow = watch_slow_reader(stall, taken, self.open.clone(), judge.clone());
        let broken = async {
            match breaks {
                Some((at, how)) => {
                    sleep_until(at).await;
                    how
                }
                None => std::future::pending().await,
            }
        };
        let up = carry_up(
            &mut self.client_says,
            &mut self.to_session,
            &self.fate,
            &desk,
        );
        let down = carry_down(
            &mut self.session_says,
            &mut self.end,
            &self.to_desk,
            &self.fate,
        );
        let how = tokio::select! {
            biased;
            () = killed.cancelled() => Break::Reset,
            how = broken => how,
            // The server has ended the stream, or the client is gone.
            () = down => Break::Reset,
            () = up => Break::Reset,
            () = too_old => Break::Reset,
            () = slow => Break::Reset,
        };
        if let (Break::HalfOpen, Some(session)) = (how, &self.to_session) {
            // Each side finds out by itself.
            let by = match self.promised {
                true => self.must_end.min(Instant::now() + SILENCE),
                false => self.must_end,
            };
            let found_out = timeout_at(by, session.closed());
            let swallowed = async { while self.client_says.recv().await.is_some() {} };
            let (found_out, ()) = tokio::join!(found_out, swallowed);
            self.to_desk.closed().await;
            if found_out.is_err() && self.open.strong_count() > 0 {
                judge.blame("a stream lingers whose client is silent");
            }
            return;
        }
        drop((self.session_says, self.to_desk));
        // A session that is not listening finds out when it speaks.
        if let Some(session) = self.to_session {
            let _ = session.try_send(Input::Lost);
        }
    }
}

async fn carry_up(
    client_says: &mut mpsc::Receiver<(Instant, Input)>,
    to_session: &mut Option<mpsc::Sender<Input>>,
    fate: &Fate,
    desk: &mpsc::Sender<Heard>,
) {
    let mut frames = 0;
    while let Some((said, mut input)) = client_says.recv().await {
        sleep_until(said + fate.latency).await;
        if let Input::Message(ClientMessage::Frame(frame)) = &input {
            frames += 1;
            if frames % fate.crowded == 0 {
                input = no_room(frame.id.clone());
            }
        }
        let Some(session) = to_session else { return };
        if session.send(input).await.is_err() {
            break;
        }
    }
    *to_session = None;
    // It has closed its side, and listens on; or it has just gone.
    desk.closed().await;
}

/// As the transport says it that reads past a frame.
fn no_room(frame: FrameId) -> Input {
    Input::Refused(Refusal {
        code: RefusalCode::Overloaded(NoRoom::AtAll),
        message: "There is no room.".to_owned(),
        frame: Some(frame),
        context: None,
    })
}

async fn carry_down(
    session_says: &mut mpsc::Receiver<Box<ServerMessage>>,
    end: &mut oneshot::Receiver<StreamEnd>,
    to_desk: &mpsc::Sender<Heard>,
    fate: &Fate,
) {
    let mut flying = VecDeque::new();
    let mut over = false;
    loop {
        let due = flying.front().map(|(said, _)| fate.arrives(*said));
        tokio::select! {
            biased;
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let Some((_, heard)) = flying.pop_front() else { return };
                let last = matches!(heard, Heard::Ended(_));
                if to_desk.send(heard).await.is_err() || last {
                    return;
                }
            }
            message = session_says.recv(), if !over && flying.len() < WINDOW => {
                let now = Instant::now();
                flying.push_back((now, match message {
                    Some(message) => Heard::Said(now, message),
                    None => {
                        over = true;
                        Heard::Ended((&mut *end).await.ok())
                    }
                }));
            }
        }
    }
}

/// While a client reads nothing, its session takes no more than it can keep the
/// answers to, and not for long.
async fn watch_slow_reader(
    stall: Option<(Instant, Instant)>,
    taken: Taken,
    open: Weak<()>,
    judge: Arc<Judge>,
) {
    if let Some((from, to)) = stall {
        sleep_until(to).await;
        let frames = taken.since(from);
        if frames.len() > MOST_UNREAD {
            judge.blame("frames are taken though their answers are not read");
        }
        let unread = frames.get(ROOM + 5);
        if unread.is_some_and(|since| *since + SLOW + SLACK < to) && open.strong_count() > 0 {
            judge.blame("a client that reads nothing is kept");
        }
    }
    std::future::pending().await
}
