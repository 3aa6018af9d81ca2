//! The stand-in over real HTTP: every scripted misbehaviour reaches a client
//! as it would from Google.
#![expect(
    clippy::unwrap_used,
    reason = "clippy sees tests only, not their helpers"
)]

use std::time::Duration;

use jiff::Timestamp;
use proactive::stand_in::{Call, KEY_ECHO, Move, Options, StandIn};
use proactive::world::World;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const PATH: &str = "/v1beta/models/gemini-3.5-flash-lite:generateContent";

/// A stand-in that is being served, and a client of it.
struct Served {
    stand_in: StandIn,
    base: String,
    http: reqwest::Client,
    stop: CancellationToken,
    server: JoinSet<std::io::Result<()>>,
}

impl Served {
    async fn new(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let stand_in = StandIn::new(options, World::fixed(Timestamp::UNIX_EPOCH, 1));
        let stop = CancellationToken::new();
        let mut server = JoinSet::new();
        server.spawn(stand_in.clone().serve(listener, stop.clone()));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            stand_in,
            base,
            http,
            stop,
            server,
        }
    }

    async fn playing(next: Move) -> Self {
        let served = Self::new(Options::default()).await;
        served.stand_in.script([next]);
        served
    }

    fn post(&self, body: &Value) -> reqwest::RequestBuilder {
        self.http
            .post(format!("{}{PATH}", self.base))
            .header("x-goog-api-key", "key-of-a-test")
            .body(body.to_string())
    }

    async fn ask(&self, body: &Value) -> (StatusCode, Value) {
        let response = self.post(body).send().await.unwrap();
        let status = response.status();
        (
            status,
            serde_json::from_slice(&response.bytes().await.unwrap()).unwrap(),
        )
    }
}

fn request(screen: &str) -> Value {
    let text = format!(
        "Today is Saturday, 2026-11-21. ⟦app⟧Slack⟦/app⟧ ⟦screen_text⟧{screen}⟦/screen_text⟧"
    );
    let names = [
        "search_similar",
        "search_keywords",
        "extract_task",
        "reject_task",
        "no_task_found",
    ];
    json!({
        "contents": [{"role": "user", "parts": [{"text": text}]}],
        "tools": [{"functionDeclarations": names.map(|name| json!({"name": name}))}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
    })
}

fn call(answer: &Value) -> &Value {
    &answer["candidates"][0]["content"]["parts"][0]["functionCall"]
}

/// Adds the model's turn and the answer to its call.
fn go_on(request: &mut Value, answer: &Value, response: Value) {
    let (id, name) = (&call(answer)["id"], &call(answer)["name"]);
    let part = json!({"functionResponse": {"id": id, "name": name, "response": response}});
    let contents = request["contents"].as_array_mut().unwrap();
    contents.push(answer["candidates"][0]["content"].clone());
    contents.push(json!({"role": "user", "parts": [part]}));
}

#[tokio::test]
async fn a12_a_request_on_screen_is_searched_for_and_then_extracted() {
    let served = Served::new(Options::default()).await;
    let mut body = request("Can you send the Berlin office the signed lease before Tuesday?");
    let (status, answer) = served.ask(&body).await;
    assert_eq!(status, 200);
    assert_eq!(call(&answer)["name"], "search_similar");
    assert_eq!(answer["modelVersion"], "stand-in-1");
    assert!(answer["usageMetadata"]["totalTokenCount"].as_u64().unwrap() > 50);
    go_on(
        &mut body,
        &answer,
        json!({"output": {"results": [], "count": 0}}),
    );
    let (_, answer) = served.ask(&body).await;
    assert_eq!(call(&answer)["name"], "search_keywords");
    go_on(
        &mut body,
        &answer,
        json!({"output": {"results": [], "count": 0}}),
    );
    let (_, answer) = served.ask(&body).await;
    assert_eq!(call(&answer)["name"], "extract_task");
    assert_eq!(
        call(&answer)["args"]["title"],
        "Send the Berlin office the signed lease before Tuesday"
    );
}

#[tokio::test]
async fn a_turn_sent_back_changed_is_refused_and_a_wrong_id_gets_an_empty_stop() {
    let served = Served::new(Options::default()).await;
    let mut body = request("Can you send the Berlin office the signed lease?");
    let (_, answer) = served.ask(&body).await;
    go_on(&mut body, &answer, json!({"output": {}}));

    let mut changed = body.clone();
    changed["contents"][1]["parts"][0]["functionCall"]["args"]["query"] = "x".into();
    let (status, refusal) = served.ask(&changed).await;
    assert_eq!(status, 400);
    assert_eq!(refusal["error"]["status"], "INVALID_ARGUMENT");

    let mut wrong = body.clone();
    wrong["contents"][2]["parts"][0]["functionResponse"]["id"] = "x".into();
    let (status, answer) = served.ask(&wrong).await;
    assert_eq!(status, 200);
    assert_eq!(answer["candidates"][0]["finishReason"], "STOP");
    assert!(answer["candidates"][0]["content"].get("parts").is_none());
}

#[tokio::test]
async fn a08_the_key_belongs_in_the_header_and_must_be_the_right_one() {
    let served = Served::new(Options {
        api_key: Some("the-right-one".into()),
        ..Options::default()
    })
    .await;
    let body = request("");
    let (status, refusal) = served.ask(&body).await;
    assert_eq!(status, 400);
    assert_eq!(refusal["error"]["details"][0]["reason"], "API_KEY_INVALID");
    assert!(!refusal.to_string().contains("key-of-a-test"));

    let ask = |path: &str, key: Option<&'static str>| {
        let post = served
            .http
            .post(format!("{}{path}", served.base))
            .body(body.to_string());
        let post = match key {
            Some(key) => post.header("x-goog-api-key", key),
            None => post,
        };
        async { post.send().await.unwrap().status().as_u16() }
    };
    let key = Some("the-right-one");
    assert_eq!(ask(PATH, key).await, 200);
    assert_eq!(ask(PATH, None).await, 403);
    assert_eq!(ask(&format!("{PATH}?key=the-right-one"), key).await, 400);
    assert_eq!(ask("/v9/models/gemini-x:generateContent", key).await, 404);
    assert_eq!(ask("/v1beta/models/gemini-x:countTokens", key).await, 404);
    assert_eq!(ask("/elsewhere", key).await, 404);
}

