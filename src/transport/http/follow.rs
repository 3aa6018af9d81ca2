//! A user's log as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>): each has the
//! cursor as its id, with which a client comes back.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::sse::{Event, Sse};
use futures::{Stream, StreamExt};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName};
use serde::{Deserialize, Serialize};

use super::asked::User;
use crate::transport::calls::invalid;
use crate::transport::door::Door;
use crate::transport::followers::{End, Said};
use crate::transport::json::LogEvent;
use crate::transport::problem::Problem;
use crate::transport::wire::log_events;
use crate::world::World;

/// What a browser sends when it comes back by itself.
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells nginx to hand on each event as it comes.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// How long a browser waits before that.
const RETRY: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
pub(super) struct Since {
    since: Option<String>,
}

/// A sign of life.
#[derive(Serialize)]
struct Heartbeat {
    sent_at: String,
}

/// The last word.
#[derive(Serialize)]
struct GoAway {
    reason: &'static str,
}

/// What is told to nobody else, and kept by nobody on its way.
type Told<S> = ([(HeaderName, &'static str); 2], Sse<S>);

pub(super) async fn follow(
    State(door): State<Door>,
    User(principal): User,
    headers: HeaderMap,
    since: Result<Query<Since>, QueryRejection>,
) -> Result<Told<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let Query(Since { since }) = since.map_err(|_| invalid("since is there twice."))?;
    // Newer than the address, which stays the same when a browser comes back.
    let last = headers.get(LAST_EVENT_ID).map(|id| id.to_str());
    let last = last.transpose();
    let last = last.map_err(|_| invalid("Last-Event-ID is no cursor."))?;
    let last = last.filter(|id| !id.is_empty());
    let cursor = last.or(since.as_deref()).unwrap_or_default();
    let said = door.calls.subscribe(&principal, cursor)?;
    let world = door.calls.followers.world.clone();
    let events = said.enumerate().map(move |(number, said)| {
        let event = event(said, &world);
        Ok(match number {
            0 => event.retry(RETRY),
            _ => event,
        })
    });
    let headers = [(CACHE_CONTROL, "no-store"), (X_ACCEL_BUFFERING, "no")];
    Ok((headers, Sse::new(events)))
}

fn event(said: Said, world: &World) -> Event {
    match said {
        Said::News(news) => {
            let news = LogEvent::from(log_events::event(news));
            let event = Event::default().event(news.name());
            let event = match news.cursor() {
                "" => event,
                cursor => event.id(cursor),
            };
            with(event, &news)
        }
        Said::Heartbeat => {
            let sent_at = world.now().to_string();
            with(Event::default().event("heartbeat"), &Heartbeat { sent_at })
        }
        Said::End(end) => {
            let reason = match end {
                End::Drained => "The server is shutting down; come back with the last id.",
                End::Slow => "The stream was left unread for too long; come back with the last id.",
                End::Expired => {
                    "The stream has grown too old; come back with a fresh token and the last id."
                }
                End::Unreadable => {
                    "The log cannot be read just now; come back later with the last id."
                }
            };
            with(Event::default().event("go_away"), &GoAway { reason })
        }
    }
}

fn with(event: Event, data: &impl Serialize) -> Event {
    let written = event.json_data(data);
    written.expect("texts, numbers and JSON can be written, on one line")
}
