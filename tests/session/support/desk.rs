//! The desktop that talks to a session.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proactive::domain::{Context, Decision, FrameFault, FrameId, Hit, Outcome, RequestId, Task};
use proactive::gemini::View;
use proactive::session::{
    ClientMessage, FrameAnswer, Hello, Input, Ready, Resume, ServerMessage, Stop, StreamEnd,
    Version,
};
use proactive::telemetry::{Metrics, SessionEnd};
use proactive::tools::{Output, Pending, ToolRequest};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{PATIENCE, context, frame};

/// A desktop.
pub(crate) struct Desk {
    pub(super) to_server: Option<mpsc::Sender<Input>>,
    pub(super) from_server: mpsc::Receiver<Box<ServerMessage>>,
    pub(super) task: JoinSet<SessionEnd>,
    pub(crate) stop: Stop,
    pub(crate) pending: Pending,
    pub(crate) metrics: Metrics,
    pub(super) views: Arc<Mutex<Vec<View>>>,
    /// How its stream ended, if it came through a lobby.
    pub(super) ended: Option<oneshot::Receiver<StreamEnd>>,
}

impl Desk {
    pub(crate) async fn input(&self, input: Input) {
        let to_server = self.to_server.as_ref().expect("the desk still speaks");
        timeout(PATIENCE, to_server.send(input))
            .await
            .expect("the session reads")
            .expect("the session lives");
    }

    /// An input if the session takes it now.
    pub(crate) fn try_input(&self, input: Input) -> bool {
        let to_server = self.to_server.as_ref().expect("the desk still speaks");
        to_server.try_send(input).is_ok()
    }

    pub(crate) async fn say(&self, message: ClientMessage) {
        self.input(Input::Message(message)).await;
    }

    pub(crate) async fn hello(&self, version: Version, name: &str, context: Option<Box<Context>>) {
        let context_version = name.to_owned();
        self.say(ClientMessage::Hello(Hello {
            version,
            context_version,
            context,
            ..Hello::default()
        }))
        .await;
    }

    /// Says hello as a client that may come back.
    pub(crate) async fn hello_resumable(&mut self) -> Ready {
        self.say_hello(Resume::default()).await;
        self.ready().await
    }

    /// Says hello as one that does, and has received so many answers.
    pub(crate) async fn come_back(&mut self, ready: &Ready, received: u64) -> Ready {
        let known = ready.resume.as_ref().expect("it can be resumed");
        self.say_hello(Resume {
            session: ready.session.clone(),
            secret: known.secret.clone(),
            received,
        })
        .await;
        self.ready().await
    }

    pub(crate) async fn say_hello(&self, resume: Resume) {
        self.say(ClientMessage::Hello(Hello {
            version: Version::V1_1,
            context_version: "v1".to_owned(),
            context: Some(context("v1", "Water the plants")),
            resume: Some(Box::new(resume)),
            ..Hello::default()
        }))
        .await;
    }

    pub(crate) async fn ack(&self, number: u64) {
        self.say(ClientMessage::Ack(number)).await;
    }

    /// The next message is this frame's answer with this number.
    pub(crate) async fn numbered(&mut self, id: &str, number: u64) -> Arc<FrameAnswer> {
        match self.next().await {
            ServerMessage::Answer(answer) if answer.frame.as_str() == id => {
                assert_eq!(answer.number, number, "the answer to {id}");
                answer
            }
            other => panic!("not the answer to {id}: {other:?}"),
        }
    }

    /// The connection breaks.
    pub(crate) async fn break_off(self) {
        self.input(Input::Lost).await;
        self.settle().await;
    }

    /// Sends a frame whose text is its id.
    pub(crate) async fn frame(&self, id: &str) {
        self.say(ClientMessage::Frame(Box::new(frame(id)))).await;
    }

    pub(crate) async fn frame_with(&self, id: &str, context: Box<Context>) {
        let mut frame = frame(id);
        frame.context = Some(context);
        self.say(ClientMessage::Frame(Box::new(frame))).await;
    }

    pub(crate) async fn cancel(&self, id: &str) {
        self.say(ClientMessage::CancelFrame(FrameId::new(id))).await;
    }

    pub(crate) async fn answer(&self, request: &ToolRequest, found: Result<Vec<Hit>, String>) {
        self.answer_id(&request.id, found).await;
    }

    pub(crate) async fn answer_id(&self, request: &RequestId, found: Result<Vec<Hit>, String>) {
        let answer = found.map(Output::Hits);
        self.say(ClientMessage::ToolResult(request.clone(), answer))
            .await;
    }

    /// Closes the desk's side of the stream.
    pub(crate) fn half_close(&mut self) {
        self.to_server = None;
    }

    /// Stops reading for good, as a broken connection does.
    pub(crate) fn stop_reading(&mut self) {
        self.from_server.close();
        while self.from_server.try_recv().is_ok() {}
    }