#[tokio::test]
async fn scripted_turns_arrive_as_they_were_written() {
    let calls = [
        Call::new("search_similar", json!({"query": "a"})).id("c1"),
        Call::new("extract_task", json!("not an object")),
    ];
    let table: Vec<(Move, &str, Value)> = vec![
        (
            Move::calls(calls),
            "/candidates/0/content/parts/1/functionCall/args",
            json!("not an object"),
        ),
        (
            Move::text("hello"),
            "/candidates/0/content/parts",
            json!([{"text": "hello"}]),
        ),
        (
            Move::parts([
                json!({"text": "t"}),
                Call::new("f", json!({})).signature("c2ln").into(),
            ]),
            "/candidates/0/content/parts/1/thoughtSignature",
            json!("c2ln"),
        ),
        (
            Move::call("f", json!({})).unsigned(),
            "/candidates/0/content/parts",
            json!([{"functionCall": {"name": "f", "args": {}}}]),
        ),
        (
            Move::empty(),
            "/candidates/0/content",
            json!({"role": "model"}),
        ),
        (
            Move::finish("SAFETY"),
            "/candidates",
            json!([{"index": 0, "finishReason": "SAFETY"}]),
        ),
        (
            Move::finish("BRAND_NEW"),
            "/candidates/0/finishReason",
            json!("BRAND_NEW"),
        ),
        (
            Move::call("f", json!({"cut": "of"})).finish_reason("MAX_TOKENS"),
            "/candidates/0/finishReason",
            json!("MAX_TOKENS"),
        ),
        (
            Move::blocked("SAFETY"),
            "/promptFeedback",
            json!({"blockReason": "SAFETY"}),
        ),
        (
            Move::rules().with("/future/deep", json!(1)),
            "/future",
            json!({"deep": 1}),
        ),
        (
            Move::text("x").with("/candidates", json!(7)),
            "/candidates",
            json!(7),
        ),
    ];
    let served = Served::new(Options::default()).await;
    for (next, pointer, expected) in table {
        served.stand_in.script([next.clone()]);
        let (status, answer) = served.ask(&request("")).await;
        assert_eq!(status, 200);
        assert_eq!(answer.pointer(pointer), Some(&expected), "{next:?}");
    }
    served
        .stand_in
        .script([Move::text("x").without("/usageMetadata")]);
    let (_, answer) = served.ask(&request("")).await;
    assert!(answer.get("usageMetadata").is_none());
    let first = |answer: &Value| answer["candidates"][0]["content"]["parts"][0].clone();
    served.stand_in.script([Move::call("f", json!({}))]);
    let (_, answer) = served.ask(&request("")).await;
    assert!(first(&answer)["thoughtSignature"].is_string());
}

