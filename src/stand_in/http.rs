//! The server: takes a request, has it judged, and delivers the answer.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use axum::routing::post;
use futures::{StreamExt, stream};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::line::{Knife, Lines};
use super::refusal::Refusal;
use super::script::{Base, Delivery, KEY_ECHO, Move};
use super::{Recorded, Shared, StandIn, Traffic, answer, judge, rules};

/// Google's limit for a request with inline data.
const BODY_LIMIT: usize = 20 * 1024 * 1024;
/// How long open requests may go on once the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// What each request handler has at hand.
#[derive(Clone)]
struct Desk {
    stand_in: StandIn,
    stop: CancellationToken,
}

/// Serves until `stop`, and for a short grace after it.
pub(super) async fn serve(
    stand_in: StandIn,
    listener: TcpListener,
    stop: CancellationToken,
) -> io::Result<()> {
    let all = CancellationToken::new();
    let lines = Lines::new(listener, all.clone());
    let desk = Desk {
        stand_in,
        stop: stop.clone(),
    };
    let router = Router::new()
        .route("/{version}/models/{call}", post(generate))
        .route(
            "/{version}/projects/{project}/locations/{location}/publishers/google/models/{call}",
            post(generate),
        )
        .fallback(|| async { refuse(&Refusal::new(404, "Not found.")) })
        .method_not_allowed_fallback(|| async { refuse(&Refusal::new(405, "Use POST.")) })
        .with_state(desk)
        .into_make_service_with_connect_info::<Knife>();
    let served = axum::serve(lines, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    let result = tokio::select! {
        result = async { served.await } => result,
        () = async { stop.cancelled().await; tokio::time::sleep(GRACE).await } => Ok(()),
    };
    all.cancel();
    result
}

async fn generate(
    State(desk): State<Desk>,
    ConnectInfo(knife): ConnectInfo<Knife>,
    Path(asked): Path<Asked>,
    request: Request,
) -> Response {
    let shared = &*desk.stand_in.0;
    let (head, body) = request.into_parts();
    let body = to_bytes(body, BODY_LIMIT).await;
    shared.record(|| Recorded {
        path: head.uri.to_string(),
        headers: head.headers.clone(),
        body: body.as_ref().cloned().unwrap_or_default(),
    });
    let _open = Open::new(&shared.traffic);
    let judged = admit(shared, &asked, &head.uri, &head.headers)
        .and_then(|()| body.map_err(|_| too_large()))
        .and_then(|body| judge::judge(&body, &shared.options));
    let (request, next) = match judged {
        Err(refusal) => return refuse(&refusal),
        Ok(judge::Verdict::Fine(request)) => (request, shared.next_move()),
        Ok(judge::Verdict::Bewildered(request)) => (request, Move::empty()),
    };
    tokio::select! {
        response = play(shared, &knife, next, &request, asked.secret(&head.headers)) => response,
        () = desk.stop.cancelled() => refuse(&Refusal::new(503, "The stand-in is stopping.")),
    }
}

/// What the path says.
#[derive(Deserialize)]
struct Asked {
    version: String,
    /// Only on Vertex AI.
    project: Option<String>,
    call: String,
}

impl Asked {
    fn on_vertex(&self) -> bool {
        self.project.is_some()
    }

    /// The access token or the key; empty if there is none.
    fn secret<'a>(&self, headers: &'a HeaderMap) -> &'a str {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if self.on_vertex() {
            let header = text("authorization").unwrap_or_default();
            header.strip_prefix("Bearer ").unwrap_or_default()
        } else {
            text("x-goog-api-key").unwrap_or_default()
        }
    }
}

/// What can be refused before the body is looked at.
fn admit(shared: &Shared, asked: &Asked, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let query = uri.query().unwrap_or_default();
    if query
        .split('&')
        .any(|pair| pair.split('=').next() == Some("key"))
    {
        let message = "The API key belongs in the x-goog-api-key header, not in the URL.";
        return Err(Refusal::invalid(message));
    }
    let model = match asked.call.split_once(':') {
        Some((model, "generateContent")) if !model.is_empty() => model,
        _ => {
            return Err(Refusal::new(
                404,
                "Only models/{model}:generateContent is here.",
            ));
        }
    };
    let versions: &[&str] = if asked.on_vertex() {
        &["v1", "v1beta1"]
    } else {
        &["v1", "v1alpha", "v1beta"]
    };
    if !versions.contains(&asked.version.as_str()) {
        let message = format!("models/{model} is not found for this API version.");
        return Err(Refusal::new(404, message));
    }
    let known = shared.options.api_key.as_deref();
    match (asked.secret(headers), asked.on_vertex()) {
        ("", false) => Err(Refusal::new(
            403,
            "Method doesn't allow unregistered callers. Please use an API key.",
        )),
        (given, false) if known.is_some_and(|known| known != given) => Err(Refusal::bad_key()),
        (given, true) if given.is_empty() || known.is_some_and(|known| known != given) => {
            Err(Refusal::new(
                401,
                "Request had invalid authentication credentials. Expected OAuth 2 access token.",
            ))
        }
        _ => Ok(()),
    }
}

