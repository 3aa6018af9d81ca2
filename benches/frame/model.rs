//! The model endpoint: two canned answers, told apart by whether the request's
//! end holds a functionResponse. The second one is a task; below [`NO_TASK`] it is
//! that there is none. Over HTTP/1.1 in plain text, or as Google
//! serves it, over HTTP/2 and TLS.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use http::header::CONTENT_TYPE;
use proactive::transport::{Keepalive, grpc};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, ServerTlsConfig};

use super::Result;
use super::process::{self, LOOPBACK};

pub(crate) const ROLE: &str = "model";
pub(crate) const TLS_ROLE: &str = "model-tls";
/// Where to post; the settings of our server lead here as well.
pub(crate) const PATH: &str = "/v1beta/models/bench:generateContent";
/// Put in front of the path, where frames end without a task.
pub(crate) const NO_TASK: &str = "/no-task";
/// What a second request holds in its last bytes.
pub(crate) const MARK: &str = "functionResponse";
const LAST_BYTES: usize = 4096;

#[derive(Default)]
struct Sizes {
    first: AtomicUsize,
    second: AtomicUsize,
}

/// `tls` names the files of the certificate and its key.
pub(crate) fn run(tls: Option<[&str; 2]>) -> Result<ExitCode> {
    let runtime = process::runtime()?;
    let listener = runtime.block_on(TcpListener::bind(LOOPBACK))?;
    let address = listener.local_addr()?;
    let answers = [decision(), no_task()]
        .map(|decision| -> Arc<[Bytes; 2]> { Arc::new([search(), decision].map(answer)) });
    let [task, no_task] = answers;
    let sizes = Arc::new(Sizes::default());
    let seen = sizes.clone();
    let told = async move || format!("{} {}", seen.first.load(Relaxed), seen.second.load(Relaxed));
    let pages = Router::new()
        .route(PATH, post(generate).with_state((task, sizes.clone())))
        .route(
            &format!("{NO_TASK}{PATH}"),
            post(generate).with_state((no_task, sizes)),
        )
        .layer(DefaultBodyLimit::max(16 << 20))
        .route("/sizes", get(told));
    match tls {
        None => {
            runtime.spawn(async move { axum::serve(listener, pages).await });
        }
        Some(files) => {
            let [certificate, key] = files.map(std::fs::read_to_string);
            let identity = Identity::from_pem(certificate?, key?);
            let tls = ServerTlsConfig::new().identity(identity);
            let serving = grpc::server(Keepalive::USUAL)
                .tls_config(tls)?
                .add_routes(pages.into())
                .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)));
            runtime.spawn(serving);
        }
    }
    process::listens_at(address)
}

/// How large the last first and the last second request were.
pub(crate) async fn sizes(url: &str) -> Result<(usize, usize)> {
    let text = reqwest::get(format!("{url}/sizes")).await?.text().await?;
    let (first, second) = text.split_once(' ').ok_or("the model told no sizes")?;
    Ok((first.parse()?, second.parse()?))
}

async fn generate(
    State((answers, sizes)): State<(Arc<[Bytes; 2]>, Arc<Sizes>)>,
    body: Bytes,
) -> ([(http::HeaderName, &'static str); 1], Bytes) {
    let end = &body[body.len().saturating_sub(LAST_BYTES)..];
    let second = end.windows(MARK.len()).any(|at| at == MARK.as_bytes());
    let (size, answer) = match second {
        false => (&sizes.first, &answers[0]),
        true => (&sizes.second, &answers[1]),
    };
    size.store(body.len(), Relaxed);
    ([(CONTENT_TYPE, "application/json")], answer.clone())
}

fn search() -> Value {
    let query = json!({ "query": "signed lease for the Berlin office" });
    json!({ "functionCall": { "id": "call-1", "name": "search_similar", "args": query } })
}

fn decision() -> Value {
    let task = json!({
        "title": "Send the Berlin office the signed lease",
        "description": "Maria asks for the signed lease of the Berlin office before Tuesday.",
        "priority": "high",
        "tags": ["berlin", "lease"],
        "source_app": "Mail",
        "inferred_deadline": "2026-11-24",
        "confidence": 0.9,
        "source_category": "direct_request",
        "source_subcategory": "message",
        "relevance_score": 3,
        "context_summary": "A mail from Maria asks for the signed lease.",
        "current_activity": "Reading mail",
    });
    json!({ "functionCall": { "id": "call-2", "name": "extract_task", "args": task } })
}

/// About as long as a task, so that its entry in the user's log is, too.
fn no_task() -> Value {
    let task = decision()["functionCall"]["args"].to_string();
    let args = json!({
        "context_summary": task.replace('"', "'"),
        "current_activity": "Reading mail",
    });
    json!({ "functionCall": { "id": "call-2", "name": "no_task_found", "args": args } })
}

fn answer(mut part: Value) -> Bytes {
    // As long as the signatures that the API sends.
    part["thoughtSignature"] = json!("c2ln".repeat(150));
    let answer = json!({
        "candidates": [{
            "content": { "role": "model", "parts": [part] },
            "finishReason": "STOP",
            "index": 0,
        }],
        "usageMetadata": {
            "promptTokenCount": 3200,
            "candidatesTokenCount": 120,
            "thoughtsTokenCount": 80,
            "totalTokenCount": 3400,
        },
        "modelVersion": "bench",
        "responseId": "bench-1",
    });
    answer.to_string().into()
}
