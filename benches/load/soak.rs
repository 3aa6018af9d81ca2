//! Many sessions that do nothing and some that send frames, for minutes.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::crowd::Crowd;
use super::lab::Server;
use super::report::{Report, Spread};
use super::tally::Seen;
use super::{PATIENCE, Plan, Result};

/// Resident memory of the last minute beside the second one: in the first, sessions and
/// caches are still made.
const MOST_GROWTH: f64 = 1.05;
/// Of the heartbeats, one each 20 s and session, so many fall beyond the edges of the
/// minutes counted.
const MOST_MISSING: f64 = 0.02;
const SAMPLE: Duration = Duration::from_secs(5);
const MINUTE: Duration = Duration::from_secs(60);

pub(crate) async fn run(
    plan: &Plan,
    server: &Server,
    crowd: &Crowd,
    report: &mut Report,
) -> Result<()> {
    report.heading(&format!(
        "{} idle sessions and {} active ones, a frame each {} s, {} minutes, {} connections",
        plan.idle, plan.active, plan.pace, plan.minutes, plan.connections
    ));
    println!(
        "  minute   memory   CPU   frames   median      p99   longest   heartbeats   troubles"
    );
    let mut all = Seen::default();
    let mut memory = vec![];
    let mut begin = Instant::now();
    for minute in 1..=plan.minutes {
        let spent = server.cpu()?;
        let mut samples = vec![];
        for at in 1..=(MINUTE.as_secs() / SAMPLE.as_secs()) as u32 {
            sleep_until(begin + at * SAMPLE).await;
            samples.push(server.memory()? as f64 / 1e6);
        }
        begin += MINUTE;
        let spent = (server.cpu()? - spent).as_secs_f64() / MINUTE.as_secs_f64();
        let mean = samples.iter().sum::<f64>() / samples.len() as f64;
        memory.push(mean);
        let seen = crowd.take();
        let (troubles, told) = seen.told_troubles();
        println!(
            "  {minute:6} {mean:6.0} MB {:4.0}% {:8} {:5.0} ms {:5.0} ms {:6.0} ms {:12} {troubles:10} {told}",
            spent * 100.0,
            seen.answered,
            seen.wait(0.5),
            seen.wait(0.99),
            seen.wait(1.0),
            seen.heartbeats,
        );
        all.add(seen);
    }
    crowd.pause(true);
    let unanswered = crowd.unanswered(PATIENCE).await;
    crowd.pause(false);
    let frames = format!(
        "{} sent, answered in the median after {:.0} ms",
        all.sent,
        all.wait(0.5)
    );
    report.fact("frames", frames);
    report.fact("answered within (p99)", format!("{:.0} ms", all.wait(0.99)));
    report.fact(
        "CPU of the server in all",
        format!("{:.1} s", server.cpu()?.as_secs_f64()),
    );
    let second = memory.get(1).or(memory.first()).copied();
    let growth = memory.last().copied().zip(second);
    let growth = growth.map_or(f64::NAN, |(last, second)| last / second);
    report.bound(
        "memory, last minute / second",
        Spread::of([growth]),
        MOST_GROWTH,
    );
    for (name, count) in [
        ("errors, streams that ended", all.told_troubles().0),
        ("frames unanswered", unanswered),
        ("frames answered twice", all.answered_twice),
    ] {
        report.bound(name, Spread::of([count as f64]), 0.0);
    }
    let due = plan.minutes as f64 * 3.0 * crowd.len() as f64;
    let missing = (1.0 - all.heartbeats as f64 / due).abs();
    report.bound(
        "heartbeats, share off what is due",
        Spread::of([missing]),
        MOST_MISSING,
    );
    Ok(())
}