fn too_large() -> Refusal {
    Refusal::invalid(format!(
        "Request payload size exceeds the limit: {BODY_LIMIT} bytes."
    ))
}

/// Makes a move.
async fn play(shared: &Shared, knife: &Knife, next: Move, request: &Value, key: &str) -> Response {
    // One wait, so that a benchmark without latency never meets the timer.
    let wait = shared.options.latency + next.delay;
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    let mut body = match &next.base {
        Base::Rules => rules::decide(request, &shared.world),
        Base::Answer(body) => body.clone(),
        Base::Error(refusal) => {
            let mut body = refusal.body.clone();
            next.edit(&mut body);
            return deliver(
                refusal.status,
                json_bytes(body, &next.delivery),
                &next.delivery,
                Some(key),
            );
        }
        Base::Raw { status, body } => {
            return deliver(*status, body.clone(), &next.delivery, Some(key));
        }
        Base::Endless => return Response::new(endless()),
        Base::Hang => return std::future::pending().await,
        Base::Drop => {
            // Whatever is answered now meets a closed connection.
            knife.0.cancel();
            return Response::new(Body::empty());
        }
    };
    let options = &shared.options;
    answer::complete(
        &mut body,
        request,
        &options.model_version,
        shared.world.uuid(),
    );
    next.edit(&mut body);
    if options.signatures && next.signed {
        answer::sign(&mut body);
    }
    let scripted = !matches!(next.base, Base::Rules);
    deliver(
        200,
        json_bytes(body, &next.delivery),
        &next.delivery,
        scripted.then_some(key),
    )
}

fn refuse(refusal: &Refusal) -> Response {
    let delivery = Delivery::default();
    let body = json_bytes(refusal.body.clone(), &delivery);
    deliver(refusal.status, body, &delivery, None)
}

fn json_bytes(body: Value, delivery: &Delivery) -> Bytes {
    let body = if delivery.in_array {
        Value::Array(vec![body])
    } else {
        body
    };
    body.to_string().into()
}

/// Sends a body. The key goes only where a script wants it: an answer of the
/// rules quotes the screen, which could hold the placeholder.
fn deliver(status: u16, mut body: Bytes, delivery: &Delivery, key: Option<&str>) -> Response {
    if let Some(key) = key
        && body
            .windows(KEY_ECHO.len())
            .any(|w| w == KEY_ECHO.as_bytes())
    {
        body = String::from_utf8_lossy(&body).replace(KEY_ECHO, key).into();
    }
    let length = body.len();
    let mut response = Response::new(if delivery.cut {
        halved(body)
    } else {
        Body::from(body)
    });
    *response.status_mut() = StatusCode::from_u16(delivery.status.unwrap_or(status))
        .expect("a test scripts statuses that exist");
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=UTF-8"),
    );
    headers.insert(header::CONTENT_LENGTH, length.into());
    for (name, value) in &delivery.headers {
        let name: HeaderName = name.parse().expect("a test scripts names of headers");
        let value = value.replace(KEY_ECHO, key.unwrap_or_default());
        let value = value.parse().expect("a test scripts values of headers");
        headers.insert(name, value);
    }
    response
}

/// The first half of a body, and then the end of the connection.
fn halved(body: Bytes) -> Body {
    let half = body.slice(..body.len() / 2);
    let cut = stream::once(async {
        // Lets the first half go out before the connection breaks.
        tokio::task::yield_now().await;
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    });
    Body::from_stream(stream::iter([Ok(half)]).chain(cut))
}

/// White space, which may stand before JSON, for ever.
fn endless() -> Body {
    const SPACES: Bytes = Bytes::from_static(&[b' '; 16 * 1024]);
    Body::from_stream(stream::repeat_with(|| Ok::<_, io::Error>(SPACES)))
}

/// Counts a request as open until it is answered or its client has gone.
struct Open<'a>(&'a watch::Sender<Traffic>);

impl<'a> Open<'a> {
    fn new(traffic: &'a watch::Sender<Traffic>) -> Self {
        traffic.send_modify(|traffic| {
            traffic.arrived += 1;
            traffic.open += 1;
        });
        Self(traffic)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|traffic| traffic.open -= 1);
    }
}