#[tokio::test]
async fn a18_scripted_errors_have_googles_form() {
    let table: Vec<(Move, u16, &str, Value)> = vec![
        (
            Move::status(503),
            503,
            "/error/status",
            json!("UNAVAILABLE"),
        ),
        (
            Move::status(429)
                .retry_info("1.5s")
                .quota_failure("RequestsPerDay"),
            429,
            "/error/details/0/retryDelay",
            json!("1.5s"),
        ),
        (
            Move::status(429)
                .retry_info("1.5s")
                .quota_failure("RequestsPerDay"),
            429,
            "/error/details/1/violations/0/quotaId",
            json!("RequestsPerDay"),
        ),
        (
            Move::status(500).in_array(),
            500,
            "/0/error/code",
            json!(500),
        ),
        (
            Move::status(500).sent_as(200),
            200,
            "/error/code",
            json!(500),
        ),
        (
            Move::status(400).message(&format!("no such key: {KEY_ECHO}")),
            400,
            "/error/message",
            json!("no such key: key-of-a-test"),
        ),
    ];
    let served = Served::new(Options::default()).await;
    for (next, status, pointer, expected) in table {
        served.stand_in.script([next.clone()]);
        let (got, body) = served.ask(&request("")).await;
        assert_eq!(
            (got.as_u16(), body.pointer(pointer)),
            (status, Some(&expected)),
            "{next:?}"
        );
    }
    // The rules quote the screen; that must not make them tell the key.
    let (_, body) = served
        .ask(&request(&format!("please send {KEY_ECHO} to Anna")))
        .await;
    assert!(!body.to_string().contains("key-of-a-test"));
    let html = Move::raw(502, "<html>bad gateway</html>")
        .header("content-type", "text/html")
        .header("retry-after", "7");
    served.stand_in.script([html]);
    let response = served.post(&request("")).send().await.unwrap();
    assert_eq!(response.status(), 502);
    assert_eq!(response.headers()["content-type"], "text/html");
    assert_eq!(response.headers()["retry-after"], "7");
    assert_eq!(response.text().await.unwrap(), "<html>bad gateway</html>");
}

#[tokio::test]
async fn a_giant_body_arrives_whole_and_a_cut_one_does_not() {
    let padding = "x".repeat(3 << 20);
    let served = Served::playing(Move::text("t").with("/padding", json!(padding))).await;
    let (_, answer) = served.ask(&request("")).await;
    assert_eq!(answer["padding"].as_str().unwrap().len(), 3 << 20);

    served.stand_in.script([Move::text("cut off").cut()]);
    let response = served.post(&request("")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.is_err());
    // The next request gets a connection of its own.
    assert_eq!(served.ask(&request("")).await.0, 200);

    served.stand_in.script([Move::endless()]);
    let mut response = served.post(&request("")).send().await.unwrap();
    for _ in 0..1_000 {
        assert!(response.chunk().await.unwrap().is_some());
    }
}

#[tokio::test]
async fn what_is_usual_comes_in_turn_whenever_nothing_is_scripted() {
    let served = Served::new(Options::default()).await;
    let usual = [500, 503].map(Move::status);
    served.stand_in.usually(usual);
    served.stand_in.script([Move::text("x")]);
    for expected in [200, 500, 503, 500] {
        assert_eq!(served.ask(&request("")).await.0, expected);
    }
    served.stand_in.usually([]);
    assert_eq!(served.ask(&request("")).await.0, 200);
}

