//! From one process to the next: entries, epochs, jobs, versions.

use std::fs;
use std::time::Duration;

use futures::future::join_all;
use rusqlite::Connection;

use super::{open, open_with, options};
use crate::domain::{Event, FrameFaultCode, FrameId, JobId, JobState};
use crate::events::sqlite::sweep::sweep;
use crate::events::tests::house::{Clock, decided, key, message, offsets, outcome, uid};
use crate::events::{Cursor, Error, OpenError, Options, Start, Told};

#[tokio::test]
async fn e07_everything_is_there_after_a_restart_and_the_epoch_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::new();
    let ada = uid("ada");
    let first = open(folder.path(), &clock, 1).unwrap();
    for frame in 1..=5 {
        first.log.append(&ada, decided(frame), None).await.unwrap();
    }
    let sent = first.log.append(&ada, message("m", None), Some(key("k")));
    let sent = sent.await.unwrap();
    let before = first.log.read(&ada, Start::Oldest, 100).await.unwrap();
    first.log.close().await;
    // Without an order to stop, as when it is killed, it is the same.
    for seed in 2..4 {
        let next = open(folder.path(), &clock, seed).unwrap();
        let after = next.log.read(&ada, Start::Oldest, 100).await.unwrap();
        assert_eq!(after, before);
        let again = next.log.append(&ada, message("n", None), Some(key("k")));
        let again = again.await.unwrap();
        assert_eq!(again.earlier.unwrap().as_str(), "m");
        assert_eq!(again.cursor, sent.cursor);
        drop(next);
        // Its thread needs a moment to notice.
        let mut patient = options(folder.path());
        patient.wait = Duration::from_secs(5);
        let next = open_with(&patient, &clock, seed).unwrap();
        next.log.close().await;
    }
}

#[tokio::test]
async fn e06_jobs_of_a_process_that_is_gone_become_errors_and_the_log_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::new();
    let (ada, bob) = (uid("ada"), uid("bob"));
    let first = open(folder.path(), &clock, 1).unwrap();
    let submit = async |user, id: &str| {
        let (id, frame) = (JobId::new(id), FrameId::new("f"));
        first
            .log
            .submit(user, id, frame, Some(key("k")))
            .await
            .unwrap();
    };
    submit(&ada, "ended").await;
    let done = JobState::Done(Box::new(outcome("")));
    let ended = JobId::new("ended");
    let ended = first
        .log
        .advance(&ada, &ended, done)
        .await
        .unwrap()
        .unwrap();
    submit(&bob, "pending").await;
    for n in 0..600 {
        let id = JobId::new(format!("streaming {n}"));
        let submitted = first.log.submit(&ada, id.clone(), FrameId::default(), None);
        submitted.await.unwrap();
        if n % 50 == 0 {
            let moved = first.log.advance(&ada, &id, JobState::Streaming).await;
            moved.unwrap().unwrap();
        }
    }
    let cursor = first.log.read(&bob, Start::Now, 1).await.unwrap().cursor;
    first.log.close().await;

    clock.advance(Duration::from_secs(60));
    let next = open(folder.path(), &clock, 2).unwrap();
    assert_eq!(next.log.job(&ada, &ended.id).await.unwrap().unwrap(), ended);
    let jobs = next.log.jobs(&ada, None, 1_000).await.unwrap();
    assert_eq!(jobs.len(), 601);
    assert!(jobs.iter().all(|job| job.state.is_terminal()));
    let page = next.log.read(&bob, Start::After(cursor), 10).await.unwrap();
    assert!(!page.gap);
    let Event::Job(told) = &page.entries[0].event else {
        panic!("{page:?}");
    };
    let JobState::Error(fault) = &told.state else {
        panic!("{told:?}");
    };
    assert_eq!(fault.code, FrameFaultCode::Internal);
    assert!(fault.retryable);
    assert_eq!(told.changed_at, clock.now());
    // The key is known, and what it came to.
    let again = next
        .log
        .submit(&bob, JobId::new("new"), FrameId::default(), Some(key("k")));
    assert!(again.await.unwrap().repeated);
    next.log.close().await;
    // Once is enough.
    let third = open(folder.path(), &clock, 3).unwrap();
    let page = third.log.read(&bob, Start::Oldest, 10).await.unwrap();
    assert_eq!(offsets(&page.entries), [1, 2]);
}

