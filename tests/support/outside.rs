//! What is asked for outside of sessions: jobs, a user's log, messages to a user.

use proactive::transport::proto::events_client::EventsClient;
use proactive::transport::proto::jobs_client::JobsClient;
use proactive::transport::proto::log_event::Event as LogWhat;
use proactive::transport::proto::messages_client::MessagesClient;
use proactive::transport::proto::subscribe_response::Event;
use proactive::transport::proto::{
    CancelJobRequest, FireRequest, FireResponse, GetJobRequest, Job, JobState, ListJobsRequest,
    ListJobsResponse, LogEvent, SessionContext, SubmitFrameRequest, SubmitFrameResponse,
    SubscribeRequest, SubscribeResponse,
};
use tokio::time::timeout;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use super::http::{Events, Http};
use super::{App, Door, PATIENCE, USER, frame};

/// A valid one, where settings say so.
pub const SERVICE_TOKEN: &str = "a-service-token-of-these-tests-only";

/// A request with a token.
fn bearing<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let bearer: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    request
}

/// What submits a frame that shows this text.
pub fn submission(id: &str, text: &str, key: &str) -> SubmitFrameRequest {
    let mut frame = frame(id, text);
    frame.session_context = Some(SessionContext::default());
    SubmitFrameRequest {
        frame: Some(frame),
        idempotency_key: key.to_owned(),
        utc_offset_minutes: None,
    }
}

/// A client that asks for things outside of sessions, with one token.
pub enum Caller {
    Grpc(Channel, String),
    Http(Http),
}

impl Caller {
    pub async fn submit(&self, asked: SubmitFrameRequest) -> Result<SubmitFrameResponse, Status> {
        match self {
            Self::Grpc(channel, token) => {
                let client = JobsClient::new(channel.clone());
                let mut client = client.max_encoding_message_size(16 << 20);
                let submitted = client.submit_frame(bearing(token, asked)).await?;
                Ok(submitted.into_inner())
            }
            Self::Http(http) => http.submit(&asked).await,
        }
    }

    pub async fn job(&self, id: &str) -> Result<Job, Status> {
        let job_id = id.to_owned();
        match self {
            Self::Grpc(channel, token) => {
                let request = bearing(token, GetJobRequest { job_id });
                let got = JobsClient::new(channel.clone()).get_job(request).await?;
                Ok(got.into_inner().job.unwrap())
            }
            Self::Http(http) => http.job(id).await,
        }
    }

    pub async fn cancel(&self, id: &str) -> Result<Job, Status> {
        let job_id = id.to_owned();
        match self {
            Self::Grpc(channel, token) => {
                let request = bearing(token, CancelJobRequest { job_id });
                let told = JobsClient::new(channel.clone()).cancel_job(request).await?;
                Ok(told.into_inner().job.unwrap())
            }
            Self::Http(http) => http.cancel(id).await,
        }
    }

    pub async fn list(&self, asked: ListJobsRequest) -> Result<ListJobsResponse, Status> {
        match self {
            Self::Grpc(channel, token) => {
                let mut client = JobsClient::new(channel.clone());
                let listed = client.list_jobs(bearing(token, asked)).await?;
                Ok(listed.into_inner())
            }
            Self::Http(http) => http.list(&asked).await,
        }
    }

    pub async fn fire(&self, message: FireRequest) -> Result<FireResponse, Status> {
        match self {
            Self::Grpc(channel, token) => {
                let mut client = MessagesClient::new(channel.clone());
                Ok(client.fire(bearing(token, message)).await?.into_inner())
            }
            Self::Http(http) => http.fire(&message).await,
        }
    }

    pub async fn follow(&self, cursor: &str) -> Result<Followed, Status> {
        match self {
            Self::Grpc(channel, token) => {
                let cursor = cursor.to_owned();
                let request = bearing(token, SubscribeRequest { cursor });
                let told = EventsClient::new(channel.clone())
                    .subscribe(request)
                    .await?;
                Ok(Followed::Grpc(Box::new(told.into_inner())))
            }
            Self::Http(http) => Ok(Followed::Http(Box::new(http.follow(cursor, false).await?))),
        }
    }
}

impl App {
    /// A client with this token, at the app's door.
    pub async fn caller(&self, token: &str) -> Caller {
        match self.door {
            Door::Grpc => Caller::Grpc(self.channel().await, token.to_owned()),
            Door::WebSocket => Caller::Http(self.http(token)),
        }
    }

    /// A client with this token at the HTTP door.
    pub fn http(&self, token: &str) -> Http {
        let base = format!("http://{}", self.service.server.http_addr());
        Http::new(base, token.to_owned())
    }

    /// A client of the tests' user.
    pub async fn user(&self) -> Caller {
        self.caller(&self.service.token(USER)).await
    }

    pub async fn submit(&self, asked: SubmitFrameRequest) -> Result<SubmitFrameResponse, Status> {
        self.user().await.submit(asked).await
    }

    pub async fn job(&self, id: &str) -> Result<Job, Status> {
        self.user().await.job(id).await
    }

    /// Waits until the job is in this state.
    pub async fn job_becomes(&self, id: &str, state: JobState) -> Job {
        let user = self.user().await;
        let becoming = async {
            loop {
                let job = user.job(id).await.unwrap();
                if job.state() == state {
                    return job;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, becoming).await.expect("it never did")
    }

    pub async fn fire(&self, token: &str, message: FireRequest) -> Result<FireResponse, Status> {
        self.caller(token).await.fire(message).await
    }

    /// Follows the log of the tests' user.
    pub async fn follow(&self, cursor: &str) -> Result<Followed, Status> {
        self.user().await.follow(cursor).await
    }
}

/// What is told of a log.
pub enum Followed {
    Grpc(Box<Streaming<SubscribeResponse>>),
    Http(Box<Events>),
}

impl Followed {
    /// The next thing that is told, or how the stream ended.
    pub async fn next(&mut self) -> Result<Option<Event>, Status> {
        let next = timeout(PATIENCE, self.next_in_time()).await;
        next.expect("nothing came")
    }

    /// The same, however long that takes: for a clock that jumps.
    pub async fn next_in_time(&mut self) -> Result<Option<Event>, Status> {
        match self {
            Self::Grpc(told) => Ok(told.message().await?.and_then(|said| said.event)),
            Self::Http(events) => events.next().await,
        }
    }

    /// The next event in the log; heartbeats aside.
    pub async fn event(&mut self) -> LogEvent {
        loop {
            match self.next().await.unwrap().expect("the stream ended") {
                Event::LogEvent(event) => return event,
                Event::Heartbeat(_) => {}
            }
        }
    }

    /// Where it begins.
    pub async fn start(&mut self) -> String {
        let LogEvent { cursor, event, .. } = self.event().await;
        assert!(matches!(event, Some(LogWhat::Start(_))), "{event:?}");
        cursor
    }

    /// The next event, which is about a job, and the cursor behind it.
    pub async fn job(&mut self) -> (Job, String) {
        match self.event().await {
            LogEvent {
                cursor,
                event: Some(LogWhat::Job(job)),
                ..
            } => (job, cursor),
            other => panic!("not about a job: {other:?}"),
        }
    }
}
