//! From a request to a stream: who may come in, and by which protocol. What is
//! refused is refused in HTTP.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures::StreamExt;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument;
use tungstenite::handshake::derive_accept_key;

use super::notes::Notes;
use super::{PROTOCOL, Site, reader, writer};
use crate::auth;
use crate::session::{Caller, OUTBOUND_QUEUE};
use crate::transport::calls::Fault;
use crate::transport::door::caller;
use crate::transport::guard::bearer;
use crate::transport::problem::Problem;

/// Before a token that is offered as a protocol, which is all that a browser lets a
/// page say.
const BEARER: &str = "bearer.";
/// Bytes of a handshake's key.
const NONCE: usize = 16;

/// Opens a stream.
pub(in crate::transport) async fn upgrade(
    State(site): State<Site>,
    mut request: Request,
) -> Result<Response, Problem> {
    let accept = handshake(request.method(), request.headers())?;
    let Some(connection) = request.extensions_mut().remove::<OnUpgrade>() else {
        return Err(no_websocket("A WebSocket is opened over HTTP/1.1."));
    };
    let headers = request.headers();
    if !site.origins.allow(headers) {
        return Err(Problem::named(
            StatusCode::FORBIDDEN,
            "urn:proactive:origin-not-allowed",
            "Pages of this origin may not use this server; see HTTP_ALLOWED_ORIGINS.",
        ));
    }
    let offered = Offered::read(headers)?;
    let door = &site.door;
    if door.stopping.is_cancelled() {
        return Err(Fault::ShuttingDown.into());
    }
    let principal = door.guard.admit(offered.token).await?;
    let seat = door.lobby.quota().open(&principal.uid)?;
    let caller = caller(headers, principal, seat);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if offered.is_ours {
        // Never the other one: it would echo the token.
        answer.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    }
    let stream = stream(site.clone(), connection, caller).in_current_span();
    site.streams.spawn(stream);
    Ok(response)
}

/// One stream, from the moment that both sides speak the new protocol.
async fn stream(site: Site, connection: OnUpgrade, caller: Caller) {
    // Whoever has gone meanwhile gives the seat back.
    let Ok(connection) = connection.await else {
        return;
    };
    let (read, write) = tokio::io::split(TokioIo::new(connection));
    let (to_client, messages) = mpsc::channel(OUTBOUND_QUEUE);
    let (ended, end) = oneshot::channel();
    let notes = Notes::new();
    let keepalive = site.keepalive;
    let silence = keepalive.interval + keepalive.timeout;
    let account = caller.seat.account().clone();
    let inputs = reader::inputs(read, account, silence, notes.clone()).boxed();
    let lobby = &site.door.lobby;
    lobby.open(lobby.connection(caller, inputs, to_client, ended));
    writer::speak(write, messages, end, notes, keepalive.interval).await;
}

/// RFC 6455, 4.2.1: what a client must say; and the answer to its key.
fn handshake(method: &Method, headers: &HeaderMap) -> Result<HeaderValue, Problem> {
    // What is routed for GET is routed for HEAD as well.
    let is_get = *method == Method::GET;
    if !is_get || !says(headers, &UPGRADE, "websocket") || !says(headers, &CONNECTION, "upgrade") {
        return Err(no_websocket("This is a WebSocket: open it as one."));
    }
    if !says(headers, &SEC_WEBSOCKET_VERSION, "13") {
        return Err(no_websocket("The version of WebSocket is 13 here."));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let is_one = |key: &&[u8]| {
        let nonce = base64_simd::STANDARD.decode_to_vec(key);
        nonce.is_ok_and(|nonce| nonce.len() == NONCE)
    };
    let accept = key.filter(is_one).map(derive_accept_key);
    accept
        .and_then(|accept| accept.try_into().ok())
        .ok_or_else(|| bad_request("Sec-WebSocket-Key is not 16 bytes in base64."))
}

/// Whether a header, which may have a list, has this word.
fn says(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    words(headers, name).any(|said| said.eq_ignore_ascii_case(word))
}

fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(str::trim)
}

/// What the client offers to speak, and who it says it is.
struct Offered<'a> {
    is_ours: bool,
    token: Result<&'a str, auth::Error>,
}

impl<'a> Offered<'a> {
    fn read(headers: &'a HeaderMap) -> Result<Self, Problem> {
        let mut protocols = words(headers, &SEC_WEBSOCKET_PROTOCOL).peekable();
        let is_any = protocols.peek().is_some();
        let (mut is_ours, mut token) = (false, None);
        for protocol in protocols {
            is_ours |= protocol == PROTOCOL;
            token = token.or(protocol.strip_prefix(BEARER));
        }
        if is_any && !is_ours {
            // A browser would hang up if none of its protocols were chosen.
            return Err(bad_request(
                "Offer the protocol proactive.v1, beside bearer.<Firebase ID token>.",
            ));
        }
        let token = match (bearer(headers), token) {
            // Another scheme is a proxy's: a browser sends it by itself.
            (Err(auth::Error::Missing | auth::Error::NotBearer), Some(token))
                if !token.is_empty() =>
            {
                Ok(token)
            }
            (in_header, _) => in_header,
        };
        Ok(Self { is_ours, token })
    }
}

fn bad_request(sentence: &'static str) -> Problem {
    Problem::named(
        StatusCode::BAD_REQUEST,
        "urn:proactive:bad-handshake",
        sentence,
    )
}

fn no_websocket(sentence: &'static str) -> Problem {
    let status = StatusCode::UPGRADE_REQUIRED;
    Problem::named(status, "urn:proactive:not-a-websocket", sentence)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
}
