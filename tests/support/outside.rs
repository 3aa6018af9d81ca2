//! What is asked for outside of sessions: jobs, a user's log, messages to a user.

use proactive::transport::proto::events_client::EventsClient;
use proactive::transport::proto::jobs_client::JobsClient;
use proactive::transport::proto::log_event::Event as LogWhat;
use proactive::transport::proto::messages_client::MessagesClient;
use proactive::transport::proto::subscribe_response::Event;
use proactive::transport::proto::{
    FireRequest, FireResponse, GetJobRequest, Job, JobState, LogEvent, SessionContext,
    SubmitFrameRequest, SubmitFrameResponse, SubscribeRequest, SubscribeResponse,
};
use tokio::time::timeout;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use super::{App, PATIENCE, USER, frame};

/// A valid one, where settings say so.
pub const SERVICE_TOKEN: &str = "a-service-token-of-these-tests-only";

/// A request with a token.
pub fn bearing<T>(token: &str, message: T) -> Request<T> {
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

impl App {
    pub fn user_token(&self) -> String {
        self.service.token(USER)
    }

    pub async fn jobs(&self) -> JobsClient<Channel> {
        JobsClient::new(self.channel().await).max_encoding_message_size(16 << 20)
    }

    pub async fn submit(&self, asked: SubmitFrameRequest) -> Result<SubmitFrameResponse, Status> {
        let request = bearing(&self.user_token(), asked);
        let submitted = self.jobs().await.submit_frame(request).await?;
        Ok(submitted.into_inner())
    }

    pub async fn job(&self, id: &str) -> Result<Job, Status> {
        let job_id = id.to_owned();
        let request = bearing(&self.user_token(), GetJobRequest { job_id });
        let got = self.jobs().await.get_job(request).await?;
        Ok(got.into_inner().job.unwrap())
    }

    /// Waits until the job is in this state.
    pub async fn job_becomes(&self, id: &str, state: JobState) -> Job {
        let becoming = async {
            loop {
                let job = self.job(id).await.unwrap();
                if job.state() == state {
                    return job;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, becoming).await.expect("it never did")
    }

    pub async fn fire(&self, token: &str, message: FireRequest) -> Result<FireResponse, Status> {
        let mut client = MessagesClient::new(self.channel().await);
        Ok(client.fire(bearing(token, message)).await?.into_inner())
    }

    /// Follows the log of the tests' user.
    pub async fn follow(&self, cursor: &str) -> Result<Followed, Status> {
        Followed::open(self.channel().await, &self.user_token(), cursor).await
    }
}

/// What is told of a log.
pub struct Followed(Streaming<SubscribeResponse>);

impl Followed {
    pub async fn open(channel: Channel, token: &str, cursor: &str) -> Result<Self, Status> {
        let cursor = cursor.to_owned();
        let request = bearing(token, SubscribeRequest { cursor });
        let told = EventsClient::new(channel).subscribe(request).await?;
        Ok(Self(told.into_inner()))
    }

    /// The next thing that is told, or how the stream ended.
    pub async fn next(&mut self) -> Result<Option<Event>, Status> {
        let next = timeout(PATIENCE, self.0.message()).await;
        let next = next.expect("nothing came")?;
        Ok(next.map(|said| said.event.expect("an event of a known kind")))
    }

    /// The same, however long that takes: for a clock that jumps.
    pub async fn next_in_time(&mut self) -> Result<Option<Event>, Status> {
        let next = self.0.message().await?;
        Ok(next.and_then(|said| said.event))
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
