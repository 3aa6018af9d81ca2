//! Plays one schedule: the session, its client and the clock, in one task.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context as Polled, Poll};
use std::time::Duration;

use futures::Stream;
use proactive::analysis::{self, Analyst};
use proactive::domain::{Context, Frame, FrameId, Hit, ScreenText};
use proactive::gemini::Scripted;
use proactive::session::{
    ClientMessage, Hello, Input, Limits, Lobby, Quota, Refusal, RefusalCode, ServerMessage,
    Session, Stop, Tools,
};
use proactive::telemetry::{Metrics, SessionEnd};
use proactive::tools::{Output, Pending, Router};
use proactive::world::World;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

use super::caller::{caller, now};
use super::ledger::Ledger;
use super::log::empty_log;
use super::model;
use super::plan::{Deed, Found, Plan, answers};

/// After the last deed: two frames' time (one that waited, one of its own), and
/// a little.
const PATIENCE: Duration = Duration::from_secs(130);

/// What all schedules of a thread share.
pub(crate) struct House {
    tools: Tools,
}

impl House {
    pub(crate) fn new() -> Self {
        let metrics = Metrics::new();
        let world = World::fixed(now(), 0);
        let analyst = Analyst::new(
            analysis::Options::default(),
            Arc::new(Scripted::new(model::answer)),
            world.clone(),
            metrics.clone(),
        );
        let quota = Quota::new(Limits::default(), world.clone(), metrics.clone());
        Self {
            tools: Tools {
                analyst,
                log: empty_log(&metrics),
                router: Router::default(),
                world,
                metrics,
                quota,
            },
        }
    }

    pub(crate) fn metrics(&self) -> String {
        self.tools.metrics.render()
    }

    /// Plays the seed's schedule.
    ///
    /// # Errors
    /// What was wrong.
    pub(crate) fn play(&self, seed: u64, trace: Option<&mut String>) -> Result<(), String> {
        model::reseed(seed);
        let plan = Plan::new(seed);
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(|error| format!("no runtime: {error}"))?;
        let wrong = runtime.block_on(self.stage(seed, plan, trace));
        drop(runtime);
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        let page = self.metrics();
        for gauge in [
            "proactive_sessions",
            "proactive_frames_in_flight",
            "proactive_accounted_bytes",
        ] {
            if !page.contains(&format!("\n{gauge} 0\n")) {
                return Err(format!("{gauge} is not back to 0"));
            }
        }
        Ok(())
    }

    async fn stage(&self, seed: u64, plan: Plan, trace: Option<&mut String>) -> Option<String> {
        let stop = Stop::default();
        let (to_client, from_server) = mpsc::channel(plan.queue);
        let mut tools = self.tools.clone();
        tools.quota = Quota::new(
            Limits::default(),
            tools.world.clone(),
            tools.metrics.clone(),
        );
        let lobby = Lobby::new(plan.options, tools, stop.clone(), TaskTracker::new());
        let caller = caller("somebody", &lobby);
        let session = Session::new(&caller, &lobby);
        let pending = session.pending();
        let start = Instant::now();
        let mut stage = Stage {
            start,
            dice: SmallRng::seed_from_u64(seed.rotate_left(32)),
            queue: VecDeque::new(),
            closed: false,
            from_server: Some(from_server),
            reading: true,
            agenda: BTreeMap::new(),
            stop,
            pending: pending.clone(),
            ledger: Ledger::default(),
            trace: trace.is_some().then(String::new),
        };
        for (after, deed) in plan.deeds {
            stage.plan(start + after, deed);
        }
        let latest = stage.agenda.keys().next_back().map_or(start, |key| key.0);
        let stage = Arc::new(Mutex::new(stage));
        let (ended, _) = oneshot::channel();
        let mouth = Box::pin(Mouth(stage.clone()));
        let connection = lobby.connection(caller, mouth, to_client, ended);
        let mut session = pin!(session.run(connection, None));
        let end = loop {
            let due = lock(&stage).agenda.keys().next().map(|key| key.0);
            tokio::select! {
                biased;
                end = &mut session => break Some(end),
                () = poll_fn(|polled| lock(&stage).poll_heard(polled)) => {}
                () = sleep_until(due.unwrap_or(start)), if due.is_some() => {
                    lock(&stage).act();
                }
                () = sleep_until(latest + PATIENCE) => break None,
            }
        };
        let mut stage = lock(&stage);
        stage.finish(end);
        if end.is_some() && !pending.is_empty() {
            stage.ledger.blame("a search is left in the table");
        }
        if let (Some(to), Some(from)) = (trace, stage.trace.take()) {
            *to = from;
        }
        stage.ledger.wrong.take()
    }
}

/// Everything around the session.
struct Stage {
    start: Instant,
    dice: SmallRng,
    /// Said by the client, not yet taken by the session.
    queue: VecDeque<Deed>,
    closed: bool,
    from_server: Option<mpsc::Receiver<Box<ServerMessage>>>,
    reading: bool,
    /// What will happen. The number keeps the order of one instant.
    agenda: BTreeMap<(Instant, usize), Deed>,
    stop: Stop,
    pending: Pending,
    ledger: Ledger,
    trace: Option<String>,
}

impl Stage {
    fn plan(&mut self, at: Instant, deed: Deed) {
        let later = self.agenda.range((at, 0)..=(at, usize::MAX)).next_back();
        let number = later.map_or(0, |(key, _)| key.1 + 1);
        self.agenda.insert((at, number), deed);
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        if let Some(trace) = &mut self.trace {
            let at = self.start.elapsed().as_secs_f64();
            let _ = writeln!(trace, "{at:8.3}  {what}");
        }
    }

