//! Jobs, a user's log and messages over HTTP: the calls of the gRPC door, in JSON under
//! the contract's names. `openapi.json` describes them.

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use http::header::{AUTHORIZATION, LOCATION};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::asked::{Call, WhichJob};
use super::body::Text;
use super::{follow, in_time, openapi};
use crate::events::Submitted;
use crate::transport::calls::invalid;
use crate::transport::door::Door;
use crate::transport::problem::Problem;
use crate::transport::wire::log_events;

use crate::transport::json::{self, Job};
use crate::transport::proto;
use crate::transport::websocket::{self, Site};

/// The largest message to a user, in bytes: far more than its fields may have.
const MAX_SMALL_BODY: usize = 64 << 10;

/// A path, and what is done there by which method.
pub(super) type Route = (&'static str, fn() -> MethodRouter<Site>);

/// What is answered at once.
pub(super) const PAGES: &[Route] = &[
    ("/v1/jobs", || get(jobs)),
    ("/v1/jobs/{id}", || get(job)),
    ("/v1/jobs/{id}/cancel", || post(cancel)),
    ("/v1/openapi.json", || get(openapi::document)),
];

/// What takes its time, or reads a body.
pub(super) const STREAMS: &[Route] = &[
    ("/v1/frames", || post(submit)),
    ("/v1/messages", || post(fire)),
    ("/v1/stream", || get(follow::follow)),
    (websocket::PATH, || get(websocket::upgrade)),
];

/// All of these.
pub(super) fn router(routes: &[Route]) -> Router<Site> {
    let add = |router: Router<Site>, (path, methods): &Route| router.route(path, methods());
    routes.iter().fold(Router::new(), add)
}

async fn submit(
    State(door): State<Door>,
    Call { user, turn }: Call,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let account = door.lobby.quota().account(&user);
    let mut body = Text::read(body, websocket::MAX_MESSAGE, &account).await?;
    let held = body.take_held();
    let asked = json::submission(body.text()?, held)?;
    drop(body);
    let Submitted { job, repeated } = in_time(door.calls.submit(&user, asked)).await??;
    let job = Job::from(log_events::job(job));
    let status = match repeated {
        true => StatusCode::OK,
        false => StatusCode::ACCEPTED,
    };
    let place = [(LOCATION, format!("/v1/jobs/{}", job.id()))];
    Ok((status, turn, place, Json(job)))
}

async fn job(
    State(door): State<Door>,
    Call { user, turn }: Call,
    WhichJob(id): WhichJob,
) -> Result<impl IntoResponse, Problem> {
    let job = Job::from(door.calls.job(&user, &id).await?);
    Ok((turn, Json(job)))
}

async fn cancel(
    State(door): State<Door>,
    Call { user, turn }: Call,
    WhichJob(id): WhichJob,
) -> Result<impl IntoResponse, Problem> {
    let job = Job::from(door.calls.cancel(&user, &id).await?);
    Ok((turn, Json(job)))
}

/// Which of the user's jobs.
#[derive(Deserialize)]
struct Page {
    page_size: Option<i32>,
    page_token: Option<String>,
}

#[derive(Serialize)]
struct Jobs {
    jobs: Vec<Job>,
    next_page_token: String,
}

async fn jobs(
    State(door): State<Door>,
    Call { user, turn }: Call,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Query(page) = page.map_err(|_| invalid("page_size is no whole number, or there twice."))?;
    let asked = proto::ListJobsRequest {
        page_size: page.page_size.unwrap_or_default(),
        page_token: page.page_token.unwrap_or_default(),
    };
    let proto::ListJobsResponse {
        jobs,
        next_page_token,
    } = door.calls.list(&user, asked).await?;
    let jobs = jobs.into_iter().map(Into::into).collect();
    let page = Jobs {
        jobs,
        next_page_token,
    };
    Ok((turn, Json(page)))
}

/// A message to a user.
#[derive(Deserialize)]
struct Fire {
    uid: Option<String>,
    kind: Option<String>,
    title: Option<String>,
    body: Option<String>,
    data: Option<Box<RawValue>>,
    expires_at: Option<String>,
    idempotency_key: Option<String>,
}

#[derive(Serialize)]
struct Fired {
    message_id: String,
    cursor: String,
    repeated: bool,
    listeners: i32,
}

async fn fire(
    State(door): State<Door>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let said = headers.get(AUTHORIZATION);
    door.post.admit(said.and_then(|said| said.to_str().ok()))?;
    let body = Text::read_small(body, MAX_SMALL_BODY).await?;
    let fire: Fire = json::object(body.text()?)?;
    let proto::FireResponse {
        message_id,
        cursor,
        repeated,
        listeners,
    } = in_time(door.post.fire(fire.try_into()?)).await??;
    let status = match repeated {
        true => StatusCode::OK,
        false => StatusCode::CREATED,
    };
    let fired = Fired {
        message_id,
        cursor,
        repeated,
        listeners,
    };
    Ok((status, Json(fired)).into_response())
}

impl TryFrom<Fire> for proto::FireRequest {
    type Error = Problem;

    fn try_from(said: Fire) -> Result<Self, Problem> {
        let time = said.expires_at.map(|text| text.parse::<Timestamp>());
        let time = time.transpose();
        let time = time.map_err(|_| invalid("expires_at is no time as RFC 3339 writes it."))?;
        Ok(Self {
            uid: said.uid.unwrap_or_default(),
            kind: said.kind.unwrap_or_default(),
            title: said.title.unwrap_or_default(),
            body: said.body.unwrap_or_default(),
            data: said
                .data
                .map(|data| data.get().to_owned())
                .unwrap_or_default(),
            expires_at: time.map(|time| prost_types::Timestamp {
                seconds: time.as_second(),
                nanos: time.subsec_nanosecond(),
            }),
            idempotency_key: said.idempotency_key.unwrap_or_default(),
        })
    }
}
