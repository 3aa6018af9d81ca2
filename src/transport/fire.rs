//! Messages from the operator's programs to a user, checked field by field.

use jiff::Timestamp;
use serde::de::IgnoredAny;

use super::calls::{self, Fault, invalid};
use super::{json, proto};
use crate::auth::{NotAdmitted, ServiceTokens};
use crate::domain::{Event, Message, MessageId, Uid};
use crate::events::Log;
use crate::world::World;

const UID_CHARS: usize = 128;
const KIND_CHARS: usize = 64;
const TITLE_CHARS: usize = 200;
const BODY_CHARS: usize = 4_000;
const DATA_BYTES: usize = 16 << 10;
/// As deep as it may be in a message in JSON, which is a level around it.
const DATA_DEPTH: usize = json::MAX_DEPTH - 1;

/// Takes messages in; cheap to clone.
#[derive(Clone)]
pub struct Post {
    /// Who may send.
    pub tokens: ServiceTokens,
    /// Where messages go.
    pub log: Log,
    /// Time and ids.
    pub world: World,
}

impl Post {
    /// Judges who sends.
    pub(super) fn admit(&self, authorization: Option<&str>) -> Result<(), NotAdmitted> {
        self.tokens.admit(authorization)
    }

    pub(super) async fn fire(
        &self,
        sent: proto::FireRequest,
    ) -> Result<proto::FireResponse, Fault> {
        let proto::FireRequest {
            uid,
            kind,
            title,
            body,
            data,
            expires_at,
            idempotency_key,
        } = sent;
        let uid = user(uid)?;
        let now = self.world.now();
        let message = Message {
            id: MessageId::new(self.world.uuid()),
            kind: self::kind(kind)?,
            title: between("title", title, 1, TITLE_CHARS)?,
            body: between("body", body, 0, BODY_CHARS)?,
            data: self::data(data)?,
            sent_at: now,
            expires_at: expires_at.map(|at| expiry(at, now)).transpose()?,
        };
        let key = calls::key(idempotency_key)?;
        let id = message.id.clone();
        let event = Event::Message(Box::new(message));
        let appended = self.log.append(&uid, event, key).await?;
        let repeated = appended.earlier.is_some();
        let listeners = if repeated { 0 } else { appended.followers };
        let id = appended.earlier.unwrap_or(id);
        tracing::info!(user.id = %uid, message.id = %id, repeated, listeners, "message");
        Ok(proto::FireResponse {
            message_id: id.to_string(),
            cursor: appended.cursor.to_string(),
            repeated,
            listeners: i32::try_from(listeners).unwrap_or(i32::MAX),
        })
    }
}

fn user(uid: String) -> Result<Uid, Fault> {
    let uid = between("uid", uid, 1, UID_CHARS)?;
    match uid.chars().any(char::is_control) {
        true => Err(invalid("uid has a control character.")),
        false => Ok(Uid::new(uid)),
    }
}

fn kind(kind: String) -> Result<String, Fault> {
    let of_kind = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
    match kind.chars().all(of_kind) {
        true => between("kind", kind, 1, KIND_CHARS),
        false => Err(invalid("kind may have a-z, 0-9, '.', '_' and '-' only.")),
    }
}

fn between(name: &str, text: String, least: usize, most: usize) -> Result<String, Fault> {
    match text.chars().count() {
        0 if least > 0 => Err(Fault::Invalid(format!("{name} is missing."))),
        count if count > most => Err(Fault::Invalid(format!(
            "{name} has {count} characters; at most {most} are taken."
        ))),
        _ => Ok(text),
    }
}

/// JSON, on one line: streams of events are read line by line.
fn data(data: String) -> Result<String, Fault> {
    if data.is_empty() {
        return Ok(data);
    }
    match data.len() {
        ..=DATA_BYTES => {}
        size => {
            return Err(Fault::Invalid(format!(
                "data has {size} bytes; at most {DATA_BYTES} are taken."
            )));
        }
    }
    if !json::nests_at_most(&data, DATA_DEPTH) {
        return Err(Fault::Invalid(format!(
            "data is nested too deeply; at most {DATA_DEPTH} levels are taken."
        )));
    }
    match serde_json::from_str::<IgnoredAny>(&data) {
        Ok(_) => Ok(json::on_one_line(&data)),
        Err(wrong) => Err(Fault::Invalid(format!(
            "data is not JSON: line {}, column {}.",
            wrong.line(),
            wrong.column()
        ))),
    }
}

fn expiry(at: prost_types::Timestamp, now: Timestamp) -> Result<Timestamp, Fault> {
    let at = Timestamp::new(at.seconds, at.nanos);
    let at = at.map_err(|_| invalid("expires_at is no time."))?;
    match at > now {
        true => Ok(at),
        false => Err(invalid("expires_at is in the past.")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::events::Options;
    use crate::telemetry::Metrics;

    #[tokio::test]
    async fn a_repeated_message_is_logged_under_the_id_that_it_has() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let writer = Arc::new(log.reopen().unwrap());
        let subscriber = tracing_subscriber::fmt().with_ansi(false);
        let subscriber = subscriber.with_writer(writer).finish();
        let _logging = tracing::subscriber::set_default(subscriber);
        let world = World::real();
        let post = Post {
            tokens: ServiceTokens::default(),
            log: Log::in_memory(Options::default(), world.clone(), Metrics::new()),
            world,
        };
        let sent = proto::FireRequest {
            uid: "ada".to_owned(),
            kind: "news".to_owned(),
            title: "Q3".to_owned(),
            idempotency_key: "report-7".to_owned(),
            ..proto::FireRequest::default()
        };
        let first = post.fire(sent.clone()).await.unwrap_or_else(|_| panic!());
        let again = post.fire(sent).await.unwrap_or_else(|_| panic!());
        assert!(again.repeated);
        let said = std::fs::read_to_string(log.path()).unwrap();
        let id = format!("message.id={} ", first.message_id);
        assert_eq!(said.matches(&id).count(), 2, "{said}");
    }
}