    /// Does the next thing of the agenda.
    fn act(&mut self) {
        let Some((_, deed)) = self.agenda.pop_first() else {
            return;
        };
        match deed {
            Deed::Drain | Deed::Halt | Deed::Leave | Deed::Pause | Deed::Resume => {
                self.note(format_args!("         {deed:?}"));
                match deed {
                    Deed::Drain => self.stop.soft.cancel(),
                    Deed::Halt => self.stop.hard.cancel(),
                    Deed::Leave => self.from_server = None,
                    _ => self.reading = matches!(deed, Deed::Resume),
                }
                self.ledger.take(&deed, false);
            }
            said if !self.closed => {
                self.closed = matches!(said, Deed::Close);
                self.queue.push_back(said);
            }
            _ => {}
        }
    }

    /// The session asks for the client's next word.
    fn take(&mut self) -> Option<Deed> {
        self.queue.front()?;
        // The session flushes before it listens: with room in the queue, all it
        // has said is in there.
        let fog = match &self.from_server {
            Some(queue) => {
                queue.len() == queue.max_capacity() || !(self.reading || queue.is_empty())
            }
            None => true,
        };
        self.hear_all();
        if !fog && self.ledger.is_settled() && !self.pending.is_empty() {
            self.ledger.blame("a search outlives its frame");
        }
        let deed = self.queue.pop_front()?;
        self.note(format_args!(
            "-> {}{deed:?}",
            if fog { "(fog) " } else { "" }
        ));
        self.ledger.take(&deed, fog);
        Some(deed)
    }

    fn hear_all(&mut self) {
        while self.reading
            && let Some(queue) = &mut self.from_server
            && let Ok(message) = queue.try_recv()
        {
            self.hear(&message);
        }
    }

    fn poll_heard(&mut self, polled: &mut Polled<'_>) -> Poll<()> {
        if self.reading
            && let Some(queue) = &mut self.from_server
            && let Some(message) = std::task::ready!(queue.poll_recv(polled))
        {
            self.hear(&message);
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn hear(&mut self, message: &ServerMessage) {
        self.note(format_args!("       <- {message:?}"));
        self.ledger.hear(message);
        if let ServerMessage::ToolCall(request) = message {
            let now = Instant::now();
            for (after, deed) in answers(&mut self.dice, &request.id) {
                self.plan(now + after, deed);
            }
        }
    }

    fn finish(&mut self, end: Option<SessionEnd>) {
        self.note(format_args!("         ended: {end:?}"));
        // What found no room at the very end is lost; nothing else is.
        let complete = self
            .from_server
            .as_ref()
            .is_some_and(|queue| queue.len() < queue.max_capacity());
        self.reading = true;
        self.hear_all();
        match end {
            Some(end) => self.ledger.close(end, complete),
            None => self.ledger.blame("the session does not end"),
        }
    }
}

/// The client's side of the stream.
struct Mouth(Arc<Mutex<Stage>>);

/// Never held while the session is polled.
fn lock(stage: &Mutex<Stage>) -> MutexGuard<'_, Stage> {
    stage.lock().expect("nobody panics while holding the stage")
}

impl Stream for Mouth {
    type Item = Input;

    fn poll_next(self: Pin<&mut Self>, _: &mut Polled<'_>) -> Poll<Option<Input>> {
        // The stage is part of the same task, so nobody has to be woken.
        match lock(&self.0).take() {
            Some(Deed::Close) => Poll::Ready(None),
            Some(deed) => Poll::Ready(Some(input(deed))),
            None => Poll::Pending,
        }
    }
}

fn input(deed: Deed) -> Input {
    let context = |name: &str| {
        Box::new(Context {
            version: name.into(),
            ..Context::default()
        })
    };
    let refused = |code, id: Option<&str>| {
        Input::Refused(Refusal {
            code,
            message: "It cannot be used.".to_owned(),
            frame: id.map(FrameId::new),
            context: None,
        })
    };
    Input::Message(match deed {
        Deed::Hello {
            version,
            name,
            tasks,
        } => ClientMessage::Hello(Hello {
            version,
            context_version: name.to_owned(),
            context: tasks.then(|| context(name)),
            ..Hello::default()
        }),
        Deed::Frame { id, context: name } => ClientMessage::Frame(Box::new(Frame {
            id: FrameId::new(id),
            named: false,
            image: None,
            app: "Mail".to_owned(),
            window: String::new(),
            ocr: ScreenText::default(),
            captured_at: None,
            utc_offset: None,
            device: None,
            context: name.map(context),
        })),
        Deed::Cancel(id) => ClientMessage::CancelFrame(FrameId::new(id)),
        Deed::Result(id, found) => ClientMessage::ToolResult(id, answer(found).map(Output::Hits)),
        Deed::Heartbeat => ClientMessage::Heartbeat,
        Deed::BadFrame(id) => return refused(RefusalCode::InvalidFrame, id),
        Deed::BadEvent => return refused(RefusalCode::InvalidEvent, None),
        Deed::Lose => return Input::Lost,
        Deed::Close | Deed::Leave | Deed::Drain | Deed::Halt | Deed::Pause | Deed::Resume => {
            unreachable!("not said by a client")
        }
    })
}

fn answer(found: Found) -> Result<Vec<Hit>, String> {
    match found {
        Found::Nothing => Ok(vec![]),
        Found::Something => Ok(vec![Hit {
            task_id: 7,
            description: "Send the lease".to_owned(),
            status: None,
            similarity: 0.5,
            match_type: None,
            score: None,
        }]),
        Found::Failure => Err("the index is broken".to_owned()),
    }
}
