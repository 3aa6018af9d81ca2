//! What becomes of a screen: a real server reads it, a stand-in for the model
//! obeys it, and everything that was said to either side is kept.

use std::sync::LazyLock;

use proactive::stand_in::Move;
use proactive::transport::proto::client_event::Event as Said;
use proactive::transport::proto::server_event::Event;
use proactive::transport::proto::{AnalysisOutcome, ClientHello, ToolResult};
use proactive::world::World;
use serde_json::{Value, json};

use super::corpus::{Screen, screens};
use super::support::{App, TestApp};

/// One screen, and what everybody was told.
pub(crate) struct Shown {
    pub(crate) screen: Screen,
    /// The bodies that the model was sent.
    pub(crate) bodies: Vec<Value>,
    /// The bytes of the largest.
    pub(crate) largest: usize,
    /// What the desktop was asked to search for.
    pub(crate) query: Option<String>,
    pub(crate) outcome: AnalysisOutcome,
}

impl Shown {
    /// What the prompt says of the user.
    pub(crate) fn about_user(&self) -> &str {
        self.bodies[0]["contents"][0]["parts"][0]["text"]
            .as_str()
            .unwrap()
    }

    /// What the prompt says of the frame.
    pub(crate) fn about_frame(&self) -> &str {
        self.bodies[0]["contents"][0]["parts"][1]["text"]
            .as_str()
            .unwrap()
    }

    /// How the model's search was answered.
    pub(crate) fn response(&self) -> &Value {
        &self.bodies[1]["contents"][2]["parts"][0]["functionResponse"]["response"]
    }
}

/// All screens, played once for all tests.
pub(crate) static SHOWN: LazyLock<Vec<Shown>> = LazyLock::new(|| {
    let play = async {
        // Prompts say which day it is.
        let world = World::fixed("2026-11-21T10:00:00Z".parse().unwrap(), 1);
        let app = TestApp::new().world(world).start().await;
        let mut shown = Vec::new();
        for screen in screens() {
            shown.push(play(&app, screen).await);
        }
        app.service.stop().await;
        shown
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(play)
});

async fn play(app: &App, screen: Screen) -> Shown {
    let asked_before = app.model.traffic().borrow().arrived;
    let search = json!({ "query": screen.query() });
    let decide = match &screen.decision {
        Some(decision) => Move::call(&decision.name, decision.args()),
        None => Move::call("no_task_found", json!({})),
    };
    app.script([Move::call("search_similar", search), decide]);
    let mut desk = app.desk().await;
    desk.say(Said::ClientHello(ClientHello {
        context_version: "v1".to_owned(),
        session_context: Some(screen.context()),
        ..ClientHello::default()
    }))
    .await;
    desk.ready().await;
    desk.say(Said::FrameEvent(screen.frame())).await;
    let mut query = None;
    let outcome = loop {
        match desk.event().await {
            Event::ToolCallRequest(request) => {
                match &screen.failed {
                    None => desk.answer(&request, screen.found()).await,
                    Some(why) => {
                        desk.say(Said::ToolResult(ToolResult {
                            request_id: request.request_id.clone(),
                            error: why.whole(),
                            ..ToolResult::default()
                        }))
                        .await;
                    }
                }
                query = Some(request.arguments.unwrap().query);
            }
            Event::AnalysisOutcome(outcome) => break outcome,
            other => panic!("{}: {other:?}", screen.name),
        }
    };
    let asked = app.model.traffic().borrow().arrived - asked_before;
    let mut bodies = app.model.recorded();
    // The stand-in forgets the oldest.
    let bodies = bodies.split_off(bodies.len() - asked as usize);
    let largest = bodies.iter().map(|it| it.body.len()).max().unwrap();
    let parsed = |body: &[u8]| serde_json::from_slice(body).expect("a body is JSON");
    Shown {
        screen,
        bodies: bodies.iter().map(|it| parsed(&it.body)).collect(),
        largest,
        query,
        outcome,
    }
}
