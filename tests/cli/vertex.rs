//! What the log of everything shows of a server on Vertex AI, and never does.

use proactive::stand_in::{KEY_ECHO, Move, Options, StandIn};
use proactive::transport::proto::server_event::Event;
use proactive::world::World;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::serve::{self, Server};
use crate::support::google::{CLIENT_SECRET, FakeGoogle, PROJECT, REFRESH_TOKEN, account_file};
use crate::support::{Desk, connect, unsigned_token};

/// A server that logs everything: one frame while no token can be had, if there is
/// an endpoint to fail; one whose token is refused, in words that repeat it; one
/// that is answered. Returns the log and the tokens that were used.
async fn log_and_tokens(
    google: Option<&FakeGoogle>,
    credentials: (&str, &str),
) -> (String, Vec<String>) {
    let model = StandIn::new(
        Options {
            record: true,
            ..Options::default()
        },
        World::real(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let mut serving = JoinSet::new();
    serving.spawn(model.clone().serve(listener, CancellationToken::new()));
    if let Some(google) = google {
        google.fails(403, "an-answer-that-nobody-may-see");
    }
    let server = Server::start(&[
        ("RUST_LOG", "trace"),
        ("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099"),
        ("GOOGLE_GENAI_USE_VERTEXAI", "true"),
        ("GOOGLE_CLOUD_PROJECT", PROJECT),
        ("GOOGLE_CLOUD_LOCATION", "europe-west4"),
        ("GOOGLE_VERTEX_BASE_URL", &base),
        credentials,
    ]);
    let channel = connect(&format!("http://{}", server.grpc)).await;
    let mut desk = Desk::open(channel, &unsigned_token(serve::PROJECT))
        .await
        .unwrap();
    desk.hello("1.1").await;
    desk.ready().await;
    if let Some(google) = google {
        desk.frame("1", "x").await;
        let error = desk.error().await;
        assert_eq!(
            (error.code.as_str(), error.retryable),
            ("GEMINI_ERROR", false)
        );
        google.works();
    }
    model.script([
        Move::status(401).message(&format!("bad token {KEY_ECHO}")),
        Move::call("no_task_found", json!({})),
    ]);
    desk.frame("2", "x").await;
    let event = desk.event().await;
    if google.is_some() {
        // That token was too new to be replaced.
        assert!(matches!(event, Event::ServerError(_)), "{event:?}");
        desk.frame("3", "x").await;
        desk.outcome().await;
    } else {
        assert!(matches!(event, Event::AnalysisOutcome(_)), "{event:?}");
    }
    server.process.signal("TERM");
    let ended = server.process.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let used = model.recorded().into_iter().map(|request| {
        let header = request.headers["authorization"].to_str().unwrap();
        header.strip_prefix("Bearer ").unwrap().to_owned()
    });
    (ended.stderr, used.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a24_a_log_of_everything_shows_no_access_token_and_nothing_it_was_made_of() {
    let google = FakeGoogle::start().await;
    let (user, (account, key)) = (google.user_file(), account_file());
    let pem = key.serialize_pem();
    let key_lines: Vec<&str> = pem.lines().filter(|line| line.len() > 40).collect();
    let path = |file: &tempfile::NamedTempFile| file.path().to_str().unwrap().to_owned();
    let variable = "GOOGLE_APPLICATION_CREDENTIALS";
    let cases = [
        (Some(&google), ("GCE_METADATA_HOST", google.host.clone())),
        (Some(&google), (variable, path(&user))),
        (None, (variable, path(&account))),
    ];
    for (google, (name, value)) in cases {
        let (log, used) = log_and_tokens(google, (name, &value)).await;
        assert_eq!(used.len(), 2, "{used:?}");
        assert!(log.contains("TRACE"));
        if google.is_some() {
            assert!(log.contains("no access token for Vertex AI can be had"));
            assert!(log.contains("status=403"), "it says what an operator needs");
        }
        let never = ["nobody-may-see", REFRESH_TOKEN, CLIENT_SECRET, "Bearer"];
        let used = used.iter().map(String::as_str);
        for secret in used.chain(never).chain(key_lines.iter().copied()) {
            let line = log.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret}");
        }
    }
}
