//! HTTP as people expect it: errors of one shape, request ids, origins, bounds.

use reqwest::{Client, Method, Response};
use serde_json::Value;

use crate::support::{App, TestApp};

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