#[tokio::test]
async fn e06_a_second_process_is_told_who_has_the_folder_and_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::new();
    let ada = uid("ada");
    let first = open(folder.path(), &clock, 1).unwrap();
    let id = JobId::new("j");
    let submitted = first.log.submit(&ada, id.clone(), FrameId::default(), None);
    submitted.await.unwrap();
    let refused = open(folder.path(), &clock, 2).err().unwrap();
    let told = refused.to_string();
    let OpenError::InUse { process, .. } = refused else {
        panic!("{told}");
    };
    assert_eq!(process, Some(std::process::id()));
    assert!(told.contains("one process at a time can"), "{told}");
    let job = first.log.job(&ada, &id).await.unwrap().unwrap();
    assert_eq!(job.state, JobState::Pending);
    // One that waits takes over as soon as the first has left.
    let patient = Options {
        wait: Duration::from_secs(20),
        ..options(folder.path())
    };
    let waiting = tokio::task::spawn_blocking({
        let clock = clock.clone();
        move || open_with(&patient, &clock, 2)
    });
    first.log.close().await;
    let next = waiting.await.unwrap().unwrap();
    let job = next.log.job(&ada, &id).await.unwrap().unwrap();
    assert!(job.state.is_terminal());
}

#[tokio::test]
async fn every_version_is_brought_up_to_date_and_a_later_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("logs.db");
    let fixture = include_str!("version_1.sql");
    let db = Connection::open(&file).unwrap();
    db.execute_batch(fixture).unwrap();
    drop(db);
    let clock = Clock::new();
    let opened = open(folder.path(), &clock, 1).unwrap();
    let ada = uid("ada");
    let page = opened.log.read(&ada, Start::Oldest, 10).await.unwrap();
    assert_eq!(page.cursor.to_string(), "0f1e2d3c-4b5a-7:12");
    assert_eq!(offsets(&page.entries), [10, 11, 12]);
    assert!(matches!(&page.entries[0].event, Event::Decided(_)));
    assert!(matches!(&page.entries[1].event, Event::Message(_)));
    let job = opened.log.job(&ada, &JobId::new("a job")).await.unwrap();
    assert!(job.unwrap().state.is_terminal());
    opened
        .meddle(|db| db.pragma_update(None, "user_version", 99).unwrap())
        .await;
    opened.log.close().await;
    let refused = open(folder.path(), &clock, 2).err().unwrap();
    assert!(
        matches!(refused, OpenError::Newer { found: 99, .. }),
        "{refused}"
    );
    assert!(refused.to_string().contains("a later one"), "{refused}");
}

#[tokio::test]
async fn what_is_too_old_is_removed_a_little_at_a_time_and_users_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::new();
    let opened = open(folder.path(), &clock, 1).unwrap();
    let (ada, bob) = (uid("ada"), uid("bob"));
    let many = (0..600).map(|n| opened.log.append(&ada, decided(n), None));
    let last = join_all(many).await.pop().unwrap().unwrap().cursor;
    let sent = opened.log.append(&bob, message("m", None), Some(key("k")));
    sent.await.unwrap();
    let id = JobId::new("j");
    let submitted = opened
        .log
        .submit(&bob, id.clone(), FrameId::default(), None);
    submitted.await.unwrap();
    let rows = |db: &mut Connection| -> [i64; 3] {
        ["logs", "entries", "message_keys"].map(|table| {
            let count = format!("SELECT count(*) FROM {table}");
            db.query_row(&count, [], |row| row.get(0)).unwrap()
        })
    };
    assert_eq!(opened.meddle(rows).await, [2, 602, 1]);
    let cutoff = clock.now().as_millisecond();
    let mut sweeps = 0;
    while opened
        .meddle(move |db| sweep(db, cutoff, true).unwrap().more)
        .await
    {
        sweeps += 1;
    }
    assert!((2..10).contains(&sweeps), "{sweeps}");
    // Bob's job is under way, so its log has to stay.
    assert_eq!(opened.meddle(rows).await, [1, 0, 0]);
    let page = opened
        .log
        .read(&ada, Start::After(last.clone()), 1)
        .await
        .unwrap();
    assert!(page.gap);
    let anew = opened.log.append(&ada, decided(1), None).await.unwrap();
    assert_eq!(anew.cursor.offset, 1);
    assert_ne!(anew.cursor.epoch, last.epoch);
    let on = opened.log.append(&bob, decided(1), None).await.unwrap();
    assert_eq!(on.cursor.offset, 3);
}

