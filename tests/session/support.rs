//! A session with a scripted model, and the desktop that talks to it.

#[path = "../support/caller.rs"]
mod caller;
mod desk;
pub(crate) mod devices;
#[path = "../support/log.rs"]
mod log;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::Stream;
use proactive::analysis::{self, Analyst};
use proactive::domain::{
    ActiveTask, Context, Frame, FrameId, Hit, MatchType, ScreenText, TaskStatus,
};
use proactive::events::Log;
use proactive::gemini::{Call, Error, Scripted, Turn, View};
use proactive::jobs::{self, Jobs};
use proactive::session::{
    self, Caller, Input, Limits, Lobby, OUTBOUND_QUEUE, Quota, Session, Stop, Tools, Version,
};
use proactive::telemetry::Metrics;
use proactive::tools::{Pending, Router};
use proactive::world::World;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;

pub(crate) use caller::{caller, now};
pub(crate) use desk::Desk;

/// Longer than anything a session may take, so that a lost event fails a test
/// instead of hanging it. Costs nothing: the clock is paused.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

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
    /// Instead of one that knows the built-in tools.
    pub(crate) router: Option<Router>,
    /// Instead of an empty one in memory.
    pub(crate) log: Option<Log>,
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
            router: None,
            log: None,
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

    /// The model that is set has this one to begin anew with.
    pub(crate) fn fallback<F>(mut self, answers: impl Fn(View) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Said> + Send + 'static,
    {
        self.model = self.model.with_fallback(Scripted::new(answers));
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

    /// A server without a client.
    pub(crate) fn house(self) -> House {
        let (stop, running) = (Stop::default(), TaskTracker::new());
        let metrics = Metrics::new();
        let options = self.options;
        let views = self.views.clone();
        let tools = self.tools(&metrics);
        House {
            lobby: Lobby::new(options, tools.clone(), stop.clone(), running.clone()),
            tools,
            running,
            stop,
            metrics,
            views,
        }
    }

    fn tools(self, metrics: &Metrics) -> Tools {
        let world = World::fixed(now(), 7);
        let model = Arc::new(self.model);
        let all = || Quota::new(Limits::default(), world.clone(), metrics.clone());
        Tools {
            quota: self.quota.unwrap_or_else(all),
            log: self.log.unwrap_or_else(|| log::empty_log(metrics)),
            router: self.router.unwrap_or_default(),
            analyst: Analyst::new(self.analysis, model, world.clone(), metrics.clone()),
            world,
            metrics: metrics.clone(),
        }
    }

    /// Starts it with a client that speaks by itself.
    pub(crate) fn start_with<S>(self, inputs: impl FnOnce(Pending) -> S) -> Desk
    where
        S: Stream<Item = Input> + Send + 'static,
    {
        let (metrics, options, views) = (Metrics::new(), self.options, self.views.clone());
        let uid = self.uid;
        let tools = self.tools(&metrics);
        let stop = Stop::default();
        let lobby = Lobby::new(options, tools, stop.clone(), TaskTracker::new());
        let (to_client, from_server) = mpsc::channel(OUTBOUND_QUEUE);
        let (ended, _) = oneshot::channel();
        let caller = caller(uid, &lobby);
        let session = Session::new(&caller, &lobby);
        let pending = session.pending();
        let inputs = Box::pin(inputs(pending.clone()));
        let connection = lobby.connection(caller, inputs, to_client, ended);
        let mut task = JoinSet::new();
        task.spawn(session.run(connection, None));
        Desk {
            to_server: None,
            from_server,
            task,
            stop,
            pending,
            metrics,
            views,
            ended: None,
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

/// A server, and the sessions on it.
pub(crate) struct House {
    pub(crate) lobby: Lobby,
    pub(crate) tools: Tools,
    running: TaskTracker,
    pub(crate) stop: Stop,
    metrics: Metrics,
    views: Arc<Mutex<Vec<View>>>,
}

impl House {
    /// A user's desktop opens a stream.
    pub(crate) fn connect(&self, uid: &str) -> Desk {
        self.connect_as(caller(uid, &self.lobby))
    }

    /// A client opens a stream that may use its user's devices.
    pub(crate) fn connect_with_devices(&self, uid: &str) -> Desk {
        let mut caller = caller(uid, &self.lobby);
        caller.principal.devices = true;
        self.connect_as(caller)
    }

    fn connect_as(&self, caller: Caller) -> Desk {
        let (to_server, inputs) = mpsc::channel(8);
        let (to_client, from_server) = mpsc::channel(OUTBOUND_QUEUE);
        let (ended, end) = oneshot::channel();
        let inputs = Box::pin(ReceiverStream::new(inputs));
        let connection = self.lobby.connection(caller, inputs, to_client, ended);
        self.lobby.open(connection);
        Desk {
            to_server: Some(to_server),
            from_server,
            task: JoinSet::new(),
            stop: self.stop.clone(),
            pending: Pending::default(),
            metrics: self.metrics.clone(),
            views: self.views.clone(),
            ended: Some(end),
        }
    }

    /// The jobs of this server.
    pub(crate) fn jobs(&self) -> Jobs {
        let (tools, stop) = (self.tools.clone(), self.stop.clone());
        Jobs::new(jobs::Options::default(), tools, stop, self.running.clone())
    }

    /// All sessions end, and nothing of them is left.
    pub(crate) async fn empty(self) {
        self.running.close();
        timeout(PATIENCE, self.running.wait())
            .await
            .expect("all sessions end");
        assert_eq!(self.lobby.known(), (0, 0));
        let page = self.metrics.render();
        for gauge in ["sessions", "sessions_away", "frames_in_flight"] {
            let line = format!("\nproactive_{gauge} 0\n");
            assert!(page.contains(&line), "{gauge}");
        }
    }
}

/// A frame whose text is its id.
pub(crate) fn frame(id: &str) -> Frame {
    Frame {
        id: FrameId::new(id),
        named: true,
        image: None,
        app: "Mail".into(),
        window: "Inbox".into(),
        ocr: ScreenText(format!("<{id}>")),
        captured_at: None,
        utc_offset: None,
        device: None,
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
