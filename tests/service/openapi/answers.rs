//! Real answers of real servers, each as is described.

use std::time::Duration;

use proactive::config::Settings;
use proactive::stand_in::Move;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::described::{Answer, Described, request};
use crate::support::outside::SERVICE_TOKEN;
use crate::support::{App, PATIENCE, TestApp, USER};

const REQUEST: &str = "Anna: Hi, can you send the Berlin office the signed lease before Tuesday?";
/// What no test can cause: crashes; a log or keys that fail are tested elsewhere.
const NOT_CAUSED: [&str; 12] = [
    "get /v1/jobs 500",
    "get /v1/jobs 503",
    "get /v1/jobs/{id} 500",
    "get /v1/jobs/{id} 503",
    "get /v1/openapi.json 500",
    "get /v1/proactive 500",
    "get /v1/stream 500",
    "post /v1/frames 500",
    "post /v1/jobs/{id}/cancel 500",
    "post /v1/jobs/{id}/cancel 503",
    "post /v1/messages 500",
    "post /v1/messages 503",
];

/// An app, and what its server says of itself.
struct Tried<'a> {
    app: App,
    described: &'a Described,
    token: String,
}

async fn started(change: impl FnOnce(&mut Settings)) -> App {
    let app = TestApp::new().with(|settings| {
        settings.work.service_tokens = Some(SERVICE_TOKEN.into());
        settings.http_allowed_origins = Some("https://app.example.com".into());
        change(settings);
    });
    app.start().await
}

impl<'a> Tried<'a> {
    async fn with(described: &'a Described, change: impl FnOnce(&mut Settings)) -> Self {
        let app = started(change).await;
        Self {
            token: app.service.token(USER),
            app,
            described,
        }
    }

    /// A request of the user.
    fn user(&self, method: Method, path: &str) -> RequestBuilder {
        request(&self.app, method, path).bearer_auth(&self.token)
    }

    /// What this is answered, which is as is described.
    async fn told(&self, path: &str, request: RequestBuilder) -> Answer {
        let request = request.build().unwrap();
        let method = request.method().as_str().to_lowercase();
        let sent = reqwest::Client::new().execute(request).await.unwrap();
        let answer = Answer::of(sent).await;
        self.described.allows(&method, path, &answer);
        answer
    }

    async fn get(&self, path: &str, query: &str) -> Answer {
        let request = self.user(Method::GET, &format!("{path}{query}"));
        self.told(path, request).await
    }

    async fn submit(&self, body: &Value) -> Answer {
        let request = self.user(Method::POST, "/v1/frames");
        self.told("/v1/frames", request.body(body.to_string()))
            .await
    }

    async fn fire(&self, body: &Value) -> Answer {
        let request = request(&self.app, Method::POST, "/v1/messages").bearer_auth(SERVICE_TOKEN);
        self.told("/v1/messages", request.body(body.to_string()))
            .await
    }

    async fn job(&self, id: &str) -> Answer {
        let request = self.user(Method::GET, &format!("/v1/jobs/{id}"));
        self.told("/v1/jobs/{id}", request).await
    }

    async fn cancel(&self, id: &str) -> Answer {
        let request = self.user(Method::POST, &format!("/v1/jobs/{id}/cancel"));
        self.told("/v1/jobs/{id}/cancel", request).await
    }

    /// Submits a frame and waits until its job has ended.
    async fn decided(&self, id: &str, text: &str) -> Value {
        let job = self.submit(&frame(id, text)).await.json();
        loop {
            let job = self.job(job["job_id"].as_str().unwrap()).await.json();
            if job["state"] == "done" || job["state"] == "error" {
                return job;
            }
            tokio::task::yield_now().await;
        }
    }

    /// What a follower is told until its stream ends, which it does with its server.
    async fn stream(self, since: &str) {
        let path = format!("/v1/stream?since={since}");
        let following = self.user(Method::GET, &path).send().await.unwrap();
        let stopping = self.app.stopping();
        self.described
            .allows("get", "/v1/stream", &Answer::of(following).await);
        stopping.join_all().await;
    }

    /// A request that would be a WebSocket.
    fn upgrade(&self) -> RequestBuilder {
        self.user(Method::GET, "/v1/proactive")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    }
}

