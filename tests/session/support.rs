//! A session with a scripted model, and the desktop that talks to it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::Stream;
use proactive::analysis::{self, Analyst};
use proactive::domain::{
    ActiveTask, Context, Decision, Frame, FrameFault, FrameId, Hit, MatchType, Outcome, Principal,
    RequestId, ScreenText, Task, TaskStatus, Uid,
};
use proactive::gemini::{Call, Error, Scripted, Turn, View};
use proactive::session::{
    self, Caller, ClientMessage, Hello, Input, Limits, OUTBOUND_QUEUE, Quota, Ready, ServerMessage,
    Session, Stop, Tools, Version,
};
use proactive::telemetry::{Metrics, SessionEnd};
use proactive::tools::{Answer, Pending, SearchRequest};
use proactive::world::World;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;

/// Longer than anything a session may take, so that a lost event fails a test
/// instead of hanging it. Costs nothing: the clock is paused.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the scripted model may say.
pub(crate) type Said = Result<Turn, Error>;

/// A session about to start.
pub(crate) struct Core {
    model: Scripted,
    views: Arc<Mutex<Vec<View>>>,
    /// May be changed before the start.
    pub(crate) options: session::Options,
    /// May be changed before the start.
    pub(crate) analysis: analysis::Options,
    /// Shared with others, if there is one.
    pub(crate) quota: Option<Quota>,
    pub(crate) uid: &'static str,
}

impl Core {
    /// A session whose model finds nothing.
    pub(crate) fn new() -> Self {
        Self {
            model: Scripted::new(|_| async { turn([nothing()]) }),
            views: Arc::default(),
            options: session::Options::default(),
            analysis: analysis::Options::default(),
            quota: None,
            uid: "somebody",
        }
    }

    /// The model answers with what this function says.
    pub(crate) fn model<F>(mut self, answers: impl Fn(View) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Said> + Send + 'static,
    {
        let views = self.views.clone();
        self.model = Scripted::new(move |view: View| {
            views
                .lock()
                .expect("no test panics while it holds the views")
                .push(view.clone());
            answers(view)
        });
        self
    }

    /// The model says these turns to every frame, one after the other.
    pub(crate) fn turns<const N: usize>(self, turns: [Said; N]) -> Self {
        self.model(move |view| {
            let said = turns.get(view.turns).expect("no further turn was expected");
            let said = said.clone();
            async { said }
        })
    }

    /// At most this many frames at once.
    pub(crate) fn frames_at_once(mut self, frames: usize) -> Self {
        self.options.frames_at_once = frames;
        self
    }

    /// Starts it; nobody has said hello.
    pub(crate) fn start(self) -> Desk {
        let (to_server, inputs) = mpsc::channel(8);
        let mut desk = self.start_with(|_| ReceiverStream::new(inputs));
        desk.to_server = Some(to_server);
        desk
    }

    /// Starts it with a client that speaks by itself.
    pub(crate) fn start_with<S>(self, inputs: impl FnOnce(Pending) -> S) -> Desk
    where
        S: Stream<Item = Input> + Send + Unpin + 'static,
    {
        let metrics = Metrics::new();
        let now = "2026-11-21T10:00:00Z".parse().expect("a valid time");
        let world = World::fixed(now, 7);
        let analyst = Analyst::new(
            self.analysis,
            Arc::new(self.model),
            world.clone(),
            metrics.clone(),
        );
        let quota = self
            .quota
            .unwrap_or_else(|| Quota::new(Limits::default(), world.clone(), metrics.clone()));
        let uid = Uid::new(self.uid);
        let seat = quota.open(&uid).expect("there is room");
        let tools = Tools {
            analyst,
            quota,
            world,
            metrics: metrics.clone(),
        };
        let caller = Caller {
            principal: Principal {
                uid,
                expires_at: now,
                plan: None,
            },
            seat,
            device: "desk".into(),
            platform: String::new(),
            app_version: String::new(),
            trace: None,
        };
        let stop = Stop::default();
        let (to_client, from_server) = mpsc::channel(OUTBOUND_QUEUE);
        let session = Session::new(caller, self.options, tools, stop.clone(), to_client);
        let pending = session.pending();
        let mut task = JoinSet::new();
        task.spawn(session.run(inputs(pending.clone())));
        Desk {
            to_server: None,
            from_server,
            task,
            stop,
            pending,
            metrics,
            views: self.views,
        }
    }

    /// Starts it and says hello with tasks, in protocol 1.0.
    pub(crate) async fn greeted(self) -> Desk {
        self.greeted_as(Version::V1_0).await
    }

    /// Starts it and says hello with tasks.
    pub(crate) async fn greeted_as(self, version: Version) -> Desk {
        let mut desk = self.start();
        desk.hello(version, "v1", Some(context("v1", "Water the plants")))
            .await;
        desk.ready().await;
        desk
    }
}

/// A desktop.
pub(crate) struct Desk {
    to_server: Option<mpsc::Sender<Input>>,
    from_server: mpsc::Receiver<Box<ServerMessage>>,
    task: JoinSet<SessionEnd>,
    pub(crate) stop: Stop,
    pub(crate) pending: Pending,
    pub(crate) metrics: Metrics,
    views: Arc<Mutex<Vec<View>>>,
}

impl Desk {
    pub(crate) async fn input(&self, input: Input) {
        let to_server = self.to_server.as_ref().expect("the desk still speaks");
        timeout(PATIENCE, to_server.send(input))
            .await
            .expect("the session reads")
            .expect("the session lives");
    }

