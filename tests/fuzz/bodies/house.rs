//! A session core with a scripted model, on a paused clock.

#[path = "../../support/caller.rs"]
mod caller;
#[path = "../../support/log.rs"]
mod log;

use std::cell::{OnceCell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream::BoxStream;
use proactive::analysis::{self, Analyst};
use proactive::domain::{Decision, FrameFaultCode};
use proactive::gemini::{Call, Error, Scripted, Turn, View};
use proactive::session::{
    Input, Limits, Lobby, OUTBOUND_QUEUE, Options, Quota, ServerMessage, Session, Stop, Tools,
};
use proactive::telemetry::{Metrics, SessionEnd};
use proactive::tools::Router;
use proactive::world::World;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::task::TaskTracker;

thread_local! {
    static HOUSE: OnceCell<House> = const { OnceCell::new() };
    /// What the model says next.
    static SAYS: RefCell<VecDeque<Result<Turn, Error>>> = const { RefCell::new(VecDeque::new()) };
}

/// What all sessions of a thread share, for it takes a while to make.
struct House {
    runtime: Runtime,
    analyst: Analyst,
    metrics: Metrics,
}

impl House {
    fn new() -> Self {
        let metrics = Metrics::new();
        let model = Arc::new(Scripted::new(|view| async move { answer(&view) }));
        let options = analysis::Options::default();
        Self {
            runtime: Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime without I/O needs nothing"),
            analyst: Analyst::new(options, model, world(), metrics.clone()),
            metrics,
        }
    }
}

/// The same for every input, so that an input always does the same.
pub(crate) fn world() -> World {
    World::fixed(caller::now(), 1)
}

/// What was prepared, then a decision; whatever was said before, the
/// conversation is JSON.
fn answer(view: &View) -> Result<Turn, Error> {
    // What stands before it is always the same.
    let (_, said) = view
        .text
        .split_once(r#""contents":"#)
        .expect("it has contents");
    let said: Vec<IgnoredAny> = serde_json::from_str(&format!("{said}]")).expect("a list");
    assert_eq!(said.len(), 1 + 2 * view.turns, "each turn has its answer");
    let next = SAYS.with_borrow_mut(VecDeque::pop_front);
    next.unwrap_or_else(|| Ok(Turn::of_calls(vec![call("no_task_found", json!({}))])))
}

/// A call without an id.
pub(crate) fn call(name: &str, args: Value) -> Call {
    let args = args.as_object().cloned().unwrap_or_default();
    let (id, name) = (None, name.to_owned());
    Call { id, name, args }
}

/// Plays a session: what its client says, and what the model says, in order.
/// Returns what the client was told, when the session has ended.
pub(crate) fn play(
    says: Vec<Result<Turn, Error>>,
    desk: impl FnOnce(Told) -> BoxStream<'static, Input>,
) -> (SessionEnd, Vec<ServerMessage>) {
    HOUSE.with(|house| {
        let house = house.get_or_init(House::new);
        SAYS.set(says.into());
        let played = house.runtime.block_on(session(house, desk));
        let page = house.metrics.render();
        for gauge in ["proactive_sessions", "proactive_frames_in_flight"] {
            assert!(page.contains(&format!("\n{gauge} 0\n")), "{gauge} is left");
        }
        played
    })
}

/// What a client has been told so far, for one that answers.
pub(crate) type Told = UnboundedReceiverStream<ServerMessage>;

async fn session(
    house: &House,
    desk: impl FnOnce(Told) -> BoxStream<'static, Input>,
) -> (SessionEnd, Vec<ServerMessage>) {
    let world = world();
    let tools = Tools {
        analyst: house.analyst.clone(),
        world: world.clone(),
        quota: Quota::new(Limits::default(), world.clone(), house.metrics.clone()),
        log: log::empty_log(&house.metrics),
        router: Router::default(),
        metrics: house.metrics.clone(),
    };
    let (to_client, mut from_server) = mpsc::channel(OUTBOUND_QUEUE);
    let (tell, told) = mpsc::unbounded_channel();
    let lobby = Lobby::new(
        Options::default(),
        tools,
        Stop::default(),
        TaskTracker::new(),
    );
    let caller = caller::caller("somebody", &lobby);
    let session = Session::new(&caller, &lobby);
    let (ended, _) = oneshot::channel();
    let connection = lobby.connection(caller, desk(told.into()), to_client, ended);
    let pending = session.pending();
    let mut all = Vec::new();
    let listening = async {
        while let Some(message) = from_server.recv().await {
            judge(&message);
            all.push((*message).clone());
            let _ = tell.send(*message);
        }
        // Whoever waits for more need not.
        drop(tell);
    };
    let (end, ()) = tokio::join!(session.run(connection, None), listening);
    assert!(pending.is_empty(), "a search is left behind");
    (end, all)
}

/// What must be true of anything that a client is told.
fn judge(message: &ServerMessage) {
    let hidden = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
    let visible = |text: &str, most: usize| {
        assert!(text.chars().count() <= most, "{most}: {text}");
        assert!(!text.contains(hidden), "{text:?}");
    };
    match message {
        ServerMessage::ToolCall(search) => {
            visible(search.query(), 512);
            assert_eq!(search.query().trim(), search.query());
            assert!(!search.query().is_empty());
        }
        ServerMessage::Answer(answer) => match &answer.result {
            Ok(outcome) => {
                visible(&outcome.context_summary, 2_000);
                visible(&outcome.current_activity, 2_000);
                match &outcome.decision {
                    Decision::Extract(task) => {
                        visible(&task.title, 200);
                        visible(&task.description.replace('\n', " "), 2_000);
                        visible(&task.source_app, 200);
                        assert!(task.score >= 1 && (0.0..=1.0).contains(&task.confidence));
                        assert!(task.tags.len() <= 10);
                        task.tags.iter().for_each(|tag| visible(tag, 50));
                    }
                    Decision::Reject { reason } => visible(reason, 2_000),
                    Decision::NoTask { reason } => visible(reason, 2_000),
                }
            }
            Err(fault) => {
                assert_ne!(fault.code, FrameFaultCode::Internal, "a frame crashed");
            }
        },
        ServerMessage::Ready(_)
        | ServerMessage::CancelToolCall { .. }
        | ServerMessage::Refused(_)
        | ServerMessage::Heartbeat(_)
        | ServerMessage::GoAway(_)
        | ServerMessage::Log(_) => {}
    }
}