#[tokio::test]
async fn what_grew_too_old_while_nobody_was_there_is_removed_without_being_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::new();
    let first = open(folder.path(), &clock, 1).unwrap();
    let ada = uid("ada");
    let many = (0..700).map(|n| first.log.append(&ada, decided(n), None));
    join_all(many).await;
    first.log.close().await;
    clock.advance(Options::default().age);
    let next = open(folder.path(), &clock, 2).unwrap();
    let left = |db: &mut Connection| -> i64 {
        let count = "SELECT count(*) FROM logs";
        db.query_row(count, [], |row| row.get(0)).unwrap()
    };
    while next.meddle(left).await > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let page = next.metrics.render();
    let line = "proactive_log_entries_swept_total{why=\"age\"} 700";
    assert!(page.contains(line), "{page}");
}

#[tokio::test]
async fn e07_a_backup_that_was_restored_as_the_manual_says_is_told_as_a_gap() {
    let manual = include_str!("../../../../docs/operations.md");
    let (_, statements) = manual.split_once("sqlite3 logs.db \"UPDATE").unwrap();
    let (statements, _) = statements.split_once('"').unwrap();
    let statements = format!("UPDATE{statements}");
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::new();
    let (ada, bob) = (uid("ada"), uid("bob"));
    let first = open(folder.path(), &clock, 1).unwrap();
    first.log.append(&ada, decided(1), None).await.unwrap();
    let of_ada = first.log.read(&ada, Start::Now, 1).await.unwrap().cursor;
    let of_bob = first.log.read(&bob, Start::Now, 1).await.unwrap().cursor;
    first.log.close().await;
    let db = Connection::open(folder.path().join("logs.db")).unwrap();
    db.execute_batch(&statements).unwrap();
    drop(db);
    let next = open(folder.path(), &clock, 2).unwrap();
    for (user, cursor) in [(&ada, of_ada), (&bob, of_bob)] {
        let page = next.log.read(user, Start::After(cursor), 10).await.unwrap();
        assert!(page.gap, "{page:?}");
        let told: Cursor = page.cursor.to_string().parse().unwrap();
        let after = next.log.read(user, Start::After(told), 10).await.unwrap();
        assert!(!after.gap, "{after:?}");
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path(), &Clock::new(), 1).unwrap();
    let ada = uid("ada");
    for frame in 1..=4 {
        opened.log.append(&ada, decided(frame), None).await.unwrap();
    }
    opened
        .meddle(|db| {
            let damage = "UPDATE entries SET body = 'nonsense' WHERE offset IN (2, 4)";
            db.execute(damage, []).unwrap()
        })
        .await;
    let page = opened.log.read(&ada, Start::Oldest, 10).await.unwrap();
    assert_eq!(
        (offsets(&page.entries), page.cursor.offset),
        (vec![1, 3], 4)
    );
    assert!(
        opened
            .metrics
            .render()
            .contains("proactive_log_rows_unreadable_total 2")
    );
    // Who follows is told that something is missing.
    let mut follower = opened.log.follow(&ada, Start::Oldest);
    let mut next = async || {
        let told = tokio::time::timeout(Duration::from_secs(20), follower.next());
        match told.await.unwrap().unwrap() {
            Told::Entry(entry) => entry.offset,
            Told::Gap => 0,
        }
    };
    assert_eq!([next().await, next().await, next().await], [1, 0, 3]);
    opened.log.append(&ada, decided(5), None).await.unwrap();
    assert_eq!([next().await, next().await], [0, 5]);
}

#[tokio::test]
async fn the_folder_and_its_files_are_this_users_alone() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let opened = open(&folder, &Clock::new(), 1).unwrap();
    opened
        .log
        .append(&uid("ada"), decided(1), None)
        .await
        .unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let mut names = Vec::new();
    for file in fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names, ["lock", "logs.db", "logs.db-shm", "logs.db-wal"]);
    opened.log.close().await;
    assert_eq!(
        opened.log.read(&uid("ada"), Start::Now, 1).await,
        Err(Error::Closed)
    );
    assert!(!folder.join("logs.db-wal").exists(), "tidied away");
}
