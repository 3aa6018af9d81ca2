//! The methods of `proactive.v1.ProactiveAI` beside Session, and
//! `proactive.v1.Messages`: calls in gRPC's words.

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status};

use super::calls::Fault;
use super::fire::Post;
use super::followers::{End, Said};
use super::grpc::{Door, MAX_MESSAGE};
use super::messages::{self, RawBody};
use super::outbound::timestamp;
use super::proto::messages_server::Messages;
use super::proto::subscribe_response::Event;
use super::{inbound, log_events, proto};
use crate::domain::Principal;
use crate::events;
use crate::jobs::Refused;
use crate::session::{Full, RefusalCode};
use crate::world::World;

pub(super) type Followed = BoxStream<'static, Result<proto::SubscribeResponse, Status>>;

impl Door {
    pub(super) async fn submit(
        &self,
        mut extensions: Extensions,
    ) -> Result<proto::SubmitFrameResponse, Status> {
        let principal = principal(&extensions)?;
        let body = extensions.remove::<RawBody>().and_then(|raw| raw.take());
        let body = body.ok_or_else(unverified)?;
        let account = self.lobby.quota().account(&principal.uid);
        let message = messages::only(body, MAX_MESSAGE, account).await;
        let refused = |refusal: crate::session::Refusal| match refusal.code {
            RefusalCode::Overloaded(_) => Status::resource_exhausted(refusal.message),
            RefusalCode::InvalidEvent
            | RefusalCode::InvalidFrame
            | RefusalCode::MessageTooLarge => Status::invalid_argument(refusal.message),
        };
        let message = message.map_err(|refusal| match refusal {
            Some(refusal) => refused(refusal),
            None => Status::cancelled("The call broke off before its message was whole."),
        })?;
        let asked = inbound::submission(message).map_err(refused)?;
        let submitted = self.calls.submit(&principal.uid, asked).await;
        let events::Submitted { job, repeated } = submitted.map_err(status)?;
        Ok(proto::SubmitFrameResponse {
            job: Some(log_events::job(job)),
            repeated,
        })
    }

    pub(super) fn follow(
        &self,
        extensions: &Extensions,
        asked: &proto::SubscribeRequest,
    ) -> Result<Followed, Status> {
        let principal = principal(extensions)?;
        let said = self.calls.subscribe(&principal, &asked.cursor);
        Ok(told(said.map_err(status)?, self.calls.world.clone()).boxed())
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
    Status::unavailable(match end {
        End::Drained => "The server is shutting down; subscribe again with the last cursor.",
        End::Expired => {
            "The stream has grown too old; subscribe again with a fresh token and the last cursor."
        }
        End::Unreadable => {
            "The log cannot be read just now; subscribe again later with the last cursor."
        }
    })
}

/// Who called; the guard has put it there.
pub(super) fn principal(extensions: &Extensions) -> Result<Principal, Status> {
    let principal = extensions.get::<Principal>();
    principal.cloned().ok_or_else(unverified)
}

fn unverified() -> Status {
    Status::internal("The server let a call in unverified.")
}

/// What a call that failed is answered with.
pub(super) fn status(fault: Fault) -> Status {
    let told = fault.to_string();
    match fault {
        Fault::Invalid(_) | Fault::Refused(Refused::NoContext) => Status::invalid_argument(told),
        Fault::NoSuchJob => Status::not_found(told),
        Fault::Refused(Refused::UserFull(_) | Refused::Fault(_)) | Fault::Full(Full::User(_)) => {
            Status::resource_exhausted(told)
        }
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

fn bearer(metadata: &MetadataMap) -> Option<&str> {
    metadata.get("authorization")?.to_str().ok()
}
