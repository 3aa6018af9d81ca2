//! A process that is killed while it writes: the one after it finds everything that
//! was acknowledged, and ends the jobs. Until then it is refused.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use futures::future::join_all;
use proactive::domain::{FrameId, JobId, JobState, Uid};
use proactive::events::{Log, OpenError, Options, Start};
use proactive::telemetry::Metrics;
use proactive::world::World;

use crate::random::decided;

const FOLDER: &str = "LOG_TEST_FOLDER";
const WRITERS: usize = 16;
/// Acknowledged before it is killed.
const LEAST: usize = 300;

async fn open(folder: &Path) -> Result<Log, OpenError> {
    let options = Options {
        folder: Some(folder.to_owned()),
        entries_per_user: 1_000_000,
        wait: Duration::from_millis(100),
        ..Options::default()
    };
    Log::open(options, World::real(), Metrics::new()).await
}

#[tokio::test]
async fn e06_of_a_process_that_is_killed_nothing_acknowledged_is_lost_and_its_jobs_are_ended() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "killed::a_process_that_writes",
            "--ignored",
            "--nocapture",
        ])
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some(offset) = line.strip_prefix("kept ") else {
            continue;
        };
        acknowledged.push(offset.parse::<u64>().unwrap());
        if acknowledged.len() == LEAST {
            let refused = open(folder.path()).await.err().unwrap();
            let process = Some(child.id());
            assert!(
                matches!(refused, OpenError::InUse { process: found, .. } if found == process),
                "{refused}"
            );
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(acknowledged.len() >= LEAST);

    let log = open(folder.path()).await.unwrap();
    let ada = Uid::new("ada");
    let (mut start, mut kept) = (Start::Oldest, Vec::new());
    loop {
        let page = log.read(&ada, start, 1_000).await.unwrap();
        kept.extend(page.entries.iter().map(|entry| entry.offset));
        start = Start::After(page.cursor);
        if !page.more {
            break;
        }
    }
    assert!(kept.iter().copied().eq(1..=kept.len() as u64));
    for offset in acknowledged {
        assert!(kept.contains(&offset), "{offset} is lost");
    }
    let job = log.job(&ada, &JobId::new("j")).await.unwrap().unwrap();
    let JobState::Error(fault) = job.state else {
        panic!("{job:?}");
    };
    assert_eq!(
        fault.message,
        "The server that analysed this is gone; submit it again, under another key."
    );
}

#[tokio::test]
#[ignore = "the process that the test above starts"]
async fn a_process_that_writes() {
    #[expect(clippy::disallowed_methods, reason = "how it is told its folder")]
    let folder = std::env::var_os(FOLDER).map(PathBuf::from);
    let Some(folder) = folder else { return };
    let log = open(&folder).await.unwrap();
    let ada = Uid::new("ada");
    let id = JobId::new("j");
    let submitted = log.submit(&ada, id.clone(), FrameId::new("f"), None).await;
    submitted.unwrap();
    log.advance(&ada, &id, JobState::Streaming).await.unwrap();
    join_all((0..WRITERS).map(async |_| {
        loop {
            let appended = log.append(&ada, decided(500), None).await.unwrap();
            println!("kept {}", appended.cursor.offset);
        }
    }))
    .await;
}
