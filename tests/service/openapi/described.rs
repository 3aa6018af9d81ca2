//! The description of the HTTP door, and what of a server's answers it allows.

use std::cell::RefCell;
use std::collections::BTreeSet;

use jsonschema::Draft;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Map, Value, json};

use crate::support::App;

/// An answer that was read to its end.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) async fn of(response: Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }
}

/// What the server says of itself, and what of that has been seen.
pub(super) struct Described {
    document: Value,
    /// "get /v1/jobs 200", and "get /v1/stream 200 job" for an event.
    seen: RefCell<BTreeSet<String>>,
}

impl Described {
    pub(super) async fn by(app: &App) -> Self {
        let answer = request(app, Method::GET, "/v1/openapi.json").send().await;
        let answer = Answer::of(answer.unwrap()).await;
        let document = answer.json();
        let described = Self {
            document,
            seen: RefCell::default(),
        };
        described.allows("get", "/v1/openapi.json", &answer);
        described
    }

    pub(super) fn document(&self) -> &Value {
        &self.document
    }

    /// Every path with the methods it takes.
    pub(super) fn paths(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        let paths = self.document["paths"].as_object().unwrap();
        paths.iter().map(|(path, item)| {
            let words = item.as_object().unwrap().keys().map(String::as_str);
            (
                path.as_str(),
                words.filter(|it| *it != "parameters").collect(),
            )
        })
    }

    /// Fails unless this is an answer that the endpoint may give.
    pub(super) fn allows(&self, method: &str, path: &str, answer: &Answer) {
        let said = format!("{method} {path} {}: {}", answer.status, answer.text);
        let id = answer.header("x-request-id");
        assert!((1..=128).contains(&id.len()), "{said}");
        let operation = &self.document["paths"][path][method];
        let response = &operation["responses"][answer.status.to_string()];
        assert!(response.is_object(), "not described: {said}");
        let response = self.resolved(response);
        for (name, header) in object(&response["headers"]) {
            let header = self.resolved(header);
            let is_there = answer.headers.contains_key(name.as_str());
            assert!(is_there, "{name} is missing: {said}");
            self.fits(&header["schema"], &answer.header(name).into(), &said);
        }
        match object(&response["content"]).next() {
            None => assert_eq!(answer.text, "", "{said}"),
            Some((kind, content)) => {
                assert_eq!(answer.header("content-type"), kind, "{said}");
                if kind == "text/event-stream" {
                    for event in answer.text.split_terminator("\n\n") {
                        self.allows_event(method, path, &content["x-events"], event);
                    }
                } else {
                    let body = answer.json();
                    self.fits(&content["schema"], &body, &said);
                    if kind == "application/problem+json" {
                        let name = body["type"].as_str().unwrap();
                        let why = response["description"].as_str().unwrap();
                        assert!(
                            why.contains(&format!("`{name}`")),
                            "not its problem: {said}"
                        );
                    }
                }
            }
        }
        self.see(format!("{method} {path} {}", answer.status));
    }

    fn allows_event(&self, method: &str, path: &str, kinds: &Value, event: &str) {
        let field = |name: &str| {
            let mut lines = event.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let name = field("event").expect(event);
        assert!(kinds[name].is_object(), "not described: {event}");
        let data: Value = serde_json::from_str(field("data").unwrap()).unwrap();
        self.fits(&kinds[name], &data, event);
        let cursor = data["cursor"].as_str().filter(|it| !it.is_empty());
        assert_eq!(field("id"), cursor, "{event}");
        self.see(format!("{method} {path} 200 {name}"));
    }

    /// Whether a request's body is as is described.
    pub(super) fn takes(&self, method: &str, path: &str, body: &Value) -> bool {
        let operation = &self.document["paths"][path][method];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        self.judge(schema, body).is_ok()
    }

    fn fits(&self, schema: &Value, value: &Value, said: &str) {
        if let Err(wrong) = self.judge(schema, value) {
            panic!("{wrong}\nin {said}");
        }
    }

    fn judge(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let mut components = self.document["components"].clone();
        components["schemas"]
            .as_object_mut()
            .unwrap()
            .values_mut()
            .for_each(close);
        let whole = json!({ "allOf": [schema], "components": components });
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            .build(&whole)
            .unwrap();
        let wrong = validator.iter_errors(value);
        let wrong: Vec<_> = wrong
            .map(|it| format!("{} at {}", it, it.instance_path()))
            .collect();
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(wrong.join("\n")),
        }
    }

    fn resolved<'a>(&'a self, said: &'a Value) -> &'a Value {
        match said["$ref"].as_str() {
            Some(place) => self.document.pointer(&place[1..]).expect(place),
            None => said,
        }
    }

    fn see(&self, what: String) {
        self.seen.borrow_mut().insert(what);
    }

    /// Every answer and event that is described and was not seen.
    pub(super) fn unseen(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (path, methods) in self.paths() {
            for method in methods {
                let responses = &self.document["paths"][path][method]["responses"];
                for (status, response) in object(responses) {
                    let it = format!("{method} {path} {status}");
                    let events = &response["content"]["text/event-stream"]["x-events"];
                    all.extend(object(events).map(|(name, _)| format!("{it} {name}")));
                    all.push(it);
                }
            }
        }
        let seen = self.seen.borrow();
        all.retain(|it| !seen.contains(it));
        all
    }
}

/// Fields that are not described are mistakes here: clients are to pass them over,
/// and the server is not to say them.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(words) => {
            if words.get("type") == Some(&json!("object")) && words.contains_key("properties") {
                words.insert("additionalProperties".to_owned(), false.into());
            }
            words.values_mut().for_each(close);
        }
        Value::Array(all) => all.iter_mut().for_each(close),
        _ => {}
    }
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// A request without a token.
pub(super) fn request(app: &App, method: Method, path: &str) -> RequestBuilder {
    let url = format!("http://{}{path}", app.service.server.http_addr());
    Client::new().request(method, url)
}
