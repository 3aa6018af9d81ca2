//! `proactive.v1.Jobs`, `Events` and `Messages`: calls in gRPC's words.

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status};

use super::messages::{self, RawBody};
use crate::domain::{Principal, Uid};
use crate::events::Submitted;
use crate::jobs::Refused;
use crate::session::{Full, Refusal, RefusalCode};
use crate::transport::arriving::MAX_MESSAGE;
use crate::transport::calls::{Calls, Fault};
use crate::transport::fire::Post;
use crate::transport::followers::{End, Said};
use crate::transport::proto;
use crate::transport::proto::events_server::Events;
use crate::transport::proto::jobs_server::Jobs;
use crate::transport::proto::messages_server::Messages;
use crate::transport::proto::subscribe_response::Event;
use crate::transport::turns::Turn;
use crate::transport::wire::endings::timestamp;
use crate::transport::wire::{inbound, log_events};
use crate::world::World;

/// `proactive.v1.Jobs` and `proactive.v1.Events`.
#[derive(Clone)]
pub(super) struct CallsDoor(pub(super) Calls);

impl CallsDoor {
    fn turn(&self, user: &Uid) -> Result<Turn, Status> {
        self.0.turns.take(user).map_err(|many| status(many.into()))
    }
}

/// The answer to a call, whose turn lasts until it has been taken.
fn answer<T>(turn: Turn, message: T) -> Response<T> {
    let mut response = Response::new(message);
    response.extensions_mut().insert(turn);
    response
}

#[tonic::async_trait]
impl Jobs for CallsDoor {
    /// The message is read from the `RawBody`; tonic's reader got an empty one.
    async fn submit_frame(
        &self,
        request: Request<proto::SubmitFrameRequest>,
    ) -> Result<Response<proto::SubmitFrameResponse>, Status> {
        let (_, mut extensions, _) = request.into_parts();
        let uid = principal(&extensions)?.uid;
        let turn = self.turn(&uid)?;
        let body = extensions.remove::<RawBody>().and_then(|raw| raw.take());
        let body = body.ok_or_else(unverified)?;
        let account = self.0.quota.account(&uid);
        let message = messages::only(body, MAX_MESSAGE, account).await;
        let asked = inbound::submission(message.map_err(refused)?).map_err(unusable)?;
        let submitted = self.0.submit(&uid, asked).await;
        let Submitted { job, repeated } = submitted.map_err(status)?;
        let job = Some(log_events::job(job));
        Ok(answer(turn, proto::SubmitFrameResponse { job, repeated }))
    }

    async fn get_job(
        &self,
        request: Request<proto::GetJobRequest>,
    ) -> Result<Response<proto::GetJobResponse>, Status> {
        let user = principal(request.extensions())?.uid;
        let turn = self.turn(&user)?;
        let job = self.0.job(&user, &request.get_ref().job_id).await;
        let job = Some(job.map_err(status)?);
        Ok(answer(turn, proto::GetJobResponse { job }))
    }

    async fn list_jobs(
        &self,
        request: Request<proto::ListJobsRequest>,
    ) -> Result<Response<proto::ListJobsResponse>, Status> {
        let user = principal(request.extensions())?.uid;
        let turn = self.turn(&user)?;
        let jobs = self.0.list(&user, request.into_inner()).await;
        Ok(answer(turn, jobs.map_err(status)?))
    }

    async fn cancel_job(
        &self,
        request: Request<proto::CancelJobRequest>,
    ) -> Result<Response<proto::CancelJobResponse>, Status> {
        let user = principal(request.extensions())?.uid;
        let turn = self.turn(&user)?;
        let job = self.0.cancel(&user, &request.get_ref().job_id).await;
        let job = Some(job.map_err(status)?);
        Ok(answer(turn, proto::CancelJobResponse { job }))
    }
}

#[tonic::async_trait]
impl Events for CallsDoor {
    type SubscribeStream = BoxStream<'static, Result<proto::SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<proto::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let principal = principal(request.extensions())?;
        let said = self.0.subscribe(&principal, &request.get_ref().cursor);
        let told = told(said.map_err(status)?, self.0.followers.world.clone());
        Ok(Response::new(told.boxed()))
    }
}

/// What to say of a message that did not come, or for which there was no room.
fn refused(refusal: Option<Refusal>) -> Status {
    match refusal {
        Some(refusal) => unusable(refusal),
        None => Status::cancelled("The call broke off before its message was whole."),
    }
}

fn unusable(refusal: Refusal) -> Status {
    match refusal.code {
        RefusalCode::Overloaded(_) => Status::resource_exhausted(refusal.message),
        RefusalCode::InvalidEvent | RefusalCode::InvalidFrame | RefusalCode::MessageTooLarge => {
            Status::invalid_argument(refusal.message)
        }
    }
}

fn told(
    said: impl Stream<Item = Said>,
    world: World,
) -> impl Stream<Item = Result<proto::SubscribeResponse, Status>> {
    said.map(move |said| {
        let event = match said {
            Said::News(news) => Event::LogEvent(log_events::event(news)),
            Said::Heartbeat => Event::Heartbeat(proto::ServerHeartbeat {
                sent_at: Some(timestamp(world.now())),
            }),
            Said::End(end) => return Err(ended(end)),
        };
        Ok(proto::SubscribeResponse { event: Some(event) })
    })
}

fn ended(end: End) -> Status {
    let message = match end {
        End::Slow => {
            let message = "The stream was left unread for too long; subscribe again with the last \
                           cursor.";
            return Status::resource_exhausted(message);
        }
        End::Drained => "The server is shutting down; subscribe again with the last cursor.",
        End::Expired => {
            "The stream has grown too old; subscribe again with a fresh token and the last cursor."
        }
        End::Unreadable => {
            "The log cannot be read just now; subscribe again later with the last cursor."
        }
    };
    Status::unavailable(message)
}

/// Who called; the guard has put it there.
fn principal(extensions: &Extensions) -> Result<Principal, Status> {
    let principal = extensions.get::<Principal>();
    principal.cloned().ok_or_else(unverified)
}

fn unverified() -> Status {
    Status::internal("The server let a call in unverified.")
}

/// What a call that failed is answered with.
fn status(fault: Fault) -> Status {
    let told = fault.to_string();
    match fault {
        Fault::Invalid(_) | Fault::Refused(Refused::NoContext) => Status::invalid_argument(told),
        Fault::NoSuchJob => Status::not_found(told),
        Fault::Refused(Refused::UserFull(_) | Refused::Fault(_))
        | Fault::Full(Full::User(_))
        | Fault::Busy(_) => Status::resource_exhausted(told),
        Fault::Refused(Refused::Full | Refused::ShuttingDown | Refused::Log(_))
        | Fault::Full(Full::Server)
        | Fault::Log(_)
        | Fault::ShuttingDown => Status::unavailable(told),
    }
}

/// `proactive.v1.Messages`.
#[derive(Clone)]
pub(super) struct MessagesDoor(pub(super) Post);

#[tonic::async_trait]
impl Messages for MessagesDoor {
    async fn fire(
        &self,
        request: Request<proto::FireRequest>,
    ) -> Result<Response<proto::FireResponse>, Status> {
        let bearer = bearer(request.metadata());
        if let Err(refused) = self.0.admit(bearer) {
            return Err(Status::unauthenticated(refused.to_string()));
        }
        let fired = self.0.fire(request.into_inner()).await;
        Ok(Response::new(fired.map_err(status)?))
    }
}

/// The token, as programs send it.
pub(super) fn bearer(metadata: &MetadataMap) -> Option<&str> {
    metadata.get("authorization")?.to_str().ok()
}