    /// An input if the session takes it now.
    pub(crate) fn try_input(&self, input: Input) -> bool {
        let to_server = self.to_server.as_ref().expect("the desk still speaks");
        to_server.try_send(input).is_ok()
    }

    pub(crate) async fn say(&self, message: ClientMessage) {
        self.input(Input::Message(message)).await;
    }

    pub(crate) async fn hello(&self, version: Version, name: &str, context: Option<Box<Context>>) {
        let context_version = name.to_owned();
        self.say(ClientMessage::Hello(Hello {
            version,
            context_version,
            context,
            utc_offset: None,
        }))
        .await;
    }

    /// Sends a frame whose text is its id.
    pub(crate) async fn frame(&self, id: &str) {
        self.say(ClientMessage::Frame(Box::new(frame(id)))).await;
    }

    pub(crate) async fn frame_with(&self, id: &str, context: Box<Context>) {
        let mut frame = frame(id);
        frame.context = Some(context);
        self.say(ClientMessage::Frame(Box::new(frame))).await;
    }

    pub(crate) async fn cancel(&self, id: &str) {
        self.say(ClientMessage::CancelFrame(FrameId::new(id))).await;
    }

    pub(crate) async fn answer(&self, request: &SearchRequest, answer: Answer) {
        self.answer_id(&request.id, answer).await;
    }

    pub(crate) async fn answer_id(&self, request: &RequestId, answer: Answer) {
        self.say(ClientMessage::ToolResult(request.clone(), answer))
            .await;
    }

    /// Closes the desk's side of the stream.
    pub(crate) fn half_close(&mut self) {
        self.to_server = None;
    }

    /// Stops reading for good, as a broken connection does.
    pub(crate) fn stop_reading(&mut self) {
        self.from_server.close();
        while self.from_server.try_recv().is_ok() {}
    }

    /// What the session says next; `None` if it has ended.
    pub(crate) async fn heard(&mut self) -> Option<ServerMessage> {
        timeout(PATIENCE, self.from_server.recv())
            .await
            .expect("the session says something or ends")
            .map(|message| *message)
    }

    /// What the session says next.
    pub(crate) async fn next(&mut self) -> ServerMessage {
        self.heard().await.expect("the session lives")
    }

    pub(crate) async fn ready(&mut self) -> Ready {
        match self.next().await {
            ServerMessage::Ready(ready) => *ready,
            other => panic!("not the answer to a hello: {other:?}"),
        }
    }

    pub(crate) async fn search(&mut self) -> SearchRequest {
        match self.next().await {
            ServerMessage::Search(request) => *request,
            other => panic!("not a search: {other:?}"),
        }
    }

    pub(crate) async fn search_called_off(&mut self) -> (RequestId, FrameId) {
        match self.next().await {
            ServerMessage::CancelSearch { request, frame, .. } => (request, frame),
            other => panic!("not a search called off: {other:?}"),
        }
    }

    /// The next message is this frame's decision.
    pub(crate) async fn outcome(&mut self, id: &str) -> Outcome {
        match self.next().await {
            ServerMessage::Outcome(frame, _, outcome) if frame.as_str() == id => *outcome,
            other => panic!("not the outcome of {id}: {other:?}"),
        }
    }

    /// The next message is this frame's decision that there is no task.
    pub(crate) async fn no_task(&mut self, id: &str) -> String {
        match self.outcome(id).await.decision {
            Decision::NoTask { reason } => reason,
            other => panic!("not NO_TASK_FOUND: {other:?}"),
        }
    }

    /// The next message is this frame's task.
    pub(crate) async fn task(&mut self, id: &str) -> Task {
        match self.outcome(id).await.decision {
            Decision::Extract(task) => *task,
            other => panic!("not EXTRACT_TASK: {other:?}"),
        }
    }

    /// The next message is this frame's error.
    pub(crate) async fn fault(&mut self, id: &str) -> FrameFault {
        match self.next().await {
            ServerMessage::Fault(frame, fault) if frame.as_str() == id => *fault,
            other => panic!("not the fault of {id}: {other:?}"),
        }
    }

    /// Nothing is said for that long.
    pub(crate) async fn silence(&mut self, time: Duration) {
        if let Ok(said) = timeout(time, self.from_server.recv()).await {
            panic!("said in what should be silence: {said:?}");
        }
    }

