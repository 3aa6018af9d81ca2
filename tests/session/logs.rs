//! Sessions and their users' logs: decisions that wait to be written down, and
//! messages while nobody is connected.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use proactive::domain::{Event, FrameFaultCode, Message, MessageId, Uid};
use proactive::events::{self, Log, News, What};
use proactive::session::{ServerMessage, StreamEnd};
use proactive::telemetry::Metrics;
use proactive::world::World;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::Notify;

use super::support::{Core, Desk, House, PATIENCE, Since, context, extract, frame, similar, turn};

const SECOND: Duration = Duration::from_secs(1);

/// A log that another program can keep from being written.
struct Slow {
    log: Log,
    folder: TempDir,
}

impl Slow {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let options = events::Options {
            folder: Some(folder.path().to_owned()),
            ..events::Options::default()
        };
        let world = World::fixed(Timestamp::UNIX_EPOCH, 8);
        let log = Log::open(options, world, Metrics::new()).await;
        let log = log.expect("it is a new one");
        Self { log, folder }
    }

    /// From now on nothing is written, until this is dropped.
    fn held(&self) -> Connection {
        let files = std::fs::read_dir(self.folder.path()).expect("it is there");
        let mut files = files.map(|file| file.expect("it can be read").path());
        let file = files.find(|file| file.extension().is_some_and(|end| end == "db"));
        let db = Connection::open(file.expect("a database")).expect("it can be opened");
        db.busy_timeout(Duration::from_secs(20))
            .expect("it is a duration");
        db.execute_batch("BEGIN IMMEDIATE").expect("it is free");
        db
    }
}

fn extracting() -> Core {
    Core::new().turns([turn([similar("the lease")]), turn([extract()])])
}

/// A desk whose frame was decided, which is not in the log yet.
async fn deciding(house: &House, slow: &Slow) -> (Desk, Connection) {
    let mut desk = house.connect("ann");
    desk.hello_resumable().await;
    desk.frame("f").await;
    let search = desk.search().await;
    let held = slow.held();
    desk.answer(&search, Ok(vec![])).await;
    desk.settle().await;
    (desk, held)
}

#[tokio::test(start_paused = true)]
async fn e05_a_frame_that_is_cancelled_while_its_decision_is_written_down_gets_its_decision() {
    let slow = Slow::new().await;
    let mut core = extracting();
    core.log = Some(slow.log.clone());
    let house = core.house();
    let (mut desk, held) = deciding(&house, &slow).await;
    desk.cancel("f").await;
    desk.task("f").await;
    drop(held);
    desk.half_close();
    assert_eq!(desk.stream_end().await, StreamEnd::Closed);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn e05_a_decision_that_is_being_written_down_when_the_server_stops_is_told() {
    let slow = Slow::new().await;
    let mut core = extracting();
    core.log = Some(slow.log.clone());
    let house = core.house();
    let (mut desk, held) = deciding(&house, &slow).await;
    desk.frame("g").await;
    desk.search().await;
    let began = Since::now();
    house.stop.hard.cancel();
    desk.task("f").await;
    assert_eq!(desk.fault("g").await.code, FrameFaultCode::GoingAway);
    assert_eq!(desk.stream_end().await, StreamEnd::Drained);
    assert!(began.millis() <= 2_000, "{} ms", began.millis());
    drop(held);
    house.empty().await;
}

/// The disk goes by the real clock, and so does what waits for it.
#[tokio::test]
async fn a_job_that_waits_to_be_written_down_holds_no_memory() {
    let slow = Slow::new().await;
    let (asked, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (asking, opened) = (asked.clone(), gate.clone());
    let mut core = Core::new().model(move |_| {
        let (asking, gate) = (asking.clone(), gate.clone());
        async move {
            asking.notify_one();
            gate.notified().await;
            turn([])
        }
    });
    core.log = Some(slow.log.clone());
    let house = core.house();
    let jobs = house.jobs();
    let mut shot = frame("shot");
    shot.context = Some(context("v1", "Water the plants"));
    let submitted = jobs.submit(&Uid::new("ann"), shot, None).await;
    submitted.expect("it is taken");
    asked.notified().await;
    assert!(house.tools.quota.bytes() > 0);
    let held = slow.held();
    opened.notify_one();
    let let_go = async {
        while house.tools.quota.bytes() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, let_go)
        .await
        .expect("it lets go of its frame");
    let page = house.tools.metrics.render();
    assert!(
        page.contains("\nproactive_jobs 1\n"),
        "it has ended:\n{page}"
    );
    drop(held);
    house.empty().await;
}

fn message(id: &str) -> Event {
    Event::Message(Box::new(Message {
        id: MessageId::new(id),
        kind: "news".to_owned(),
        title: "A title".to_owned(),
        body: String::new(),
        data: String::new(),
        sent_at: Timestamp::UNIX_EPOCH,
        expires_at: None,
    }))
}

async fn is_told(desk: &mut Desk, id: &str) {
    match desk.next().await {
        ServerMessage::Log(news) => match *news {
            News {
                what: What::Entry(entry),
                ..
            } => assert_eq!(entry.event, message(id)),
            other => panic!("not a message: {other:?}"),
        },
        other => panic!("not of the log: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn e04_a_session_without_a_client_is_no_listener_and_its_client_gets_what_it_missed() {
    let house = Core::new().house();
    let ann = Uid::new("ann");
    let fire = async |id: &str| {
        let appended = house.tools.log.append(&ann, message(id), None).await;
        appended.expect("there is room").followers
    };
    let mut desk = house.connect("ann");
    let ready = desk.hello_resumable().await;
    assert_eq!(fire("before").await, 1);
    is_told(&mut desk, "before").await;
    desk.break_off().await;
    let other = house.connect("ann");
    for id in ["missed", "missed too"] {
        assert_eq!(fire(id).await, 0);
        tokio::time::sleep(SECOND).await;
    }
    let mut back = house.connect("ann");
    back.come_back(&ready, 0).await;
    for id in ["missed", "missed too"] {
        is_told(&mut back, id).await;
    }
    assert_eq!(fire("live").await, 1);
    is_told(&mut back, "live").await;
    back.silence(SECOND).await;
    for mut desk in [other, back] {
        desk.half_close();
        desk.stream_end().await;
    }
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn e04_a_session_that_nobody_takes_up_leaves_no_follower_behind() {
    let house = Core::new().house();
    let mut desk = house.connect("ann");
    desk.hello_resumable().await;
    desk.break_off().await;
    tokio::time::sleep(40 * SECOND).await;
    let page = house.tools.metrics.render();
    assert!(page.contains("\nproactive_log_followers 0\n"), "{page}");
    house.empty().await;
}