fn frame(id: &str, text: &str) -> Value {
    json!({
        "frame": {
            "screenshot_id": id,
            "ocr_text": text,
            "app_name": "Huddle",
            "window_title": "Anna",
            "capture_time": "2026-11-20T10:00:00+01:00",
            "session_context": {
                "active_tasks": [{
                    "task_id": 7, "description": "Water the plants", "priority": "low",
                    "relevance_score": 3, "staged": false,
                }],
                "completed_tasks": [{ "task_id": 4, "description": "Book a table" }],
                "deleted_tasks": [],
                "goals": [{ "goal_id": "g1", "title": "Move", "description": "By May" }],
                "generated_at": "2026-11-20T09:00:00Z",
            },
        },
        "idempotency_key": id,
        "utc_offset_minutes": 60,
    })
}

fn message(title: &str) -> Value {
    json!({
        "uid": USER,
        "kind": "report.ready",
        "title": title,
        "body": "Open it in the app.",
        "data": { "report": [7, null, "seven"] },
        "expires_at": "2999-01-01T00:00:00Z",
        "idempotency_key": title,
    })
}

#[tokio::test]
async fn every_answer_that_can_be_caused_is_as_described() {
    let told = &Described::by(&started(|_| ()).await).await;
    jobs(told).await;
    refusals(told).await;
    sockets(told).await;
    limits(told).await;
    calls_at_once(told).await;
    silence(told).await;
    super::edges::slow_bodies(told).await;
    let mut unseen = told.unseen();
    unseen.sort();
    assert_eq!(unseen, NOT_CAUSED, "or known as what cannot be caused");
}

/// Jobs and messages that go well, and the log that they leave.
async fn jobs(told: &Described) {
    let it = Tried::with(told, |_| ()).await;
    let mut desk = it.app.greeted().await;
    it.app.script([
        Move::call("search_similar", json!({ "query": "the lease" })),
        Move::call(
            "extract_task",
            json!({
                "title": "Send the signed lease to the Berlin office",
                "description": "Before Tuesday.", "priority": "high", "tags": ["lease"],
                "source_app": "Huddle", "inferred_deadline": "2026-11-24", "confidence": 0.9,
                "source_category": "direct_request", "source_subcategory": "message",
                "relevance_score": 1, "context_summary": "A chat.", "current_activity": "Reading.",
            }),
        ),
        Move::call("reject_task", json!({ "reason": "It is tracked." })),
        Move::call("no_task_found", json!({ "context_summary": "An editor." })),
        Move::status(400),
    ]);
    assert!(told.takes("post", "/v1/frames", &frame("1", REQUEST)));
    assert_eq!(it.submit(&frame("1", REQUEST)).await.status, 202);
    let search = desk.search().await;
    desk.answer(&search, vec![]).await;
    for (id, kind) in [
        ("1", "extract_task"),
        ("2", "reject_task"),
        ("3", "no_task_found"),
    ] {
        let job = it.decided(id, REQUEST).await;
        assert_eq!(job["outcome"]["outcome_kind"], kind, "{job}");
    }
    assert_eq!(it.decided("4", "x").await["error"]["code"], "GEMINI_ERROR");
    assert_eq!(it.submit(&frame("1", REQUEST)).await.status, 200);
    it.app
        .script([Move::call("reject_task", json!({ "reason": "Tracked." }))]);
    desk.frame("of-a-session", "x").await;
    desk.outcome().await;
    desk.close().await;
    it.app.script([Move::hang()]);
    let hangs = it.submit(&frame("5", "x")).await;
    assert_eq!(hangs.status, 202);
    let id = hangs.json()["job_id"].as_str().unwrap().to_owned();
    assert_eq!(it.cancel(&id).await.json()["error"]["code"], "CANCELLED");
    let page = it.get("/v1/jobs", "?page_size=2").await.json();
    let next = page["next_page_token"].as_str().unwrap();
    it.get("/v1/jobs", &format!("?page_size=2&page_token={next}"))
        .await;
    assert!(told.takes("post", "/v1/messages", &message("Q3")));
    assert_eq!(it.fire(&message("Q3")).await.status, 201);
    assert_eq!(it.fire(&message("Q3")).await.status, 200);
    let bare = json!({ "uid": USER, "kind": "x", "title": "bare" });
    assert_eq!(it.fire(&bare).await.status, 201);
    // A gap first, then everything.
    it.stream("0-0-0:1").await;
}

