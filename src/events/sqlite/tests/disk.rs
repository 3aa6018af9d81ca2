//! A disk that is full, read-only or damaged, and a thread that crashes.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use rusqlite::Connection;
use tokio::time::timeout;

use super::{Opened, open, open_with, options};
use crate::domain::{FrameId, JobId};
use crate::events::hub::Hubs;
use crate::events::sqlite::{READERS, Sqlite};
use crate::events::tests::house::{Clock, decided, uid};
use crate::events::{Engine, Error, Log, OpenError, Options, Start};
use crate::telemetry::Metrics;

/// Fills a log until nothing more is taken; how many entries were acknowledged.
async fn fill(opened: &Opened) -> u64 {
    let ada = uid("ada");
    let mut acknowledged = 0;
    for _ in 0..100 {
        let many = (0..20).map(|_| opened.log.append(&ada, decided("x".repeat(4_000)), None));
        let many = join_all(many).await;
        let taken = many.iter().filter(|appended| appended.is_ok()).count();
        acknowledged += taken as u64;
        if let Some(Err(error)) = many.into_iter().find(Result::is_err) {
            assert_eq!(error, Error::Unavailable);
            return acknowledged;
        }
    }
    panic!("it is never full");
}

async fn count(opened: &Opened) -> u64 {
    let (mut start, mut count) = (Start::Oldest, 0);
    loop {
        let page = opened.log.read(&uid("ada"), start, 1_000).await.unwrap();
        count += page.entries.len() as u64;
        start = Start::After(page.cursor);
        if !page.more {
            return count;
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_acknowledged_is_lost_and_with_room_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::new();
    let opened = open(folder.path(), &clock, 1).unwrap();
    let mut follower = opened.log.follow(&uid("ada"), Start::Now);
    // SQLite says of this limit what it says of the disk's.
    let limit = |pages: i64| {
        move |db: &mut Connection| {
            let limit = format!("PRAGMA max_page_count = {pages}");
            db.query_row(&limit, [], |row| row.get::<_, i64>(0))
                .unwrap()
        }
    };
    opened.meddle(limit(200)).await;
    let acknowledged = fill(&opened).await;
    assert!(acknowledged > 50, "{acknowledged}");
    assert_eq!(count(&opened).await, acknowledged);
    let (ada, id) = (uid("ada"), JobId::new("j"));
    let refused = opened
        .log
        .submit(&ada, id.clone(), FrameId::new("x".repeat(99_000)), None);
    assert_eq!(refused.await.unwrap_err(), Error::Unavailable);
    assert_eq!(opened.log.job(&uid("ada"), &id).await, Ok(None));
    // Followers were told what was kept, and no more.
    for expected in 1..=acknowledged {
        let told = timeout(Duration::from_secs(20), follower.next())
            .await
            .unwrap();
        assert!(matches!(told.unwrap(), crate::events::Told::Entry(e) if e.offset == expected));
    }
    opened.meddle(limit(100_000)).await;
    let next = opened
        .log
        .append(&uid("ada"), decided(1), None)
        .await
        .unwrap();
    assert_eq!(next.cursor.offset, acknowledged + 1);
    let page = opened.metrics.render();
    assert!(!page.contains("proactive_log_failures_total 0"), "{page}");
    opened.log.close().await;
    let next = open(folder.path(), &clock, 2).unwrap();
    assert_eq!(count(&next).await, acknowledged + 1);
}

/// A file system of its own, if this test may have one.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", size, "none"])
            .arg(folder.path())
            .output();
        let mounted = mount.is_ok_and(|mount| mount.status.success());
        mounted.then_some(Self(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily, for a thread may still close its files.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn on_a_file_system_without_room_it_is_the_same() {
    let Some(small) = Small::mount("size=2m") else {
        return println!("not tried: no file system may be mounted here");
    };
    let filler = small.0.path().join("filler");
    fs::write(&filler, vec![0; 700_000]).unwrap();
    let clock = Clock::new();
    let opened = open(small.0.path(), &clock, 1).unwrap();
    let acknowledged = fill(&opened).await;
    assert!(acknowledged > 20, "{acknowledged}");
    assert_eq!(count(&opened).await, acknowledged);
    fs::remove_file(&filler).unwrap();
    let next = opened
        .log
        .append(&uid("ada"), decided(1), None)
        .await
        .unwrap();
    assert_eq!(next.cursor.offset, acknowledged + 1);
    opened.log.close().await;

    // Without any room at the start. Such a file system counts roughly, and may find a
    // few pages after all.
    let mut left = File::create(&filler).unwrap();
    while left.write(&[0; 512]).is_ok() {}
    match open(small.0.path(), &clock, 2) {
        Ok(opened) => opened.log.close().await,
        Err(refused) => {
            assert!(matches!(refused, OpenError::Full { .. }), "{refused:?}");
            assert!(refused.to_string().contains("make room"), "{refused}");
        }
    }
    drop(left);
    fs::remove_file(&filler).unwrap();
    let next = open(small.0.path(), &clock, 3).unwrap();
    assert_eq!(count(&next).await, acknowledged + 1);
    next.log.close().await;
}

#[tokio::test]
async fn a_thread_that_crashes_makes_calls_fail_and_not_hang() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path(), &Clock::new(), 1).unwrap();
    let ada = uid("ada");
    opened.log.append(&ada, decided(1), None).await.unwrap();
    let crash = |_: &mut Connection| panic!("on purpose");
    let crash = super::Call::Meddle(Box::new(crash));
    opened
        .calls
        .send(crash)
        .await
        .unwrap_or_else(|_| panic!("gone"));
    for _ in 0..3 {
        let refused = timeout(
            Duration::from_secs(20),
            opened.log.append(&ada, decided(2), None),
        );
        assert_eq!(refused.await.unwrap().unwrap_err(), Error::Unavailable);
    }
    // What was kept can still be read.
    assert_eq!(count(&opened).await, 1);
    let crashed = timeout(Duration::from_secs(20), opened.log.crashed());
    crashed.await.unwrap();
}

#[tokio::test]
async fn a_read_that_crashes_costs_no_other_read() {
    let folder = tempfile::tempdir().unwrap();
    let (metrics, options) = (Metrics::new(), options(folder.path()));
    let hubs = Hubs::new(metrics.clone());
    let world = Clock::new().world(1);
    let engine = Sqlite::open(folder.path(), &options, &world, &metrics, hubs).unwrap();
    for _ in 0..2 * READERS {
        let crashed = engine.read_with::<()>(|_, _| panic!("on purpose"));
        assert_eq!(crashed.await.unwrap_err(), Error::Unavailable);
    }
    let page = timeout(
        Duration::from_secs(20),
        engine.read(&uid("ada"), Start::Oldest, 1),
    );
    assert!(page.await.unwrap().unwrap().entries.is_empty());
    engine.close().await;
}

#[tokio::test]
async fn followers_that_look_away_while_they_read_keep_no_connection_from_others() {
    let folder = tempfile::tempdir().unwrap();
    let (metrics, options) = (Metrics::new(), options(folder.path()));
    let (hubs, world) = (Hubs::new(metrics.clone()), Clock::new().world(1));
    let engine = Sqlite::open(folder.path(), &options, &world, &metrics, hubs.clone()).unwrap();
    let busy: Vec<_> = (0..READERS)
        .map(|_| {
            let (done, until) = std::sync::mpsc::channel::<()>();
            let reading = engine.read_with(move |_, _| {
                // Ends when the test lets go of it.
                let _ = until.recv();
                Ok(())
            });
            (done, reading)
        })
        .collect();
    let (done, mut reading): (Vec<_>, Vec<_>) = busy.into_iter().unzip();
    for read in &mut reading {
        assert!(read.now_or_never().is_none());
    }
    drop(reading);
    let log = Log::over(Box::new(engine), hubs, world, metrics);
    let mut followers: Vec<_> = (0..2 * READERS)
        .map(|_| log.follow(&uid("ada"), Start::Oldest))
        .collect();
    for follower in &mut followers {
        assert!(follower.next().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(done);
    let page = log.read(&uid("ada"), Start::Oldest, 1).await;
    assert!(page.unwrap().entries.is_empty());
    drop(followers);
    log.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_kept_too_late_for_its_caller_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path(), &Clock::new(), 1).unwrap();
    let (ada, id) = (uid("ada"), JobId::new("j"));
    let held = opened.hold().await;
    let refused = opened
        .log
        .submit(&ada, id.clone(), FrameId::new("f"), None)
        .await;
    assert_eq!(refused.unwrap_err(), Error::Unavailable);
    tokio::time::resume();
    drop(held);
    // Behind everything that waited.
    opened.meddle(|_| ()).await;
    let job = opened.log.job(&ada, &id).await.unwrap().unwrap();
    assert!(job.state.is_terminal(), "{job:?}");
}

#[tokio::test]
async fn a_call_that_cannot_be_done_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let few = Options {
        entries_per_user: 1,
        ..options(folder.path())
    };
    let opened = open_with(&few, &Clock::new(), 1).unwrap();
    let (ada, bob, eve) = (uid("ada"), uid("bob"), uid("eve"));
    for user in [&ada, &bob] {
        opened.log.append(user, decided(1), None).await.unwrap();
    }
    opened
        .meddle(|db| {
            let damage = "UPDATE logs SET epoch = CAST(x'FF' AS TEXT) WHERE uid = 'bob'";
            db.execute(damage, []).unwrap()
        })
        .await;
    let held = opened.hold().await;
    let (of_ada, of_bob, of_eve, ()) = tokio::join!(
        opened.log.append(&ada, decided(2), None),
        opened.log.append(&bob, decided(2), None),
        opened.log.append(&eve, decided(2), None),
        // Now that all three wait to be written.
        async { drop(held) },
    );
    assert_eq!(of_ada.unwrap().cursor.offset, 2);
    assert_eq!(of_bob.unwrap_err(), Error::Unavailable);
    assert_eq!(of_eve.unwrap().cursor.offset, 1);
    let page = opened.metrics.render();
    for line in [
        "proactive_log_failures_total 1",
        "proactive_log_entries_swept_total{why=\"count\"} 1",
    ] {
        assert!(page.contains(line), "{line} is missing in\n{page}");
    }
}

#[tokio::test]
async fn a_database_that_another_program_holds_is_told_and_nothing_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path(), &Clock::new(), 1).unwrap();
    let ada = uid("ada");
    let other = Connection::open(folder.path().join("logs.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = timeout(
        Duration::from_secs(20),
        opened.log.append(&ada, decided(1), None),
    );
    assert_eq!(refused.await.unwrap().unwrap_err(), Error::Unavailable);
    drop(other);
    opened.log.append(&ada, decided(1), None).await.unwrap();
}

/// Why a folder cannot be opened with this as its database.
fn refused_with(database: &[u8]) -> OpenError {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("logs.db");
    fs::write(&file, database).unwrap();
    let refused = open(folder.path(), &Clock::new(), 1).err().unwrap();
    assert!(
        refused.to_string().starts_with(file.to_str().unwrap()),
        "{refused}"
    );
    assert_eq!(fs::read(&file).unwrap(), database, "it is left as it was");
    refused
}

/// A database with some entries, as its file's bytes.
async fn database() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path(), &Clock::new(), 1).unwrap();
    for _ in 0..200 {
        let text = "x".repeat(1_000);
        opened
            .log
            .append(&uid("ada"), decided(text), None)
            .await
            .unwrap();
    }
    opened.log.close().await;
    fs::read(folder.path().join("logs.db")).unwrap()
}

