//! Errors of one shape: problem details, RFC 9457.

mod faults;

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use tower_http::request_id::RequestId;

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
/// RFC 9457, 4.2.1: the status says it all.
const BLANK: &str = "about:blank";
/// Of a second.
const NANOS: u128 = 1_000_000_000;
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
            StatusCode::REQUEST_TIMEOUT => "The body did not arrive in time.",
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
        // Whole seconds, and never too early: with 0 a client would be back at once.
        let seconds = wait.as_nanos().div_ceil(NANOS).max(1);
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
        self.headers.push((RETRY_AFTER, seconds.into()));
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
/// have one. A fault of ours is a line of the log as well.
pub(super) async fn give_shape(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().cloned();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    let status = response.status();
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if status.is_client_error() || status.is_server_error() => Problem::new(status),
        None => return response,
    };
    let id = id.as_ref().and_then(|id| id.header_value().to_str().ok());
    if status.is_server_error() {
        let route = route.as_ref().map_or("", MatchedPath::as_str);
        let (status, why) = (status.as_u16(), &*problem.detail);
        tracing::warn!(request.id = id, status, route, why, "a request failed");
    }
    *response.body_mut() = Body::from(problem.write(id));
    response.headers_mut().insert(CONTENT_TYPE, MEDIA_TYPE);
    response.headers_mut().remove(CONTENT_LENGTH);
    response
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::middleware::from_fn;
    use axum::routing::{get, post};
    use http_body_util::BodyExt;
    use tower::ServiceExt;
    use tower_http::catch_panic::CatchPanicLayer;
    use tower_http::limit::RequestBodyLimitLayer;

    use super::*;

    async fn crash() {
        panic!("a crash on purpose, with a s3cret");
    }

    /// The answer to a request with a body, from pages that fail in every way.
    async fn answer(path: &str) -> (StatusCode, serde_json::Value) {
        let pages = Router::new()
            .route("/crash/of/{whom}", get(crash))
            .route("/json", post(async |_: axum::Json<u32>| ()))
            .layer(RequestBodyLimitLayer::new(100))
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
            .extension(RequestId::new(HeaderValue::from_static("id-7")))
            .body(Body::from("s3cret"))
            .unwrap();
        let answer = pages.oneshot(request).await.unwrap();
        assert_eq!(answer.headers()[CONTENT_TYPE], MEDIA_TYPE);
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn who_is_to_come_back_waits_for_a_second_at_least_and_never_too_short() {
        for (millis, seconds) in [
            (0, 1),
            (1, 1),
            (999, 1),
            (1_000, 1),
            (1_001, 2),
            (9_500, 10),
        ] {
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS);
            let problem = problem.retry_after(Duration::from_millis(millis));
            let answer = problem.into_response();
            let told = answer.headers()[RETRY_AFTER].to_str().unwrap();
            assert_eq!(told, seconds.to_string(), "{millis} ms");
        }
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_fault_of_ours_is_a_line_of_the_log_by_the_request_s_id_and_its_route() {
        // Known to tracing before there is a subscriber, whichever test comes first.
        answer("/crash/of/ada").await;
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let _log = tracing::subscriber::set_default(subscriber);
        answer("/crash/of/ada").await;
        answer("/nothing").await;
        let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(log.matches('\n').count(), 1, "{log}");
        for field in [
            "WARN",
            "request.id=\"id-7\"",
            "status=500",
            "/crash/of/{whom}",
        ] {
            assert!(log.contains(field), "{field} in {log}");
        }
        assert!(!log.contains("ada") && !log.contains("s3cret"), "{log}");
    }

    #[tokio::test]
    async fn whoever_makes_an_error_it_has_one_shape_and_echoes_nothing() {
        for (path, status) in [
            ("/crash/of/ada", 500),
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