/// A stream on which nothing happens until it is too old.
async fn silence(told: &Described) {
    let young = |config: &mut proactive::config::Config| {
        config.session.max_age = Duration::from_secs(30);
    };
    let app = TestApp::new().tweak(young).start().await;
    let token = app.service.token(USER);
    let asked = request(&app, Method::GET, "/v1/stream").bearer_auth(token);
    let following = asked.send().await.unwrap();
    tokio::time::pause();
    let answer = Answer::of(following).await;
    tokio::time::resume();
    told.allows("get", "/v1/stream", &answer);
}

/// What cannot be used, by whom it is not known, and what there is not.
async fn refusals(told: &Described) {
    let it = Tried::with(told, |_| ()).await;
    for (path, query) in [
        ("/v1/jobs", "?page_size=ten"),
        ("/v1/jobs", "?page_size=1&page_size=2"),
        ("/v1/jobs", "?page_size=99999999999"),
        ("/v1/jobs", "?page_token=forged"),
        ("/v1/stream", "?since=x"),
        ("/v1/stream", "?since=%FF"),
        ("/v1/stream", "?since=oldest&since=oldest"),
    ] {
        assert_eq!(it.get(path, query).await.status, 400, "{path}{query}");
    }
    for query in [
        "?page_size=0",
        "?page_size=-1",
        "?page_size=1000",
        "?other=1",
    ] {
        assert_eq!(it.get("/v1/jobs", query).await.status, 200, "{query}");
    }
    let long = "x".repeat(65);
    for id in ["no-such-job", "%FF", "%2F", "..%2Fjobs", &long] {
        assert_eq!(it.job(id).await.status, 404, "{id}");
        assert_eq!(it.cancel(id).await.status, 404, "{id}");
    }
    assert_eq!(it.cancel("").await.status, 404);
    for (method, path) in [
        ("POST", "/v1/frames"),
        ("GET", "/v1/jobs"),
        ("GET", "/v1/jobs/{id}"),
        ("POST", "/v1/jobs/{id}/cancel"),
        ("GET", "/v1/stream"),
        ("POST", "/v1/messages"),
    ] {
        // Who it is comes before everything else, even an id that is not text.
        let at = path.replace("{id}", "%FF");
        let asked = || request(&it.app, method.parse().unwrap(), &at).body("no JSON");
        assert_eq!(it.told(path, asked()).await.status, 401);
        let wrong = asked().bearer_auth("none-that-is-valid");
        assert_eq!(it.told(path, wrong).await.status, 401);
    }
    for (path, most) in [
        ("GET /v1/jobs", 1 << 20),
        ("GET /v1/jobs/{id}", 1 << 20),
        ("GET /v1/openapi.json", 1 << 20),
        ("POST /v1/jobs/{id}/cancel", 1 << 20),
        ("POST /v1/messages", 64 << 10),
        ("POST /v1/frames", 14 << 20),
    ] {
        let (method, path) = path.split_once(' ').unwrap();
        let at = path.replace("{id}", "x");
        let asked = request(&it.app, method.parse().unwrap(), &at);
        let asked = match path {
            "/v1/messages" => asked.bearer_auth(SERVICE_TOKEN),
            _ => asked.bearer_auth(&it.token),
        };
        let large = asked.body(vec![b' '; most + 1]);
        assert_eq!(it.told(path, large).await.status, 413, "{path}");
    }
    let nothing = json!({});
    assert_eq!(it.submit(&nothing).await.status, 400);
    assert_eq!(it.fire(&nothing).await.status, 400);
}

