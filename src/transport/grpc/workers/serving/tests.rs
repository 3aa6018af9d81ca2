//! A worker's stream without a network, by a clock that stands still.

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::time::advance;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::*;
use crate::domain::{CallFaultCode, Ran, SessionId, Value};
use crate::telemetry::Metrics;
use crate::tools::workers::{Call, CallContext, Options};
use crate::transport::proto::workers as wire;
use wire::worker_command::Command;
use wire::worker_event::Event;

const SECOND: Duration = Duration::from_secs(1);

/// A stream, and the worker at its other end.
struct Stage {
    workers: Workers,
    leaving: CancellationToken,
    say: mpsc::Sender<Result<WorkerEvent, Status>>,
    told: mpsc::Receiver<WorkerCommand>,
    serving: BoxFuture<'static, End>,
}

impl Stage {
    fn new() -> Self {
        let world = World::fixed(Timestamp::UNIX_EPOCH, 7);
        let workers = Workers::new(Options::default(), world.clone(), Metrics::new());
        let leaving = CancellationToken::new();
        let serving = Serving {
            workers: workers.clone(),
            world,
            accepts: Arc::new(|_| Ok(())),
            leaving: leaving.clone(),
        };
        let (say, said) = mpsc::channel(32);
        let (tell, told) = mpsc::channel(8);
        let serving = serving.serve(ReceiverStream::new(said), tell).boxed();
        Self {
            workers,
            leaving,
            say,
            told,
            serving,
        }
    }

    /// One that has been let in.
    fn ready() -> Self {
        let mut stage = Self::new();
        stage.say(hello());
        match stage.told() {
            Some(Command::Ready(ready)) => assert_eq!(ready.heartbeat_interval_ms, 20_000),
            other => panic!("{other:?}"),
        }
        stage
    }

    fn say(&mut self, event: Event) {
        let event = Some(event);
        self.say.try_send(Ok(WorkerEvent { event })).unwrap();
        self.goes_on();
    }

    /// Lets the server do what it can do without waiting; it has not ended.
    fn goes_on(&mut self) {
        let ended = (&mut self.serving).now_or_never();
        assert!(ended.is_none(), "{ended:?}");
    }

    fn told(&mut self) -> Option<Command> {
        self.goes_on();
        let told = self.told.try_recv().ok()?;
        self.goes_on();
        told.command
    }

    async fn ends(self) -> Status {
        self.serving.await.status().expect("not OK")
    }
}

fn hello() -> Event {
    Event::Hello(wire::WorkerHello {
        name: "dates".to_owned(),
        tools: vec![wire::ToolDeclaration {
            name: "add".to_owned(),
            description: "Adds.".to_owned(),
            parameters_json: "{}".to_owned(),
            streaming: false,
            changes: false,
        }],
        ..wire::WorkerHello::default()
    })
}

fn heartbeat() -> Event {
    Event::Heartbeat(wire::WorkerHeartbeat {})
}

