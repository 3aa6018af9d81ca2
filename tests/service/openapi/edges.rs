//! Requests as no client of ours writes them: bodies that are not JSON, not text,
//! much too large or never whole, paths and methods that there are not.

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::described::{Answer, Described, request};
use crate::support::outside::SERVICE_TOKEN;
use crate::support::{App, TestApp, USER};

async fn started() -> App {
    let app = TestApp::new().with(|settings| {
        settings.work.service_tokens = Some(SERVICE_TOKEN.into());
    });
    app.start().await
}

/// The two endpoints that read a body, and a token that each takes.
fn readers(app: &App) -> [(&'static str, String); 2] {
    [
        ("/v1/frames", app.service.token(USER)),
        ("/v1/messages", SERVICE_TOKEN.to_owned()),
    ]
}

async fn sent(app: &App, path: &str, token: &str, body: Vec<u8>) -> Answer {
    let request = request(app, Method::POST, path).bearer_auth(token);
    Answer::of(request.body(body).send().await.unwrap()).await
}

#[tokio::test]
async fn a_body_that_cannot_be_used_is_refused_as_described() {
    let app = started().await;
    let described = Described::by(&app).await;
    let deep = format!("{{\"data\":{}{}}}", "[".repeat(40), "]".repeat(40));
    for (path, token) in readers(&app) {
        for body in [
            &b""[..],
            b"no JSON",
            b"{\"frame\": ",
            b"[]",
            b"7",
            b"null",
            b"\xff\xfe{}",
            b"{\"uid\": 7, \"frame\": 7}",
            b"{\"title\": \"\xc3\x28\"}",
            b"{} {}",
            b"{\"frame\": {}, \"frame\": {}, \"uid\": \"a\", \"uid\": \"b\"}",
            deep.as_bytes(),
            b"{}",
        ] {
            let answer = sent(&app, path, &token, body.to_vec()).await;
            described.allows("post", path, &answer);
            let body = String::from_utf8_lossy(body);
            assert_eq!(answer.status, 400, "{path} {body}");
            assert_eq!(answer.json()["type"], "urn:proactive:invalid");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_has_one_name_wherever_that_is_noticed() {
    let app = started().await;
    let described = Described::by(&app).await;
    for (path, token) in readers(&app) {
        // Beyond the endpoint's own bound, the pages', and everybody's.
        for size in [(64 << 10) + 1, (1 << 20) + 1, (14 << 20) + 1] {
            if path == "/v1/frames" && size < 14 << 20 {
                continue;
            }
            let answer = sent(&app, path, &token, vec![b' '; size]).await;
            described.allows("post", path, &answer);
            assert_eq!(answer.status, 413, "{path} {size}");
        }
    }
}

#[tokio::test]
async fn what_the_description_forbids_of_a_message_is_refused() {
    let app = started().await;
    let described = Described::by(&app).await;
    let good = json!({
        "uid": "u".repeat(128), "kind": "a.b_c-1", "title": "t".repeat(200),
        "body": "é".repeat(4_000), "data": [1, {}], "expires_at": "2999-01-01T00:00:00+02:00",
        "idempotency_key": "k".repeat(255),
    });
    let fire = async |body: &Value| {
        let body = body.to_string().into_bytes();
        let answer = sent(&app, "/v1/messages", SERVICE_TOKEN, body).await;
        described.allows("post", "/v1/messages", &answer);
        answer.status
    };
    assert!(described.takes("post", "/v1/messages", &good));
    assert_eq!(fire(&good).await, 201);
    for (field, wrong) in [
        ("uid", json!("u".repeat(129))),
        ("uid", json!("")),
        ("uid", json!(7)),
        ("kind", json!("")),
        ("kind", json!("Report")),
        ("kind", json!("k".repeat(65))),
        ("title", json!("")),
        ("title", json!("t".repeat(201))),
        ("title", json!(["t"])),
        ("body", json!("b".repeat(4_001))),
        ("expires_at", json!("tomorrow")),
        ("expires_at", json!(7)),
        ("idempotency_key", json!("k".repeat(256))),
        ("idempotency_key", json!({})),
    ] {
        let mut bad = good.clone();
        bad[field] = wrong;
        let is_described = !described.takes("post", "/v1/messages", &bad);
        assert!(
            is_described,
            "the description takes {field}: {}",
            bad[field]
        );
        assert_eq!(fire(&bad).await, 400, "{field}: {}", bad[field]);
    }
    for field in ["uid", "kind", "title"] {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().remove(field);
        assert!(!described.takes("post", "/v1/messages", &bad), "{field}");
        assert_eq!(fire(&bad).await, 400, "{field}");
    }
}

#[tokio::test]
async fn what_there_is_not_is_told_as_that() {
    let app = started().await;
    for path in [
        "/",
        "/v1",
        "/v2/jobs",
        "/v1/jobs/",
        "/v1/jobs/a/b",
        "/v1/openapi.yaml",
        "//v1/jobs",
        "/V1/JOBS",
        "/v1/%6Aobs",
        "/v1/jobs/../jobs%00",
    ] {
        let answer = raw(&app, &format!("GET {path} HTTP/1.1"), "").await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
        assert!(answer.contains("\"about:blank\""), "{answer}");
    }
}

#[tokio::test]
async fn head_is_answered_without_a_body_and_options_is_a_browsers() {
    let app = started().await;
    let token = app.service.token(USER);
    for (path, status) in [
        ("/v1/jobs", 200),
        ("/v1/jobs/none", 404),
        ("/v1/openapi.json", 200),
        ("/v1/stream", 200),
        ("/v1/proactive", 426),
        ("/nothing", 404),
    ] {
        let head = request(&app, Method::HEAD, path).bearer_auth(&token);
        let answer = Answer::of(head.send().await.unwrap()).await;
        assert_eq!(
            (answer.status, answer.text.as_str()),
            (status, ""),
            "{path}"
        );
        let options = request(&app, Method::OPTIONS, path).send().await.unwrap();
        let answer = Answer::of(options).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, ""), "{path}");
    }
    // Whoever asked for the head of a stream holds no place.
    app.metric_becomes("proactive_accounted_bytes 0").await;
}

#[tokio::test]
async fn a_listed_page_may_send_and_read_what_the_endpoints_need() {
    let page = "https://app.example.com";
    let listed = |settings: &mut proactive::config::Settings| {
        settings.http_allowed_origins = Some(page.into());
    };
    let app = TestApp::new().with(listed).start().await;
    let asked = request(&app, Method::OPTIONS, "/v1/stream")
        .header("origin", page)
        .header("access-control-request-method", "GET")
        .header(
            "access-control-request-headers",
            "authorization,last-event-id",
        );
    let answer = Answer::of(asked.send().await.unwrap()).await;
    assert_eq!(answer.header("access-control-allow-methods"), "GET,POST");
    let allowed = answer.header("access-control-allow-headers");
    for name in [
        "authorization",
        "content-type",
        "last-event-id",
        "x-request-id",
    ] {
        assert!(allowed.contains(name), "{name} is not in {allowed}");
    }
    let asked = request(&app, Method::GET, "/v1/openapi.json").header("origin", page);
    let answer = Answer::of(asked.send().await.unwrap()).await;
    let exposed = answer.header("access-control-expose-headers");
    for name in ["location", "retry-after", "x-request-id"] {
        assert!(exposed.contains(name), "{name} is not in {exposed}");
    }
}

/// The whole answer to these bytes, in HTTP/1.1, after which the server hangs up or
/// is left.
async fn raw(app: &App, line: &str, rest: &str) -> String {
    let address = app.service.server.http_addr();
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!("{line}\r\nhost: {address}\r\nconnection: close\r\n{rest}\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// Bodies that are announced and do not come, answered when their time is over.
pub(super) async fn slow_bodies(described: &Described) {
    let app = started().await;
    let address = app.service.server.http_addr();
    for (path, token) in readers(&app) {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             connection: close\r\ncontent-length: 100\r\n\r\n{{\"frame\": "
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        // Its token is judged before that.
        tokio::time::pause();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        tokio::time::resume();
        let answer = String::from_utf8(answer).unwrap();
        let answer = parsed(&answer);
        assert_eq!(answer.status, 408, "{path}: {}", answer.text);
        described.allows("post", path, &answer);
    }
}

/// An answer in HTTP/1.1 with a body that is not chunked.
fn parsed(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        let name: HeaderName = name.parse().unwrap();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    Answer {
        status: status.parse().unwrap(),
        headers,
        text: body.to_owned(),
    }
}
