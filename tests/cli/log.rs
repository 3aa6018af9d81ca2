//! What the log of a whole session shows, however much is logged, and what it
//! never does.

use axum::Router;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proactive::auth::local::LocalIssuer;
use proactive::stand_in::{KEY_ECHO, Move, Options, StandIn};
use proactive::transport::proto::client_event::Event as Said;
use proactive::transport::proto::server_event::Event;
use proactive::transport::proto::{
    ActiveTask, CancelFrame, ClientHello, OutcomeKind, SearchResult, SessionContext, ToolResult,
};
use proactive::world::World;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::serve::Server;
use crate::support::websocket::bare_request;
use crate::support::{Desk, Door, connect, frame};

const KEY: &str = "AIzaSyKeyThatNobodyMaySee0123456789abcd";
const UID: &str = "uid12345rest-of-the-uid";
const SCREEN: &str =
    "Hi, can you send the Wolkenkuckucksheim office the signed Mietvertrag before Tuesday?";
const JPEG: &[u8] = include_bytes!("../../examples/frames/new-request.jpg");

/// The outside of the server: keys, model. In this process, so that they can
/// misbehave.
pub(crate) struct Outside {
    issuer: LocalIssuer,
    pub(crate) model: StandIn,
    keys_url: String,
    base_url: String,
    _servers: JoinSet<()>,
}

impl Outside {
    /// What a server is told of it.
    pub(crate) fn environment(&self) -> [(&str, &str); 3] {
        [
            ("GOOGLE_API_KEY", KEY),
            ("GOOGLE_GEMINI_BASE_URL", &self.base_url),
            ("FIREBASE_KEYS_URL", &self.keys_url),
        ]
    }

    pub(crate) fn token(&self, uid: &str) -> String {
        let life = Duration::from_secs(600);
        self.issuer.mint(uid, life, Some("pro"))
    }
}

pub(crate) async fn outside() -> Outside {
    let issuer = LocalIssuer::new("demo-test", World::real());
    let options = Options {
        api_key: Some(KEY.into()),
        ..Options::default()
    };
    let model = StandIn::new(options, World::real());
    let mut servers = JoinSet::new();
    let listeners = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (keys, listener) = (listeners().await, listeners().await);
    let (keys_url, base_url) = (
        format!("http://{}/keys", keys.local_addr().unwrap()),
        format!("http://{}", listener.local_addr().unwrap()),
    );
    let document = issuer.jwks();
    let page = Router::new().route("/keys", get(async move || document));
    servers.spawn(async move { axum::serve(keys, page).await.unwrap() });
    let serving = model.clone().serve(listener, CancellationToken::new());
    servers.spawn(async move { serving.await.unwrap() });
    Outside {
        issuer,
        model,
        keys_url,
        base_url,
        _servers: servers,
    }
}

/// A stream at this door; a WebSocket as a browser opens it.
async fn open(server: &Server, door: Door, token: &str) -> Result<Desk, Status> {
    match door {
        Door::Grpc => Desk::open(connect(&format!("http://{}", server.grpc)).await, token).await,
        Door::WebSocket => {
            let mut request = bare_request(server.http.parse().unwrap());
            let offer = format!("proactive.v1, bearer.{token}").parse().unwrap();
            request
                .headers_mut()
                .insert("sec-websocket-protocol", offer);
            Desk::over(request).await
        }
    }
}