    /// Everything that can happen now has happened. (The clock is paused: it
    /// moves only when every task waits.)
    pub(crate) async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// What the model was shown, call by call.
    pub(crate) fn views(&self) -> Vec<View> {
        self.views
            .lock()
            .expect("no test panics while it holds the views")
            .clone()
    }

    /// One number of the metrics page; 0 if it is not there.
    pub(crate) fn count(&self, metric: &str) -> u64 {
        let page = self.metrics.render();
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
        line.map_or(0, |number| number.parse().expect("a whole number"))
    }

    /// Reads to the end. Whatever happened, nothing of the session is left.
    pub(crate) async fn end(mut self) -> (SessionEnd, Vec<ServerMessage>) {
        let mut rest = Vec::new();
        let reading = async {
            while let Some(message) = self.from_server.recv().await {
                rest.push(*message);
            }
        };
        timeout(PATIENCE, reading).await.expect("the session ends");
        (self.over().await, rest)
    }

    /// The session ends by itself, also if nobody reads.
    pub(crate) async fn over(&mut self) -> SessionEnd {
        let ended = timeout(PATIENCE, self.task.join_next()).await;
        let end = ended
            .expect("the session ends")
            .expect("it was not joined before")
            .expect("it does not crash");
        assert!(self.pending.is_empty(), "a search is left behind");
        for gauge in ["proactive_sessions", "proactive_frames_in_flight"] {
            assert_eq!(self.count(gauge), 0, "{gauge}");
        }
        end
    }

    /// Closes the desk's side; the session ends, and has nothing more to say.
    pub(crate) async fn close(mut self) {
        self.half_close();
        assert_eq!(self.end().await, (SessionEnd::Closed, vec![]));
    }
}

/// A frame whose text is its id.
pub(crate) fn frame(id: &str) -> Frame {
    Frame {
        id: FrameId::new(id),
        image: None,
        app: "Mail".into(),
        window: "Inbox".into(),
        ocr: ScreenText(format!("<{id}>")),
        captured_at: None,
        utc_offset: None,
        context: None,
    }
}

/// Whether the model is shown that frame.
pub(crate) fn shows(view: &View, id: &str) -> bool {
    view.text.contains(&format!("<{id}>"))
}

/// A context with one task.
pub(crate) fn context(version: &str, task: &str) -> Box<Context> {
    let task = ActiveTask {
        id: 1,
        description: task.into(),
        priority: String::new(),
        score: Some(1),
        staged: false,
    };
    Box::new(Context::bounded(
        version,
        vec![task],
        vec![],
        vec![],
        vec![],
    ))
}

/// One thing that a search found.
pub(crate) fn hit() -> Hit {
    Hit {
        task_id: 77,
        description: "Send the lease".into(),
        status: Some(TaskStatus::Deleted),
        similarity: 0.91,
        match_type: Some(MatchType::Both),
        score: Some(4),
    }
}

/// A turn of these calls.
pub(crate) fn turn<const N: usize>(calls: [Call; N]) -> Said {
    Ok(Turn::of_calls(calls.into()))
}

/// A call of any function. Its id is its name.
pub(crate) fn call(name: &str, args: &Value) -> Call {
    Call {
        id: Some(format!("id-{name}")),
        name: name.to_owned(),
        args: args.as_object().cloned().unwrap_or_default(),
    }
}

pub(crate) fn similar(query: &str) -> Call {
    call("search_similar", &json!({ "query": query }))
}

pub(crate) fn keywords(query: &str) -> Call {
    call("search_keywords", &json!({ "query": query }))
}

pub(crate) fn nothing() -> Call {
    let args = json!({ "context_summary": "A calendar.", "current_activity": "Planning" });
    call("no_task_found", &args)
}

pub(crate) fn reject() -> Call {
    let args = json!({
        "reason": "Already tracked as #77.",
        "context_summary": "A mail.",
        "current_activity": "Reading"
    });
    call("reject_task", &args)
}

pub(crate) fn extract() -> Call {
    extract_titled("Send the signed lease to the Berlin office")
}

pub(crate) fn extract_titled(title: &str) -> Call {
    let args = json!({
        "title": title,
        "priority": "high",
        "confidence": 0.8,
        "relevance_score": 2,
        "context_summary": "A mail about a lease.",
        "current_activity": "Reading mail"
    });
    call("extract_task", &args)
}

/// What the model was answered last: the parts of the conversation's last turn.
pub(crate) fn answered(view: &View) -> Vec<Value> {
    let whole = format!("{}]}}", view.text);
    let body: Value = serde_json::from_str(&whole).expect("the conversation is JSON");
    let contents = body["contents"].as_array().expect("contents is a list");
    let last = contents.last().expect("something was said");
    assert_eq!(last["role"], "user");
    last["parts"].as_array().expect("parts is a list").clone()
}

/// How long something took on the paused clock.
pub(crate) struct Since(Instant);

impl Since {
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }

    /// In whole milliseconds.
    pub(crate) fn millis(&self) -> u128 {
        self.0.elapsed().as_millis()
    }
}
