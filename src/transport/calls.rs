//! What users ask for outside of sessions, checked field by field: jobs, and their
//! log. Every door has the same calls.

use futures::Stream;

use super::followers::{Followers, Said};
use super::proto;
use super::turns::{TooMany, Turns};
use super::wire::{inbound, log_events};
use crate::domain::{Frame, JobId, Principal, Uid};
use crate::events::{self, Key, Log, Submitted};
use crate::jobs::{Jobs, Refused};
use crate::session::{Full, Quota};

const KEY_BYTES: usize = 255;
const ID_BYTES: usize = 64;
const MOST_JOBS: usize = 100;
const USUAL_JOBS: usize = 20;

/// What the calls need; cheap to clone.
#[derive(Clone)]
pub struct Calls {
    /// Takes jobs and sees them through.
    pub jobs: Jobs,
    /// Every user's log.
    pub log: Log,
    /// Where streams take their places, and the bytes of frames.
    pub quota: Quota,
    /// Those who follow it.
    pub followers: Followers,
    /// The calls that are under way.
    pub turns: Turns,
}

/// Why a call fails. What it says is for clients.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// Something in it cannot be used: correct it.
    #[error("{0}")]
    Invalid(String),
    /// The user has no such job.
    #[error("There is no such job; jobs that have ended are kept only for a while.")]
    NoSuchJob,
    /// The job is not taken.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// No more streams may be open.
    #[error(transparent)]
    Full(#[from] Full),
    /// The user does not wait for answers.
    #[error(transparent)]
    Busy(#[from] TooMany),
    /// The log cannot be read or written.
    #[error(transparent)]
    Log(#[from] events::Error),
    /// Another server takes the call.
    #[error("The server is shutting down; reconnect.")]
    ShuttingDown,
}

impl Calls {
    pub(super) async fn submit(
        &self,
        user: &Uid,
        asked: proto::SubmitFrameRequest,
    ) -> Result<Submitted, Fault> {
        let proto::SubmitFrameRequest {
            frame,
            idempotency_key,
            utc_offset_minutes,
        } = asked;
        let sent = frame.ok_or_else(|| invalid("frame is missing."))?;
        let frame = inbound::frame(sent).map_err(|refusal| Fault::Invalid(refusal.message))?;
        let frame = Frame {
            utc_offset: utc_offset_minutes.and_then(inbound::utc_offset),
            ..frame
        };
        let key = key(idempotency_key)?;
        Ok(self.jobs.submit(user, frame, key).await?)
    }

    pub(super) async fn job(&self, user: &Uid, id: &str) -> Result<proto::Job, Fault> {
        let job = self.jobs.get(user, &job_id(id)?).await?;
        job.map(log_events::job).ok_or(Fault::NoSuchJob)
    }

    pub(super) async fn cancel(&self, user: &Uid, id: &str) -> Result<proto::Job, Fault> {
        let job = self.jobs.cancel(user, &job_id(id)?).await?;
        job.map(log_events::job).ok_or(Fault::NoSuchJob)
    }

    /// A page of the user's jobs, and the token of the next one.
    pub(super) async fn list(
        &self,
        user: &Uid,
        asked: proto::ListJobsRequest,
    ) -> Result<proto::ListJobsResponse, Fault> {
        let proto::ListJobsRequest {
            page_size,
            page_token,
        } = asked;
        let most = match usize::try_from(page_size).unwrap_or(1) {
            0 => USUAL_JOBS,
            size => size.min(MOST_JOBS),
        };
        let before = match page_token.is_empty() {
            true => None,
            false => {
                let last = JobId::new(page_token);
                // A page is named by the last job of the one before.
                let known =
                    last.as_str().len() <= ID_BYTES && self.jobs.get(user, &last).await?.is_some();
                if !known {
                    let message = "page_token is not one, or its job is kept no more; begin with \
                                   the first page.";
                    return Err(invalid(message));
                }
                Some(last)
            }
        };
        let mut jobs = self.jobs.list(user, before, most + 1).await?;
        let more = jobs.len() > most;
        jobs.truncate(most);
        let last = jobs.last().filter(|_| more);
        Ok(proto::ListJobsResponse {
            next_page_token: last.map(|job| job.id.to_string()).unwrap_or_default(),
            jobs: jobs.into_iter().map(log_events::job).collect(),
        })
    }

    pub(super) fn subscribe(
        &self,
        principal: &Principal,
        cursor: &str,
    ) -> Result<impl Stream<Item = Said> + use<>, Fault> {
        if self.followers.stopping.is_cancelled() {
            return Err(Fault::ShuttingDown);
        }
        let start = inbound::start(cursor).ok_or_else(|| {
            invalid("The cursor is none: send the cursor of a LogEvent, \"oldest\", or nothing.")
        })?;
        let seat = self.quota.open(&principal.uid)?;
        let subscription = self.log.subscribe(&principal.uid, start);
        Ok(self.followers.said(subscription, principal, seat))
    }
}

/// An idempotency key; empty is none.
pub(super) fn key(said: String) -> Result<Option<Key>, Fault> {
    match said.len() {
        0 => Ok(None),
        1..=KEY_BYTES => Ok(Some(Key::new(said))),
        size => Err(Fault::Invalid(format!(
            "idempotency_key has {size} bytes; at most {KEY_BYTES} are taken."
        ))),
    }
}

/// What is too long to be one of our ids is as good as unknown.
fn job_id(said: &str) -> Result<JobId, Fault> {
    match said.len() {
        0 => Err(invalid("job_id is missing.")),
        1..=ID_BYTES => Ok(JobId::new(said)),
        _ => Err(Fault::NoSuchJob),
    }
}

pub(super) fn invalid(message: &str) -> Fault {
    Fault::Invalid(message.to_owned())
}