/// One of everything: a refused stream, a search, a failed search, a frame
/// that is extracted, one that is cancelled, faults of the model that echo what
/// they were sent, a bad frame, a bad event.
async fn a_whole_session(outside: &Outside, server: &Server, door: Door, token: &str) {
    for bad in [format!("{token}x"), "an-API-key-as-a-token".into()] {
        assert!(open(server, door, &bad).await.is_err());
    }
    let mut desk = open(server, door, token).await.unwrap();
    let context = SessionContext {
        active_tasks: vec![ActiveTask {
            description: "Visit Tante Frieda".into(),
            ..ActiveTask::default()
        }],
        ..SessionContext::default()
    };
    desk.say(Said::ClientHello(ClientHello {
        protocol_version: "1.1".into(),
        context_version: "v1".into(),
        session_context: Some(context),
        ..ClientHello::default()
    }))
    .await;
    desk.ready().await;
    let mut screen = frame("shot", SCREEN);
    screen.window_title = "Flaschenpost".into();
    screen.jpeg_bytes = JPEG.to_vec().into();
    desk.say(Said::FrameEvent(screen)).await;
    let outcome = loop {
        match desk.event().await {
            Event::ToolCallRequest(request) => {
                let hit = SearchResult {
                    description: "Water Frieda's plants".into(),
                    ..SearchResult::default()
                };
                desk.answer(&request, vec![hit]).await;
            }
            Event::AnalysisOutcome(outcome) => break outcome,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(outcome.outcome_kind(), OutcomeKind::ExtractTask);
    let title = outcome.task.unwrap().title;
    assert!(title.contains("Mietvertrag"), "{title}");

    outside.model.script([
        // Refused, with everything the request said in the sentence.
        Move::status(400).message(&format!("{KEY_ECHO} {SCREEN}")),
        // Malformed, then a search that fails, then an unknown function.
        Move::raw(200, format!("{{ {SCREEN}")),
        Move::call("search_similar", json!({"query": "Mietvertrag"})),
        Move::call("Wolkenkuckucksheim", json!({"query": "Mietvertrag"})),
    ]);
    desk.frame("refused", SCREEN).await;
    assert_eq!(desk.error().await.code, "GEMINI_ERROR");
    desk.frame("malformed", SCREEN).await;
    loop {
        match desk.event().await {
            Event::ToolCallRequest(request) => {
                desk.say(Said::ToolResult(ToolResult {
                    request_id: request.request_id,
                    error: "Frieda's disk is full".into(),
                    ..ToolResult::default()
                }))
                .await;
            }
            Event::AnalysisOutcome(_) | Event::ServerError(_) => break,
            other => panic!("{other:?}"),
        }
    }
    outside.model.script([Move::text(SCREEN)]);
    desk.frame("texted", SCREEN).await;
    assert_eq!(desk.outcome().await.reason, "The model called no function.");
    outside.model.script([Move::hang()]);
    desk.frame("cancelled", SCREEN).await;
    // Else the move is left to the next session's first frame.
    let mut traffic = outside.model.traffic();
    traffic.wait_for(|traffic| traffic.open == 1).await.unwrap();
    desk.say(Said::CancelFrame(CancelFrame {
        frame_id: "cancelled".into(),
    }))
    .await;
    assert_eq!(desk.error().await.code, "CANCELLED");
    let mut bad = frame("bad", SCREEN);
    bad.jpeg_bytes = SCREEN.as_bytes().into();
    desk.say(Said::FrameEvent(bad)).await;
    assert_eq!(desk.error().await.code, "INVALID_FRAME");
    desk.say(Said::ToolResult(ToolResult {
        request_id: "nobody's".into(),
        error: "Frieda".into(),
        ..ToolResult::default()
    }))
    .await;
    desk.say_nothing().await;
    assert_eq!(desk.error().await.code, "INVALID_EVENT");
    desk.close().await;
    while let Ok(Some(_)) = desk.next().await {}
}

pub(crate) async fn log_of_a_whole_session(filter: &str, format: &str) -> String {
    let (log, token) =
        a_whole_session_logged(&[("RUST_LOG", filter), ("LOG_FORMAT", format)]).await;
    assert!(log.contains("uid12345"), "the first 8 characters are shown");
    shows_nothing_secret_or_personal(&log, &token);
    log
}

/// The log, and the token of the session.
pub(crate) async fn a_whole_session_logged(environment: &[(&str, &str)]) -> (String, String) {
    let outside = outside().await;
    let token = outside.token(UID);
    let secrets = [
        ("GEMINI_API_KEY", "the-key-that-loses"),
        ("SERVICE_ACCOUNT_JSON", r#"{"private_key": "MIIE-private"}"#),
    ];
    let environment = [&outside.environment()[..], &secrets, environment].concat();
    let server = Server::start(&environment);
    for door in [Door::Grpc, Door::WebSocket] {
        a_whole_session(&outside, &server, door, &token).await;
    }
    server.process.signal("TERM");
    let ended = server.process.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    (ended.stderr, token)
}

/// What of that session must be nowhere.
pub(crate) fn shows_nothing_secret_or_personal(text: &str, token: &str) {
    let parts: Vec<&str> = token.split('.').collect();
    let picture = STANDARD.encode(JPEG);
    let mut never = vec![
        KEY,
        "the-key-that-loses",
        "MIIE-private",
        "uid12345r",
        "rest-of-the-uid",
        "an-API-key-as-a-token",
        "Bearer",
        "Wolkenkuckucksheim",
        "Mietvertrag",
        "Frieda",
        "Flaschenpost",
        &picture[..24],
        &picture[40_000..40_024],
    ];
    never.extend(parts);
    for secret in never {
        let line = text.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}

fn is_json(log: &str) -> bool {
    log.lines()
        .all(|line| serde_json::from_str::<Value>(line).is_ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn a24_a_log_of_everything_of_ours_shows_nothing_secret_or_personal() {
    let log = log_of_a_whole_session("info,proactive=trace", "text").await;
    assert!(!is_json(&log));
    let log = log_of_a_whole_session("info,proactive=trace", "json").await;
    assert!(is_json(&log), "one JSON object a line");
}

#[tokio::test(flavor = "multi_thread")]
async fn a24_not_even_a_log_of_everything_of_every_library_does() {
    for format in ["text", "json"] {
        let log = log_of_a_whole_session("trace", format).await;
        assert!(log.contains("TRACE"));
        assert_eq!(is_json(&log), format == "json");
    }
}
