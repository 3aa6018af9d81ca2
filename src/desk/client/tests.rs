//! A desktop that stays, against servers that do not.

mod connecting;
mod frames;
mod leaving;
mod resuming;
mod shared_store;
mod takeover;
mod watching;

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tonic::Status;

use super::*;
use crate::desk::fake::{InMemory, Peer, Script, boxed, outcome};
use crate::desk::shots::{Given, Shots};
use crate::desk::tasks::TaskFile;
use crate::desk::{Patience, TokenSource, backoff};
use crate::transport::proto::server_event::Event;
use crate::transport::proto::{
    AnalysisOutcome, ExtractedTask, FrameEvent, GoAway, OutcomeKind, Resume, Resumed, ServerError,
    SessionReady, ToolCallArguments, ToolCallRequest, ToolKind, client_event,
};

/// No desktop here has so much to do.
const LONGEST: Duration = Duration::from_secs(3_600);

fn client<D>(dial: D, texts: &[&str], tokens: TokenSource) -> Client<D> {
    let given = |text: &&str| Given {
        picture: None,
        text: Some((*text).to_owned()),
    };
    // A command takes real time, so that none can be paused.
    let backoff = match tokens {
        TokenSource::Command(_) => {
            Backoff::new(Duration::from_millis(2), Duration::from_millis(32))
        }
        TokenSource::Fixed(_) => backoff::usual(),
    };
    let world = World::fixed(Timestamp::UNIX_EPOCH, 1);
    let shots = Shots::given(texts.iter().map(given).collect());
    Client {
        door: Rc::new(Door {
            dial,
            tokens,
            patience: Patience::default(),
        }),
        store: Store::load(TaskFile::default()).unwrap(),
        frames: Frames::new(shots, Place::default(), world.clone()),
        about: About::default(),
        world,
        backoff,
        refusals: 0,
        tokenless: 0,
        session: None,
    }
}

fn fixed() -> TokenSource {
    TokenSource::Fixed("right".into())
}

/// Runs a desktop with these frames against the server until it ends.
async fn played(
    scripts: impl IntoIterator<Item = Script>,
    texts: &[&str],
    tokens: TokenSource,
) -> (Vec<Step>, Store, Result<(), Error>) {
    let server = InMemory::serve(scripts);
    let mut client = client(async || Ok(server.dial().await), texts, tokens);
    let mut steps = Vec::new();
    let running = client.run(|step| steps.push(step));
    let ended = tokio::time::timeout(LONGEST, running).await.unwrap();
    let store = client.store;
    server.finish().await;
    (steps, store, ended)
}

async fn decide(peer: &Peer, frame: &FrameEvent) {
    let decision = outcome(&frame.screenshot_id, OutcomeKind::NoTaskFound);
    peer.say(Event::AnalysisOutcome(decision)).await;
}

async fn extract(peer: &Peer, frame: &FrameEvent) {
    let task = ExtractedTask {
        title: "Countersign the lease for the Porto venue".into(),
        ..ExtractedTask::default()
    };
    let extracted = AnalysisOutcome {
        task: Some(task),
        ..outcome(&frame.screenshot_id, OutcomeKind::ExtractTask)
    };
    peer.say(Event::AnalysisOutcome(extracted)).await;
}

/// Says a decision under its number.
async fn answer(peer: &Peer, frame_id: &str, answer_number: i64) {
    peer.say(Event::AnalysisOutcome(AnalysisOutcome {
        answer_number,
        ..outcome(frame_id, OutcomeKind::NoTaskFound)
    }))
    .await;
}

/// What a server knows of a session that was taken up.
fn knows(in_flight: &[&String], answered: &[&String]) -> Option<Resumed> {
    let ids = |ids: &[&String]| ids.iter().map(|id| id.to_string()).collect();
    Some(Resumed {
        frames_in_flight: ids(in_flight),
        frames_answered: ids(answered),
    })
}

fn search(request_id: &str, frame_id: &str) -> Event {
    Event::ToolCallRequest(ToolCallRequest {
        request_id: request_id.into(),
        tool_kind: ToolKind::SearchKeywords as i32,
        arguments: Some(ToolCallArguments { query: "Bo".into() }),
        deadline_ms: 10_000,
        frame_id: frame_id.into(),
        ..ToolCallRequest::default()
    })
}

async fn fail_frame(peer: &Peer, frame: &FrameEvent, code: &str, retryable: bool) {
    let error = ServerError {
        code: code.into(),
        retryable,
        frame_id: frame.screenshot_id.clone(),
        ..ServerError::default()
    };
    peer.say(Event::ServerError(error)).await;
}

async fn end(peer: &Peer, status: Status) {
    peer.answers.send(Err(status)).await.unwrap();
}

async fn until_closed(peer: &mut Peer) {
    while let Ok(Some(_)) = peer.events.message().await {}
}

/// Decides on everything.
fn obliging() -> Script {
    boxed(|mut peer| async move {
        peer.ready(0).await;
        while let Ok(Some(event)) = peer.events.message().await {
            if let Some(client_event::Event::FrameEvent(frame)) = event.event {
                decide(&peer, &frame).await;
            }
        }
    })
}

fn failure(step: &Step) -> Option<&ServerError> {
    match step {
        Step::Failed(error) => Some(error),
        _ => None,
    }
}

fn named(steps: &[Step]) -> String {
    let name = |step: &Step| match step {
        Step::Ready(_) => "ready",
        Step::FrameSent { .. } => "sent",
        Step::Decided { .. } => "decided",
        Step::Failed(_) => "failed",
        Step::Postponed { .. } => "postponed",
        Step::Skipped { .. } => "skipped",
        Step::Lost { .. } => "lost",
        Step::StoreHeld => "store-held",
        Step::GoingAway(_) => "going-away",
        Step::Complaint(_) => "complaint",
        _ => "other",
    };
    steps.iter().map(name).collect::<Vec<_>>().join(" ")
}
