//! What is asked for outside of sessions, at the HTTP door; answered in gRPC's words.

use proactive::transport::proto::subscribe_response::Event;
use proactive::transport::proto::{
    FireRequest, FireResponse, Job, ListJobsRequest, ListJobsResponse, ServerHeartbeat,
    SubmitFrameRequest, SubmitFrameResponse,
};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tonic::Status;

use super::json::{frame_event, number, text, written};
use super::json_log::{job, log_event};

/// A client with one token.
pub struct Http {
    client: Client,
    base: String,
    token: String,
}

impl Http {
    pub fn new(base: String, token: String) -> Self {
        Self::with(Client::new(), base, token)
    }

    pub fn with(client: Client, base: String, token: String) -> Self {
        Self {
            client,
            base,
            token,
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.base);
        self.client.request(method, url).bearer_auth(&self.token)
    }

    pub async fn submit(&self, asked: &SubmitFrameRequest) -> Result<SubmitFrameResponse, Status> {
        let body = json!({
            "frame": asked.frame.as_ref().map(frame_event),
            "idempotency_key": asked.idempotency_key,
            "utc_offset_minutes": asked.utc_offset_minutes,
        });
        let response = self
            .request(Method::POST, "/v1/frames")
            .body(body.to_string());
        let response = good(response).await?;
        let repeated = response.status() == 200;
        let place = response.headers()["location"].to_str().unwrap().to_owned();
        let job = job(&json_of(response).await?);
        assert_eq!(place, format!("/v1/jobs/{}", job.job_id));
        Ok(SubmitFrameResponse {
            job: Some(job),
            repeated,
        })
    }

    pub async fn job(&self, id: &str) -> Result<Job, Status> {
        let request = self.request(Method::GET, &format!("/v1/jobs/{id}"));
        Ok(job(&json_of(good(request).await?).await?))
    }

    pub async fn cancel(&self, id: &str) -> Result<Job, Status> {
        let request = self.request(Method::POST, &format!("/v1/jobs/{id}/cancel"));
        Ok(job(&json_of(good(request).await?).await?))
    }

    pub async fn list(&self, asked: &ListJobsRequest) -> Result<ListJobsResponse, Status> {
        let (size, token) = (asked.page_size, &asked.page_token);
        let path = format!("/v1/jobs?page_size={size}&page_token={token}");
        let told = json_of(good(self.request(Method::GET, &path)).await?).await?;
        let jobs = told["jobs"].as_array().unwrap().iter();
        Ok(ListJobsResponse {
            jobs: jobs.map(job).collect(),
            next_page_token: text(&told, "next_page_token"),
        })
    }

    pub async fn fire(&self, asked: &FireRequest) -> Result<FireResponse, Status> {
        let data = match asked.data.as_str() {
            "" => "null",
            data => data,
        };
        let rest = json!({
            "uid": asked.uid,
            "kind": asked.kind,
            "title": asked.title,
            "body": asked.body,
            "expires_at": written(&asked.expires_at),
            "idempotency_key": asked.idempotency_key,
        });
        let rest = rest.to_string();
        let body = format!("{{\"data\":{data},{}", &rest[1..]);
        let response = good(self.request(Method::POST, "/v1/messages").body(body)).await?;
        let status = response.status().as_u16();
        let told = json_of(response).await?;
        let repeated = told["repeated"].as_bool().unwrap();
        assert_eq!(status, if repeated { 200 } else { 201 });
        Ok(FireResponse {
            message_id: text(&told, "message_id"),
            cursor: text(&told, "cursor"),
            repeated,
            listeners: number(&told, "listeners") as i32,
        })
    }

    /// Follows the log from a cursor, as a browser that comes back if `again`.
    pub async fn follow(&self, cursor: &str, again: bool) -> Result<Events, Status> {
        let request = match again {
            true => self
                .request(Method::GET, "/v1/stream")
                .header("last-event-id", cursor),
            false => {
                let cursor: String = url_encoded(cursor);
                self.request(Method::GET, &format!("/v1/stream?since={cursor}"))
            }
        };
        let response = good(request).await?;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let unread = Vec::new();
        Ok(Events { response, unread })
    }
}

/// Server-sent events.
pub struct Events {
    response: Response,
    unread: Vec<u8>,
}

impl Events {
    /// The next event, or how the stream ended.
    pub async fn next(&mut self) -> Result<Option<Event>, Status> {
        let end = loop {
            let end = self.unread.windows(2).position(|two| two == b"\n\n");
            if let Some(end) = end {
                break end;
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.unread.extend_from_slice(&chunk),
                Ok(None) => return Ok(None),
                Err(error) => return Err(broken(error)),
            }
        };
        let event: Vec<u8> = self.unread.drain(..end + 2).collect();
        let event = String::from_utf8(event).unwrap();
        let field = |name: &str| {
            let mut lines = event.lines();
            lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
        };
        let data: Value = serde_json::from_str(field("data").unwrap()).unwrap();
        match field("event").unwrap() {
            "heartbeat" => {
                assert!(data["sent_at"].is_string());
                Ok(Some(Event::Heartbeat(ServerHeartbeat::default())))
            }
            "go_away" => Err(Status::unavailable(text(&data, "reason"))),
            name => {
                let told = log_event(&data);
                assert_eq!(
                    (name, field("id")),
                    (
                        data["event"].as_str().unwrap(),
                        Some(told.cursor.as_str()).filter(|cursor| !cursor.is_empty()),
                    )
                );
                Ok(Some(Event::LogEvent(told)))
            }
        }
    }
}

/// The answer, if it is a good one.
async fn good(request: RequestBuilder) -> Result<Response, Status> {
    let response = request.send().await.map_err(broken)?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let problem = json_of(response).await?;
    assert_eq!(problem["status"], status.as_u16());
    let detail = text(&problem, "detail");
    Err(match status.as_u16() {
        400 | 413 => Status::invalid_argument(detail),
        401 => Status::unauthenticated(detail),
        404 => Status::not_found(detail),
        429 => Status::resource_exhausted(detail),
        503 => Status::unavailable(detail),
        other => panic!("{other}: {detail}"),
    })
}

async fn json_of(response: Response) -> Result<Value, Status> {
    let text = response.text().await.map_err(broken)?;
    Ok(serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}")))
}

/// The server has gone, as gRPC tells it.
fn broken(error: reqwest::Error) -> Status {
    Status::unavailable(error.to_string())
}

fn url_encoded(text: &str) -> String {
    let bytes = text.bytes();
    bytes.map(|byte| format!("%{byte:02X}")).collect()
}