#[tokio::test]
async fn a_dropped_connection_has_no_answer() {
    for http2 in [false, true] {
        let mut served = Served::playing(Move::drop_connection()).await;
        if http2 {
            let client = reqwest::Client::builder()
                .no_proxy()
                .http2_prior_knowledge();
            served.http = client.build().unwrap();
        }
        let failed = served.post(&request("")).send().await.unwrap_err();
        assert!(failed.is_request(), "{failed:?}");
        assert_eq!(served.ask(&request("")).await.0, 200);
    }
}

#[tokio::test]
async fn a_hanging_answer_ends_when_its_client_goes_away_or_the_server_stops() {
    let mut served = Served::playing(Move::hang()).await;
    let mut traffic = served.stand_in.traffic();
    let body = request("");
    {
        let mut asking = std::pin::pin!(served.post(&body).send());
        tokio::select! {
            answer = &mut asking => panic!("answered: {answer:?}"),
            seen = traffic.wait_for(|traffic| traffic.open == 1) => drop(seen.unwrap()),
        }
    }
    traffic.wait_for(|traffic| traffic.open == 0).await.unwrap();

    served.stand_in.script([Move::hang()]);
    let stop = served.stop.clone();
    let stopping = async {
        traffic.wait_for(|traffic| traffic.open == 1).await.unwrap();
        stop.cancel();
    };
    let ((status, _), ()) = tokio::join!(served.ask(&body), stopping);
    assert_eq!(status, 503);
    served.server.join_next().await.unwrap().unwrap().unwrap();
    assert!(served.post(&body).send().await.is_err());
}

#[tokio::test]
async fn delays_add_up_and_the_rules_follow_the_script() {
    let served = Served::new(Options {
        latency: Duration::from_millis(20),
        ..Options::default()
    })
    .await;
    served
        .stand_in
        .script([Move::text("slow").after(Duration::from_millis(30))]);
    let before = tokio::time::Instant::now();
    served.ask(&request("")).await;
    assert!(before.elapsed() >= Duration::from_millis(50));
    assert_eq!(served.stand_in.unplayed(), 0);
    let (_, answer) = served.ask(&request("")).await;
    assert_eq!(call(&answer)["name"], "no_task_found");
}

#[tokio::test]
async fn requests_are_kept_up_to_a_bound_and_only_when_asked_for() {
    let silent = Served::new(Options::default()).await;
    silent.ask(&request("")).await;
    assert!(silent.stand_in.recorded().is_empty());

    let served = Served::new(Options {
        record: true,
        ..Options::default()
    })
    .await;
    for number in 0..260 {
        served.ask(&json!({"number": number})).await;
    }
    let recorded = served.stand_in.recorded();
    assert_eq!(recorded.len(), 256);
    assert_eq!(&recorded[0].body[..], br#"{"number":4}"#);
    assert_eq!(recorded[0].path, PATH);
    assert_eq!(recorded[0].headers["x-goog-api-key"], "key-of-a-test");
}

#[tokio::test]
async fn a_body_over_googles_limit_is_refused() {
    let served = Served::new(Options::default()).await;
    let body = json!({"contents": "x".repeat(20 << 20)});
    match served.post(&body).send().await {
        Ok(response) => assert_eq!(response.status(), 400),
        // The server may close before everything was sent.
        Err(failed) => assert!(failed.is_request(), "{failed:?}"),
    }
}

#[tokio::test]
async fn vertex_ai_is_at_a_path_of_its_own_and_takes_access_tokens_alone() {
    let served = Served::new(Options {
        api_key: Some("the-right-one".into()),
        ..Options::default()
    })
    .await;
    let status = async |version: &str, header: &'static str, value: &str| {
        let model = "projects/p/locations/eu/publishers/google/models/m:generateContent";
        let body = json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]});
        let post = served
            .http
            .post(format!("{}/{version}/{model}", served.base));
        let post = post.header(header, value).body(body.to_string());
        post.send().await.unwrap().status().as_u16()
    };
    let right = "Bearer the-right-one";
    assert_eq!(status("v1beta1", "authorization", right).await, 200);
    assert_eq!(status("v1", "authorization", right).await, 200);
    assert_eq!(status("v1beta", "authorization", right).await, 404);
    assert_eq!(status("v1", "authorization", "Bearer other").await, 401);
    assert_eq!(status("v1", "x-goog-api-key", "the-right-one").await, 401);
}