fn call() -> Call {
    Call {
        tool: "add".to_owned(),
        arguments: [("n".to_owned(), Value::Integer(1))].into(),
        context: CallContext {
            session: SessionId::new("s"),
            locale: String::new(),
            time_zone: String::new(),
            utc_offset: None,
            now: Timestamp::UNIX_EPOCH,
        },
        trace: None,
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_for_ten_seconds_is_told_to_say_hello() {
    let began = Instant::now();
    let status = Stage::new().ends().await;
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(began.elapsed(), 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_first_event_is_a_hello_that_can_be_used() {
    let Event::Hello(mut nameless) = hello() else {
        panic!("no hello")
    };
    nameless.name.clear();
    for (event, why) in [
        (heartbeat(), "WorkerHello"),
        (Event::Hello(nameless), "name"),
    ] {
        let stage = Stage::new();
        let event = Some(event);
        stage.say.try_send(Ok(WorkerEvent { event })).unwrap();
        let status = stage.ends().await;
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(why), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn c08_both_sides_show_that_they_live_and_who_is_silent_for_a_minute_has_gone() {
    let mut stage = Stage::ready();
    for _ in 0..5 {
        advance(20 * SECOND).await;
        assert!(matches!(stage.told(), Some(Command::Heartbeat(_))));
        stage.say(heartbeat());
    }
    let mut stage = Stage::ready();
    let began = Instant::now();
    let workers = stage.workers.clone();
    // What the server says is no sign of life of the worker's.
    let (status, ()) = {
        let Stage { told, .. } = &mut stage;
        let mut told = std::mem::replace(told, mpsc::channel(1).1);
        let reading = async move { while told.recv().await.is_some() {} };
        tokio::join!(stage.ends(), reading)
    };
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(began.elapsed(), 60 * SECOND);
    assert_eq!(workers.connected(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_sent_away_and_what_it_did_not_take_never_ran() {
    let mut stage = Stage::ready();
    let workers = stage.workers.clone();
    let deadline = Instant::now() + 60 * SECOND;
    // The connection has room for eight; eight more calls may be under way.
    for _ in 0..8 {
        stage.say(Event::Variable(wire::VariableRequest::default()));
    }
    let began = Instant::now();
    let calling = workers.call(call(), deadline, deadline);
    let (called, status) = tokio::join!(calling, stage.ends());
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(began.elapsed(), 10 * SECOND);
    let fault = called.unwrap_err();
    assert_eq!(
        (fault.code, fault.ran),
        (CallFaultCode::Unavailable, Ran::Never)
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_ends_the_stream_and_says_so() {
    let stage = Stage::ready();
    let too_large = Status::out_of_range("Error, decoded message length too large");
    stage.say.try_send(Err(too_large)).unwrap();
    let status = stage.ends().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("1 MiB"), "{status}");
}

#[tokio::test(start_paused = true)]
async fn who_says_what_cannot_be_again_and_again_is_sent_away() {
    let stage = Stage::ready();
    for _ in 0..8 {
        let event = None;
        stage.say.try_send(Ok(WorkerEvent { event })).unwrap();
    }
    let status = stage.ends().await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("8 times"), "{status}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_leaves_says_so_and_waits_a_little_for_what_is_under_way() {
    let mut idle = Stage::ready();
    idle.leaving.cancel();
    idle.goes_on_or_ends();
    let Some(Command::GoAway(go)) = idle.told.try_recv().unwrap().command else {
        panic!("not told to go")
    };
    assert_eq!(go.time_left_ms, 1_000);
    assert!((0..=5_000).contains(&go.reconnect_delay_ms));

    let mut stage = Stage::ready();
    let workers = stage.workers.clone();
    let deadline = Instant::now() + 60 * SECOND;
    let mut calling = workers.call(call(), deadline, deadline).boxed();
    assert!((&mut calling).now_or_never().is_none());
    let Some(Command::Execute(wire::ExecuteTool { call: Some(given) })) = stage.told() else {
        panic!("not asked")
    };
    assert_eq!(given.deadline_ms, 60_000);
    stage.leaving.cancel();
    stage.goes_on();
    assert!(!workers.has("add"));
    stage.say(Event::Result(wire::CallResult {
        call_id: given.call_id,
        ..wire::CallResult::default()
    }));
    assert_eq!(calling.await, Ok(Value::Null));
    let began = Instant::now();
    assert_eq!(stage.ends().await.code(), Code::Unavailable);
    assert!(began.elapsed() < SECOND);
}

impl Stage {
    fn goes_on_or_ends(&mut self) {
        let _ = (&mut self.serving).now_or_never();
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_closes_its_side_has_gone_in_good_order() {
    let stage = Stage::ready();
    let workers = stage.workers.clone();
    let Stage {
        say,
        told: _told,
        serving,
        ..
    } = stage;
    drop(say);
    assert!(serving.await.status().is_none());
    assert_eq!(workers.connected(), 0);
}