/// The handshake of a WebSocket.
async fn sockets(told: &Described) {
    const PATH: &str = "/v1/proactive";
    let it = Tried::with(told, |settings| settings.max_sessions_per_user = "1".into()).await;
    let plain = it.user(Method::GET, PATH);
    assert_eq!(it.told(PATH, plain).await.status, 426);
    let unknown = it.upgrade().header("sec-websocket-protocol", "chat");
    assert_eq!(it.told(PATH, unknown).await.status, 400);
    let stranger = it.upgrade().header("origin", "https://evil.test");
    assert_eq!(it.told(PATH, stranger).await.status, 403);
    let nobody = request(&it.app, Method::GET, PATH).headers({
        let asked = it.upgrade().build().unwrap();
        let mut headers = asked.headers().clone();
        headers.remove("authorization");
        headers
    });
    assert_eq!(it.told(PATH, nobody).await.status, 401);
    let open = it.upgrade().send().await.unwrap();
    assert_eq!(open.status(), 101);
    let seen = Answer {
        status: 101,
        headers: open.headers().clone(),
        text: String::new(),
    };
    told.allows("get", PATH, &seen);
    assert_eq!(it.told(PATH, it.upgrade()).await.status, 429);
    assert_eq!(it.get("/v1/stream", "").await.status, 429);
    drop(open);
}

/// Users and servers that have enough.
async fn limits(told: &Described) {
    let it = Tried::with(told, |settings| {
        settings.max_sessions = "1".into();
        settings.work.max_jobs = "2".into();
        settings.work.max_jobs_per_user = "1".into();
    })
    .await;
    it.app.model.usually([Move::hang()]);
    assert_eq!(it.submit(&frame("1", "x")).await.status, 202);
    let answer = it.submit(&frame("2", "x")).await;
    assert_eq!(answer.json()["type"], "urn:proactive:too-many-jobs");
    for (user, status) in [("another", 202), ("a-third", 503)] {
        let token = it.app.service.token(user);
        let asked = request(&it.app, Method::POST, "/v1/frames").bearer_auth(token);
        let asked = asked.body(frame("3", "x").to_string());
        assert_eq!(it.told("/v1/frames", asked).await.status, status);
    }
    let _desk = it.app.greeted().await;
    assert_eq!(it.get("/v1/stream", "").await.status, 503);
    assert_eq!(it.told("/v1/proactive", it.upgrade()).await.status, 503);

    let it = Tried::with(told, |settings| settings.frames_per_minute = "1".into()).await;
    it.app.model.usually([Move::hang()]);
    it.submit(&frame("1", "x")).await;
    let answer = it.submit(&frame("2", "x")).await;
    assert_eq!(answer.json()["type"], "urn:proactive:too-many-frames");

    // The same word where the body has no room, and where the frame has none.
    let few = TestApp::new().tweak(|config| config.limits.bytes_per_user = 16 << 10);
    let app = few.start().await;
    let it = Tried {
        token: app.service.token(USER),
        app,
        described: told,
    };
    for filling in [0, 100_000] {
        let mut asked = frame("1", "x");
        asked["frame"]["window_title"] = "x".repeat(filling).into();
        let answer = it.submit(&asked).await;
        assert_eq!(answer.status, 429, "{}", answer.text);
        assert_eq!(answer.json()["type"], "urn:proactive:overloaded");
    }
}

/// A user who does not wait for answers.
async fn calls_at_once(told: &Described) {
    let it = Tried::with(told, |_| {}).await;
    let address = it.app.service.server.http_addr();
    let begun = format!(
        "POST /v1/frames HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\
         content-length: 100\r\n\r\n",
        it.token
    );
    let mut calls = Vec::new();
    for _ in 0..16 {
        let mut call = TcpStream::connect(address).await.unwrap();
        call.write_all(begun.as_bytes()).await.unwrap();
        calls.push(call);
    }
    let refused = async {
        while it.get("/v1/jobs", "").await.status != 429 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, refused).await.unwrap();
    let answer = it.submit(&frame("1", "x")).await;
    assert_eq!(answer.json()["type"], "urn:proactive:too-many-calls");
    assert_eq!(it.job("x").await.status, 429);
    assert_eq!(it.cancel("x").await.status, 429);
    let another = it.app.service.token("another");
    let asked = request(&it.app, Method::GET, "/v1/jobs").bearer_auth(another);
    assert_eq!(it.told("/v1/jobs", asked).await.status, 200);
    drop(calls);
    let taken = async {
        while it.get("/v1/jobs", "").await.status != 200 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, taken).await.unwrap();
}
