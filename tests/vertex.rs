//! Vertex AI: the address, the access tokens, and what happens when they cannot be
//! had or are refused. Google's token endpoints and the model are faked on loopback.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/mod.rs"]
mod support;

use std::path::Path;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::{Json, Router};
use futures::future::join_all;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use proactive::app::http_client;
use proactive::config::Settings;
use proactive::domain::Uid;
use proactive::gemini::{
    Ask, Brief, Client, Conversation, Error, Model, Pool, Spent, TextPart, Turn,
};
use proactive::stand_in::{Move, Recorded};
use proactive::telemetry::Metrics;
use proactive::transport::proto::server_event::Event;
use proactive::transport::proto::{OutcomeKind, ServerError};
use proactive::world::World;
use serde_json::{Value, json};
use support::google::{FakeGoogle, LIFETIME, PROJECT, account_file, on_vertex};
use support::tools::{passed, python_with, script};
use support::{App, Desk, MODEL, PATIENCE, TestApp};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, advance, pause, resume, timeout};

/// A service on Vertex AI whose tokens come from this metadata server.
fn on_machine(google: &FakeGoogle, location: &'static str) -> TestApp {
    let host = google.host.clone();
    TestApp::new().with(move |set| {
        on_vertex(set, location);
        set.gce_metadata_host = Some(host);
    })
}

/// A service on Vertex AI with this credentials file.
fn with_file(path: &Path) -> TestApp {
    let path = path.to_str().unwrap().to_owned();
    TestApp::new().with(move |set| {
        on_vertex(set, "europe-west4");
        set.google_application_credentials = Some(path);
    })
}

fn nothing() -> Move {
    Move::call("no_task_found", json!({}))
}

/// One frame from beginning to end.
async fn frame(app: &App) -> Event {
    let mut desk = app.greeted().await;
    desk.frame("f", "x").await;
    desk.event().await
}

async fn answered(app: &App) {
    let event = frame(app).await;
    let Event::AnalysisOutcome(outcome) = event else {
        panic!("{event:?}");
    };
    assert_eq!(outcome.outcome_kind(), OutcomeKind::NoTaskFound);
}

async fn failed(app: &App) -> ServerError {
    match frame(app).await {
        Event::ServerError(error) => error,
        other => panic!("{other:?}"),
    }
}

fn token(request: &Recorded) -> &str {
    request.headers["authorization"].to_str().unwrap()
}

fn tokens(app: &App) -> Vec<String> {
    let recorded = app.model.recorded();
    recorded.iter().map(|sent| token(sent).to_owned()).collect()
}

