//! Errors of one shape: problem details, RFC 9457.

mod faults;

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use tower_http::request_id::RequestId;

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
/// RFC 9457, 4.2.1: the status says it all.
const BLANK: &str = "about:blank";
/// Whoever finds a body too large, it has this name.
const TOO_LARGE: &str = "urn:proactive:too-large";

/// Why a request failed. The sentence is for people, and holds nothing that came
/// with the request.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    status: StatusCode,
    kind: &'static str,
    detail: Cow<'static, str>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What is written.
#[derive(Serialize)]
struct Details<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl Problem {
    /// One that needs no other name than its status has.
    pub(super) fn new(status: StatusCode) -> Self {
        let detail = match status {
            StatusCode::NOT_FOUND => "There is nothing at this path.",
            StatusCode::METHOD_NOT_ALLOWED => "The path does not take this method; see Allow.",
            StatusCode::PAYLOAD_TOO_LARGE => "The body is larger than is taken here.",
            StatusCode::REQUEST_TIMEOUT => "The request took too long.",
            StatusCode::INTERNAL_SERVER_ERROR => "The server failed; the log says why.",
            _ => "The request cannot be used as it is.",
        };
        let kind = match status {
            StatusCode::PAYLOAD_TOO_LARGE => TOO_LARGE,
            _ => BLANK,
        };
        Self {
            status,
            kind,
            detail: detail.into(),
            headers: Vec::new(),
        }
    }

    /// One with a name, a URI that programs compare, and a sentence.
    pub(super) fn named(
        status: StatusCode,
        kind: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            kind,
            detail: detail.into(),
            headers: Vec::new(),
        }
    }

    /// Says it in a header as well.
    pub(super) fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// Says when to come back.
    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        self.headers.push((RETRY_AFTER, wait.as_secs().into()));
        self
    }

    fn write(&self, request_id: Option<&str>) -> Vec<u8> {
        let details = Details {
            kind: self.kind,
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            request_id,
        };
        serde_json::to_vec(&details).expect("texts and a number can be written")
    }
}

/// Without a body yet: the id of the request is known to [`give_shape`] alone.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        for (name, value) in &self.headers {
            response.headers_mut().insert(name, value.clone());
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// A fault of ours in one request. The panic has told its cause in the log.
pub(super) fn crashed(_: Box<dyn std::any::Any + Send>) -> Response {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR).into_response()
}

/// Writes the problem of every answer that has one or, whoever made it, should
/// have one.
pub(super) async fn give_shape(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().cloned();
    let mut response = next.run(request).await;
    let status = response.status();
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if status.is_client_error() || status.is_server_error() => Problem::new(status),
        None => return response,
    };
    let id = id.as_ref().and_then(|id| id.header_value().to_str().ok());
    *response.body_mut() = Body::from(problem.write(id));
    response.headers_mut().insert(CONTENT_TYPE, MEDIA_TYPE);
    response.headers_mut().remove(CONTENT_LENGTH);
    response
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::middleware::from_fn;
    use axum::routing::{get, post};
    use http_body_util::BodyExt;
    use tower::ServiceExt;
    use tower_http::catch_panic::CatchPanicLayer;
    use tower_http::limit::RequestBodyLimitLayer;
    use tower_http::timeout::TimeoutLayer;

    use super::*;

    async fn never() {
        std::future::pending::<()>().await;
    }

    async fn crash() {
        panic!("a crash on purpose, with a s3cret");
    }

    /// The answer to a request with a body, from pages that fail in every way.
    async fn answer(path: &str) -> (StatusCode, serde_json::Value) {
        let pages = Router::new()
            .route("/never", get(never))
            .route("/crash", get(crash))
            .route("/json", post(async |_: axum::Json<u32>| ()))
            .layer(RequestBodyLimitLayer::new(100))
            .layer(TimeoutLayer::with_status_code(
                StatusCode::REQUEST_TIMEOUT,
                Duration::from_secs(30),
            ))
            .layer(CatchPanicLayer::custom(crashed))
            .layer(from_fn(give_shape));
        let (method, length) = match path {
            "/json" => ("POST", 6),
            "/json?" => ("POST", 101),
            _ => ("GET", 0),
        };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_LENGTH, length)
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from("s3cret"))
            .unwrap();
        let answer = pages.oneshot(request).await.unwrap();
        assert_eq!(answer.headers()[CONTENT_TYPE], MEDIA_TYPE);
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_makes_an_error_it_has_one_shape_and_echoes_nothing() {
        for (path, status) in [
            ("/never", 408),
            ("/crash", 500),
            ("/json", 400),
            ("/json?", 413),
            ("/nothing", 404),
        ] {
            let (told, problem) = answer(path).await;
            assert_eq!(
                (told.as_u16(), &problem["status"]),
                (status, &status.into())
            );
            let name = if status == 413 { TOO_LARGE } else { BLANK };
            assert_eq!(problem["type"], name);
            assert_eq!(problem["title"], told.canonical_reason().unwrap());
            assert!(problem["detail"].as_str().unwrap().ends_with('.'));
            assert!(!problem.to_string().contains("s3cret"));
        }
    }
}