#[tokio::test]
async fn a_damaged_database_is_refused_with_its_name_and_what_to_do() {
    let good = database().await;
    let mut torn = good.clone();
    // Pages in the middle.
    torn[8 * 4_096..24 * 4_096].fill(0x5A);
    let short = good[..good.len() / 2].to_vec();
    for (what, bytes) in [
        ("no database", b"This is a text.\n".repeat(100)),
        ("torn", torn),
        ("cut off", short),
        ("without its head", good[4_096..].to_vec()),
    ] {
        let refused = refused_with(&bytes);
        assert!(
            matches!(refused, OpenError::Damaged { .. }),
            "{what}: {refused:?}"
        );
        assert!(
            refused.to_string().contains("restore it from a backup"),
            "{refused}"
        );
    }
    let other = tempfile::tempdir().unwrap();
    let file = other.path().join("other.db");
    let db = Connection::open(&file).unwrap();
    db.execute_batch("CREATE TABLE theirs (a)").unwrap();
    drop(db);
    let refused = refused_with(&fs::read(file).unwrap());
    assert!(
        refused.to_string().contains("another program's"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_or_is_none_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    for folder in [parent.path().join("not/there"), file] {
        let refused = open(&folder, &Clock::new(), 1).err().unwrap();
        assert!(matches!(refused, OpenError::Folder { .. }), "{refused:?}");
        assert!(refused.to_string().starts_with("DATA_DIR"), "{refused}");
    }
}

/// Root may write everything; as root, this runs again as somebody else.
#[test]
fn a_folder_or_a_file_that_is_read_only_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    set_mode(folder.path(), 0o500);
    if fs::write(folder.path().join("probe"), "").is_ok() {
        return again_as_nobody();
    }
    let refused = open(folder.path(), &Clock::new(), 1).err().unwrap();
    assert!(matches!(refused, OpenError::Folder { .. }), "{refused:?}");
    set_mode(folder.path(), 0o700);

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let opened = open(folder.path(), &Clock::new(), 1).unwrap();
    runtime.block_on(opened.log.close());
    let file = folder.path().join("logs.db");
    set_mode(&file, 0o400);
    let refused = open(folder.path(), &Clock::new(), 1).err().unwrap();
    assert!(matches!(refused, OpenError::ReadOnly { .. }), "{refused:?}");
    assert!(
        refused.to_string().starts_with(file.to_str().unwrap()),
        "{refused}"
    );
    println!("was refused");
}

fn again_as_nobody() {
    const NOBODY: u32 = 65_534;
    let test = "a_folder_or_a_file_that_is_read_only_is_refused";
    let again = Command::new(std::env::current_exe().unwrap())
        .args([test, "--nocapture"])
        .uid(NOBODY)
        .gid(NOBODY)
        .current_dir("/")
        .output();
    match again {
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stdout);
            let cause = String::from_utf8_lossy(&output.stderr);
            assert!(told.contains("was refused"), "{told}{cause}");
        }
        Err(error) => println!("not tried: nobody else may run this program ({error})"),
    }
}