#[tokio::test]
async fn a_call_goes_to_the_projects_path_of_each_kind_of_location_with_a_token_and_no_key() {
    let google = FakeGoogle::start().await;
    for location in ["europe-west4", "global", "us", "eu"] {
        let app = on_machine(&google, location)
            .with(|set| set.gemini_api_key = Some("AIza-not-used".into()))
            .start()
            .await;
        app.script([nothing()]);
        answered(&app).await;
        let sent = app.model.recorded().pop().unwrap();
        assert_eq!(
            sent.path,
            format!(
                "/v1beta1/projects/{PROJECT}/locations/{location}/publishers/google/models/{MODEL}:generateContent"
            )
        );
        assert!(token(&sent).starts_with("Bearer token-"));
        assert!(!sent.headers.contains_key("x-goog-api-key"));
        assert_eq!(sent.headers["content-type"], "application/json");
        let seconds: u64 = sent.headers["x-server-timeout"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((29..=30).contains(&seconds));
    }
}

#[tokio::test]
async fn hosts_and_paths_are_those_of_googles_own_client() {
    let Some(python) = python_with("google.genai") else {
        return;
    };
    let locations = ["europe-west4", "global", "us", "eu"];
    let asked = script(&python, "vertex_url.py")
        .args([PROJECT, MODEL])
        .args(locations)
        .output()
        .unwrap();
    let told = passed(&asked);
    let theirs: Vec<_> = told.lines().collect();
    let ours = locations.map(|location| {
        let mut settings = Settings::defaults().embedded();
        on_vertex(&mut settings, location);
        settings.gce_metadata_host = Some("127.0.0.1:1".into());
        settings.check().unwrap().gemini.url()
    });
    assert_eq!(ours[..], theirs);
}

#[tokio::test]
async fn one_fetch_serves_all_frames_that_wait_for_it_and_all_that_follow() {
    const DESKS: usize = 4;
    let google = FakeGoogle::start().await;
    google.holds(true);
    let app = on_machine(&google, "europe-west4").start().await;
    let mut desks = Vec::new();
    for _ in 0..DESKS {
        let desk = app.greeted().await;
        desk.frame("1", "fn main() {}").await;
        desks.push(desk);
    }
    app.metric_becomes(&format!("proactive_frames_in_flight {DESKS}"))
        .await;
    google.fetched(1).await;
    assert_eq!(app.model.recorded().len(), 0, "no call without a token");
    google.holds(false);
    let both = async |desk: &mut Desk| {
        desk.outcome().await;
        desk.frame("2", "fn main() {}").await;
        desk.outcome().await;
    };
    join_all(desks.iter_mut().map(both)).await;
    assert_eq!(tokens(&app), vec!["Bearer token-1"; 2 * DESKS]);
    assert_eq!(google.fetches(), 1);
}

#[tokio::test]
async fn a_refused_token_is_replaced_by_one_fetch_and_every_call_is_made_again() {
    const DESKS: usize = 4;
    let google = FakeGoogle::start().await;
    let app = on_machine(&google, "europe-west4")
        .model(|model| model.api_key = Some("token-2".into()))
        .start()
        .await;
    let frames = (0..DESKS).map(|_| answered(&app));
    join_all(frames).await;
    assert_eq!(google.fetches(), 2);
    let tokens = tokens(&app);
    let with = |token: &str| tokens.iter().filter(|sent| *sent == token).count();
    assert_eq!(with("Bearer token-2"), DESKS);
    assert_eq!(with("Bearer token-1") + DESKS, tokens.len());
}

#[tokio::test]
async fn a_token_refused_again_is_told_as_a_bad_key_is_and_not_fetched_without_end() {
    let google = FakeGoogle::start().await;
    let app = on_machine(&google, "europe-west4")
        .model(|model| model.api_key = Some("no-token-of-this-server".into()))
        .start()
        .await;
    let error = failed(&app).await;
    let told = (error.code.as_str(), error.retryable);
    assert_eq!(told, ("GEMINI_ERROR", false));
    assert!(error.message.contains("(HTTP 401)"), "{}", error.message);
    assert_eq!(tokens(&app), ["Bearer token-1", "Bearer token-2"]);
    failed(&app).await;
    assert_eq!(
        app.model.recorded().len(),
        3,
        "it is too new to be replaced"
    );
    assert_eq!(google.fetches(), 2);
}

#[tokio::test]
async fn a_token_endpoint_that_is_down_is_told_as_retryable_and_asked_again_later() {
    let google = FakeGoogle::start().await;
    google.fails(503, "nobody-may-see");
    let app = on_machine(&google, "europe-west4")
        .with(|set| {
            // Little time for another try.
            set.model_timeout = "1s".into();
            set.tool_timeout = "100ms".into();
            set.frame_timeout = "1200ms".into();
        })
        .start()
        .await;
    let error = failed(&app).await;
    let told = (error.code.as_str(), error.retryable);
    assert_eq!(told, ("GEMINI_ERROR", true));
    assert_eq!(
        error.message,
        "The server got no access to the model; try again later."
    );
    assert_eq!(app.model.recorded().len(), 0);
    assert!(app.metrics().contains("code=\"no_token\""));
    google.works();
    jump(Duration::from_secs(11)).await;
    google.fetched(2).await;
    let recovered = async { while !matches!(frame(&app).await, Event::AnalysisOutcome(_)) {} };
    timeout(PATIENCE, recovered).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_given_no_token_is_told_as_final_until_it_is_given_one() {
    let google = FakeGoogle::start().await;
    google.fails(404, "nobody-may-see");
    let app = on_machine(&google, "europe-west4").start().await;
    let error = failed(&app).await;
    let told = (error.code.as_str(), error.retryable);
    assert_eq!(told, ("GEMINI_ERROR", false));
    assert!(error.message.contains("operator"), "{}", error.message);
    assert!(!error.message.contains("nobody-may-see"));
    google.works();
    answered(&app).await;
    assert_eq!(google.fetches(), 2);
}

#[tokio::test]
async fn a_users_file_is_exchanged_at_its_token_endpoint_and_names_who_pays() {
    let google = FakeGoogle::start().await;
    let file = google.user_file();
    let app = with_file(file.path()).start().await;
    answered(&app).await;
    answered(&app).await;
    assert_eq!(tokens(&app), ["Bearer token-1", "Bearer token-1"]);
    let sent = app.model.recorded().pop().unwrap();
    assert_eq!(sent.headers["x-goog-user-project"], "paying-project");
    assert_eq!(google.fetches(), 1);
}

/// Google's library signs these tokens itself (<https://google.aip.dev/auth/4111>).
#[tokio::test]
async fn a_service_accounts_tokens_are_signed_with_its_key_and_used_again() {
    let (file, key) = account_file();
    let app = with_file(file.path()).start().await;
    answered(&app).await;
    answered(&app).await;
    let tokens = tokens(&app);
    assert_eq!(tokens[0], tokens[1]);
    let token = tokens[0].strip_prefix("Bearer ").unwrap();
    assert_eq!(
        decode_header(token).unwrap().kid.as_deref(),
        Some("key-of-a-test")
    );
    let key = DecodingKey::from_rsa_pem(key.public_key_pem().as_bytes()).unwrap();
    let mut rules = Validation::new(Algorithm::RS256);
    rules.validate_aud = false;
    let claims = decode::<Value>(token, &key, &rules).unwrap().claims;
    assert_eq!(
        claims["iss"],
        "server@vertex-project.iam.gserviceaccount.com"
    );
    assert_eq!(claims["sub"], claims["iss"]);
    assert_eq!(
        claims["scope"],
        "https://www.googleapis.com/auth/cloud-platform"
    );
}

/// Lets this much time pass at once.
async fn jump(time: Duration) {
    pause();
    advance(time).await;
    resume();
}

/// The client alone: what holds connections to desktops open would notice a jump
/// of an hour.
async fn ask(client: &Client) -> Result<Turn, Error> {
    let conversation =
        Conversation::new(&Brief::new("x", &json!([])), &TextPart::new("a"), None, "b");
    let ask = Ask {
        user: &Uid::new("somebody"),
        conversation: &conversation,
        allowed: None,
        deadline: Instant::now() + PATIENCE,
    };
    client.generate(ask, &mut Spent::default()).await
}

#[tokio::test]
async fn a_token_is_renewed_minutes_before_it_expires_without_a_call_that_waits() {
    let google = FakeGoogle::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = Settings::defaults().embedded();
    on_vertex(&mut settings, "europe-west4");
    settings.gce_metadata_host = Some(google.host.clone());
    settings.google_vertex_base_url = Some(format!("http://{}", listener.local_addr().unwrap()));
    // It sends back which token it got.
    let model = Router::new().fallback(async |headers: HeaderMap| {
        let token = headers["authorization"].to_str().unwrap().to_owned();
        let call = json!({"functionCall": {"name": "no_task_found", "args": {"token": token}}});
        Json(json!({"candidates": [{"finishReason": "STOP", "content": {"parts": [call]}}]}))
    });
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, model).await.unwrap() });
    let options = settings.check().unwrap().gemini;
    let pool = Pool::new(|| http_client(&options.base_url)).unwrap();
    let client = Client::new(options, pool, World::real(), Metrics::new());
    let asked_with = async || {
        let turn = ask(&client).await.unwrap();
        turn.calls[0].args["token"].as_str().unwrap().to_owned()
    };
    assert_eq!(asked_with().await, "Bearer token-1");
    jump(Duration::from_secs(LIFETIME - 300)).await;
    assert_eq!(asked_with().await, "Bearer token-1");
    assert_eq!(google.fetches(), 1);
    google.holds(true);
    jump(Duration::from_secs(70)).await;
    google.fetched(2).await;
    assert_eq!(asked_with().await, "Bearer token-1", "it is still good");
    google.holds(false);
    let renewed = async { while asked_with().await != "Bearer token-2" {} };
    timeout(PATIENCE, renewed).await.unwrap();
    assert_eq!(google.fetches(), 2);
}