    /// What the session says next; `None` if it has ended.
    pub(crate) async fn heard(&mut self) -> Option<ServerMessage> {
        timeout(PATIENCE, self.from_server.recv())
            .await
            .expect("the session says something or ends")
            .map(|message| *message)
    }

    /// What the session says next.
    pub(crate) async fn next(&mut self) -> ServerMessage {
        self.heard().await.expect("the session lives")
    }

    pub(crate) async fn ready(&mut self) -> Ready {
        match self.next().await {
            ServerMessage::Ready(ready) => *ready,
            other => panic!("not the answer to a hello: {other:?}"),
        }
    }

    pub(crate) async fn search(&mut self) -> ToolRequest {
        match self.next().await {
            ServerMessage::ToolCall(request) => *request,
            other => panic!("not a search: {other:?}"),
        }
    }

    pub(crate) async fn search_called_off(&mut self) -> (RequestId, FrameId) {
        match self.next().await {
            ServerMessage::CancelToolCall { request, frame, .. } => (request, frame),
            other => panic!("not a search called off: {other:?}"),
        }
    }

    /// The next message is this frame's decision.
    pub(crate) async fn outcome(&mut self, id: &str) -> Outcome {
        match self.next().await {
            ServerMessage::Answer(answer) if answer.frame.as_str() == id => {
                let result = Arc::unwrap_or_clone(answer).result;
                result.unwrap_or_else(|fault| panic!("not the outcome of {id}: {fault:?}"))
            }
            other => panic!("not the outcome of {id}: {other:?}"),
        }
    }

    /// The next message is this frame's decision that there is no task.
    pub(crate) async fn no_task(&mut self, id: &str) -> String {
        match self.outcome(id).await.decision {
            Decision::NoTask { reason } => reason,
            other => panic!("not NO_TASK_FOUND: {other:?}"),
        }
    }

    /// The next message is this frame's task.
    pub(crate) async fn task(&mut self, id: &str) -> Task {
        match self.outcome(id).await.decision {
            Decision::Extract(task) => *task,
            other => panic!("not EXTRACT_TASK: {other:?}"),
        }
    }

    /// The next message is this frame's error.
    pub(crate) async fn fault(&mut self, id: &str) -> FrameFault {
        match self.next().await {
            ServerMessage::Answer(answer) if answer.frame.as_str() == id => {
                let result = Arc::unwrap_or_clone(answer).result;
                result.expect_err("the frame got no decision")
            }
            other => panic!("not the fault of {id}: {other:?}"),
        }
    }

    /// Nothing is said for that long.
    pub(crate) async fn silence(&mut self, time: Duration) {
        if let Ok(said) = timeout(time, self.from_server.recv()).await {
            panic!("said in what should be silence: {said:?}");
        }
    }

    /// Everything that can happen now has happened. (The clock is paused: it
    /// moves only when every task waits.)
    pub(crate) async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// What the model was shown, call by call.
    pub(crate) fn views(&self) -> Vec<View> {
        self.views
            .lock()
            .expect("no test panics while it holds the views")
            .clone()
    }

    /// One number of the metrics page; 0 if it is not there.
    pub(crate) fn count(&self, metric: &str) -> u64 {
        let page = self.metrics.render();
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
        line.map_or(0, |number| number.parse().expect("a whole number"))
    }

    /// Its stream ends; what was said until then is left out.
    pub(crate) async fn stream_end(mut self) -> StreamEnd {
        while self.heard().await.is_some() {}
        let ended = self.ended.take().expect("it came through a lobby");
        ended.await.expect("no crash")
    }

    /// Reads to the end. Whatever happened, nothing of the session is left.
    pub(crate) async fn end(mut self) -> (SessionEnd, Vec<ServerMessage>) {
        let mut rest = Vec::new();
        let reading = async {
            while let Some(message) = self.from_server.recv().await {
                rest.push(*message);
            }
        };
        timeout(PATIENCE, reading).await.expect("the session ends");
        (self.over().await, rest)
    }

    /// The session ends by itself, also if nobody reads.
    pub(crate) async fn over(&mut self) -> SessionEnd {
        let ended = timeout(PATIENCE, self.task.join_next()).await;
        let end = ended
            .expect("the session ends")
            .expect("it was not joined before")
            .expect("it does not crash");
        assert!(self.pending.is_empty(), "a search is left behind");
        for gauge in ["proactive_sessions", "proactive_frames_in_flight"] {
            assert_eq!(self.count(gauge), 0, "{gauge}");
        }
        end
    }

    /// Closes the desk's side; the session ends, and has nothing more to say.
    pub(crate) async fn close(mut self) {
        self.half_close();
        assert_eq!(self.end().await, (SessionEnd::Closed, vec![]));
    }
}
