//! Appends in groups, beside a bare loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use proactive::events::{Log, Options};
use rusqlite::{Connection, params};
use tempfile::TempDir;

use super::report::{Report, Spread};
use super::{Result, event, log, now, seen, user};

const USERS: usize = 500;
const ROUNDS: usize = 9;
/// A session appends one thing at a time; so many do at once.
const APPENDERS: [usize; 2] = [16, 256];
/// Long enough that a checkpoint is among them.
const APPENDS: usize = 6_000;
/// Ours beside the bare loop: at least 0.7 of its appends in the same time.
const MOST: f64 = 1.0 / 0.7;

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    for appenders in APPENDERS {
        report.heading(&format!("Appends, {appenders} at once"));
        let (folder, bare) = (TempDir::new()?, TempDir::new()?);
        let options = Options {
            folder: Some(folder.path().to_owned()),
            ..Options::default()
        };
        let (ours, metrics) = log(options).await?;
        let mut bare = Bare::open(&bare)?;
        let body = stored(&ours, &folder).await?;
        let (mut ratios, mut rates, mut bare_rates) = (Vec::new(), Vec::new(), Vec::new());
        let mut groups = (0.0, 0.0);
        let mut cost = Vec::new();
        for _ in 0..ROUNDS {
            let cpu = seen::cpu(std::process::id())?;
            let began = Instant::now();
            let next = Arc::new(AtomicUsize::new(0));
            let append = || async {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= APPENDS {
                        return Ok::<_, proactive::events::Error>(());
                    }
                    ours.append(&user(number % USERS), event(), None).await?;
                }
            };
            try_join_all((0..appenders).map(|_| append())).await?;
            let took = began.elapsed();
            let cpu = seen::cpu(std::process::id())? - cpu;
            cost.push(cpu.as_secs_f64() * 1e6 / APPENDS as f64);
            let before = groups;
            groups = group_sums(&metrics.render());
            let group = (groups.0 - before.0) / (groups.1 - before.1);
            let bare_took = bare.append(&body, group)?;
            ratios.push(took.as_secs_f64() / bare_took.as_secs_f64());
            let rate = |took: Duration| APPENDS as f64 / took.as_secs_f64();
            rates.push(rate(took));
            bare_rates.push(rate(bare_took));
        }
        let size = groups.0 / groups.1;
        report.fact("calls in a group", format!("{size:>9.1}"));
        report.fact("appends a second", Spread::of(rates).with("/s"));
        report.fact("of the bare loop", Spread::of(bare_rates).with("/s"));
        report.fact("CPU for an append", Spread::of(cost).with("µs"));
        report.bound("time beside the bare loop", Spread::of(ratios), MOST);
        ours.close().await;
    }
    Ok(())
}

/// An event as it is stored.
async fn stored(ours: &Log, folder: &TempDir) -> Result<String> {
    ours.append(&user(0), event(), None).await?;
    let db = Connection::open(folder.path().join("logs.db"))?;
    Ok(db.query_row("SELECT body FROM entries", [], |row| row.get(0))?)
}

/// How many calls there were, and in how many groups.
fn group_sums(page: &str) -> (f64, f64) {
    let of = |name: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok())
            .unwrap_or(f64::NAN)
    };
    (
        of("proactive_log_group_sum"),
        of("proactive_log_group_count"),
    )
}

/// What does the same, and nothing else.
struct Bare {
    db: Connection,
    appended: usize,
}

impl Bare {
    fn open(folder: &TempDir) -> Result<Self> {
        let db = Connection::open(folder.path().join("bare.db"))?;
        db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
        db.execute_batch(include_str!("../../src/events/sqlite/0001.sql"))?;
        db.execute("INSERT INTO house VALUES ('0f1e2d3c-4b5a', 0)", [])?;
        Ok(Self { db, appended: 0 })
    }

    /// The same appends in groups of that size on average; how long it took.
    fn append(&mut self, body: &str, group: f64) -> Result<Duration> {
        let began = Instant::now();
        let mut numbers = 0..APPENDS;
        let mut due = 0.0;
        while !numbers.is_empty() {
            due += group;
            let transaction = self.db.transaction()?;
            let done = numbers.start;
            for number in numbers.by_ref() {
                let user = user(number % USERS);
                let at = now().as_millisecond();
                let mut update = transaction.prepare_cached(
                    "UPDATE logs SET head = head + 1, last_at = ?2,
                    oldest_at = coalesce(oldest_at, ?2) WHERE uid = ?1 RETURNING id, epoch, head",
                )?;
                let row = update.query_map(params![user.as_str(), at], |row| {
                    Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?))
                })?;
                let row: Option<(i64, String, i64)> = row.last().transpose()?;
                let (log, _, head) = match row {
                    Some(row) => row,
                    None => transaction.query_row(
                        "INSERT INTO logs (uid, epoch, head, jobs, oldest_at, last_at)
                        VALUES (?1, 'an epoch', 1, 0, ?2, ?2) RETURNING id, epoch, head",
                        params![user.as_str(), at],
                        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
                    )?,
                };
                transaction
                    .prepare_cached(
                        "INSERT INTO entries (log, offset, at, body) VALUES (?1, ?2, ?3, ?4)",
                    )?
                    .execute(params![log, head, at, body])?;
                if (number + 1 - done) as f64 >= due {
                    break;
                }
            }
            due -= (numbers.start - done) as f64;
            transaction.commit()?;
        }
        self.appended += APPENDS;
        Ok(began.elapsed())
    }
}
