//! HTTP as people expect it: errors of one shape, request ids, origins, bounds.

use reqwest::{Client, Method, Response};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::outside::SERVICE_TOKEN;
use crate::support::{App, TestApp, USER};

const PAGE: &str = "https://app.example.com";

async fn app() -> App {
    let listed = |set: &mut proactive::config::Settings| {
        set.http_allowed_origins = Some(format!("{PAGE}, http://localhost:5173"));
    };
    TestApp::new().with(listed).start().await
}

async fn ask(app: &App, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let url = format!("http://{}{path}", app.service.server.http_addr());
    let mut request = Client::new().request(method, url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    let value = answer.headers().get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

/// The problem of this answer, which names the request.
async fn problem(answer: Response) -> Value {
    assert_eq!(header(&answer, "content-type"), "application/problem+json");
    let id = header(&answer, "x-request-id").to_owned();
    let status = answer.status().as_u16();
    let problem: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(problem["request_id"], id);
    assert_eq!(problem["status"], status);
    for member in ["type", "title", "detail"] {
        assert!(!problem[member].as_str().unwrap().is_empty(), "{problem}");
    }
    problem
}

#[tokio::test]
async fn every_error_is_a_problem_with_the_request_s_id() {
    let app = app().await;
    let answer = ask(&app, Method::GET, "/nothing", &[]).await;
    assert_eq!(problem(answer).await["status"], 404);
    let answer = ask(&app, Method::POST, "/v1/proactive", &[]).await;
    assert_eq!(header(&answer, "allow"), "GET,HEAD");
    assert_eq!(problem(answer).await["status"], 405);
    let answer = ask(&app, Method::GET, "/v1/proactive", &[]).await;
    assert_eq!(header(&answer, "upgrade"), "websocket");
    assert_eq!(header(&answer, "connection"), "upgrade", "RFC 9110, 7.8");
    let told = problem(answer).await;
    assert_eq!(told["status"], 426);
    assert_eq!(told["type"], "urn:proactive:not-a-websocket");
    let url = format!("http://{}/nothing", app.service.server.http_addr());
    let large = Client::new().post(url).body(vec![b'x'; (1 << 20) + 1]);
    assert_eq!(problem(large.send().await.unwrap()).await["status"], 413);
}

#[tokio::test]
async fn a_request_keeps_a_plain_id_of_its_own_and_gets_one_otherwise() {
    let app = app().await;
    let id = async |sent: &str| {
        let answer = ask(&app, Method::GET, "/", &[("x-request-id", sent)]).await;
        header(&answer, "x-request-id").to_owned()
    };
    assert_eq!(id("desk-7:42/a.b").await, "desk-7:42/a.b");
    let long = "x".repeat(129);
    for unusable in ["", "two words", "<script>", &long] {
        assert_eq!(id(unusable).await.len(), 36, "{unusable}");
    }
    assert_ne!(id("").await, id("").await);
}

#[tokio::test]
async fn browsers_are_told_of_listed_origins_alone() {
    let app = app().await;
    for (origin, is_listed) in [(PAGE, true), ("https://evil.test", false), ("null", false)] {
        let asked = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization"),
        ];
        let answer = ask(&app, Method::OPTIONS, "/nothing", &asked).await;
        let allowed = header(&answer, "access-control-allow-origin");
        assert_eq!(allowed, if is_listed { origin } else { "" });
        let answer = ask(&app, Method::GET, "/nothing", &asked[..1]).await;
        let allowed = header(&answer, "access-control-allow-origin");
        assert_eq!(allowed, if is_listed { origin } else { "" }, "errors, too");
        assert!(header(&answer, "vary").contains("origin"));
    }
    let none = TestApp::new().start().await;
    let answer = ask(&none, Method::GET, "/nothing", &[("origin", PAGE)]).await;
    assert_eq!(header(&answer, "access-control-allow-origin"), "");
}

/// What these bytes are answered, in HTTP/1.1, by a server that hangs up then.
async fn raw(app: &App, sent: &[u8]) -> String {
    let address = app.service.server.http_addr();
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(sent).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_request_of_http_1_1_names_one_host() {
    let app = app().await;
    let page = "GET /v1/openapi.json HTTP/1.";
    for (version, hosts, status) in [
        ("1", "host: x\r\n", 200),
        ("1", "", 400),
        ("1", "host: x\r\nhost: y\r\n", 400),
        ("1", "host: x\r\nhost: x\r\n", 400),
        ("0", "", 200),
    ] {
        let sent = format!("{page}{version}\r\nconnection: close\r\n{hosts}\r\n");
        let answer = raw(&app, sent.as_bytes()).await;
        let told = answer.split(' ').nth(1).unwrap();
        assert_eq!(told, status.to_string(), "{hosts}: {answer}");
        if status == 400 {
            assert!(answer.contains("\"request_id\":"), "{answer}");
            assert!(answer.contains("Host"), "{answer}");
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_body_is_told_alike_wherever_it_goes() {
    let app = TestApp::new().with(|settings| {
        settings.work.service_tokens = Some(SERVICE_TOKEN.into());
    });
    let app = app.start().await;
    for (path, token, most) in [
        ("/v1/frames", app.service.token(USER), 14 << 20),
        ("/v1/messages", SERVICE_TOKEN.to_owned(), 64 << 10),
    ] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let answer = raw(&app, format!("{head}ZZ\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
        let url = format!("http://{}{path}", app.service.server.http_addr());
        let large = Client::new().post(url).bearer_auth(token);
        let large = large.body(vec![b' '; most + 1]).send().await.unwrap();
        let told = problem(large).await;
        assert_eq!(told["status"], 413, "{told}");
        let detail = told["detail"].as_str().unwrap();
        assert!(detail.contains(&most.to_string()), "{told}");
    }
}

#[tokio::test]
async fn who_sends_much_before_it_listens_hears_why_it_is_refused() {
    let app = app().await;
    let much = 10 << 20;
    let head = format!("POST /v1/frames HTTP/1.1\r\nhost: x\r\ncontent-length: {much}\r\n\r\n");
    let sent = [head.as_bytes(), &vec![b' '; much]].concat();
    let address = app.service.server.http_addr();
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(&sent).await.unwrap();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, *b"HTTP/1.1 401");
}

#[tokio::test]
async fn a_stream_of_events_is_kept_by_nobody_on_its_way() {
    let app = app().await;
    let bearer = format!("Bearer {}", app.service.token(USER));
    let asked = [("authorization", &*bearer)];
    let answer = ask(&app, Method::GET, "/v1/stream", &asked).await;
    assert_eq!(header(&answer, "cache-control"), "no-store");
    assert_eq!(header(&answer, "x-accel-buffering"), "no");
}

#[tokio::test]
async fn a_last_event_id_that_says_nothing_leaves_the_word_to_since_and_a_bad_one_is_refused() {
    let app = app().await;
    let bearer = format!("Bearer {}", app.service.token(USER));
    let begins = async |path: &str, last: &str| {
        let asked = [("authorization", &*bearer), ("last-event-id", last)];
        let mut answer = ask(&app, Method::GET, path, &asked).await;
        let start = answer.chunk().await.unwrap().unwrap();
        (
            answer.status().as_u16(),
            String::from_utf8_lossy(&start).into_owned(),
        )
    };
    assert_eq!(begins("/v1/stream?since=oldest", "").await.0, 200);
    let (status, told) = begins("/v1/stream?since=x", "").await;
    assert_eq!(status, 400, "since is what is read: {told}");
    let (status, told) = begins("/v1/stream?since=oldest", "\u{e9}:1").await;
    assert_eq!(status, 400, "{told}");
    assert!(told.contains("Last-Event-ID"), "{told}");
}
