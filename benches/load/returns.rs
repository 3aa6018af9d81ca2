//! All sessions lose their streams, in one way or another, and come back.

use std::time::Duration;

use proactive::desk::backoff;
use tokio::time::{Instant, sleep};

use super::lab::Lab;
use super::report::{Report, Spread};
use super::{Bed, PATIENCE, Plan, Result, complaints};

/// A session that has stood for so long counts as no failure when it ends.
const STAND: Duration = backoff::MOST.saturating_add(Duration::from_secs(3));
/// How long all may take; whoever is not back by then is lost.
const LOST: Duration = Duration::from_secs(180);
/// A desktop is told to leave within DRAIN_SPREAD (5 s), and waits for up to 5 s more: that
/// is 10 s, and at most a fifth of all in one of them. The rest is for a machine that is busy.
const DEPLOY: Bounds = Bounds {
    all: 15.0,
    second: 0.3,
};
/// The old server is gone after some 6 s. Who came earlier has waited up to 2, 4, 8 and 16 s
/// since, and may have to wait for 32 s.
const IN_PLACE: Bounds = Bounds {
    all: 45.0,
    second: 0.5,
};
/// Up to 2 s, so that each second has half of them; and 4, 8 and 16 more for those who come
/// before the server is there.
const KILLED: Bounds = Bounds {
    all: 30.0,
    second: 0.6,
};
/// Up to 2 s.
const CUT: Bounds = Bounds {
    all: 8.0,
    second: 0.6,
};
/// Sessions without a stream, of all users.
const MOST_AWAY: usize = 10_000;

/// What is promised of a return.
struct Bounds {
    /// Seconds until all are back.
    all: f64,
    /// Share of all that comes in the busiest second.
    second: f64,
}

/// How they lose their streams.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Deploy,
    InPlace,
    Killed,
    Cut,
}

pub(crate) async fn run(plan: &Plan, lab: &Lab, bed: &mut Bed, report: &mut Report) -> Result<()> {
    for (way, name, bounds) in [
        (
            Way::Deploy,
            "SIGTERM, while another server is there already",
            DEPLOY,
        ),
        (
            Way::InPlace,
            "SIGTERM, and a new server once the old one has left",
            IN_PLACE,
        ),
        (Way::Killed, "kill -9, and a new server at once", KILLED),
        (
            Way::Cut,
            "the balancer loses all connections, the server stays",
            CUT,
        ),
    ] {
        sleep(STAND).await;
        report.heading(name);
        drop(bed.crowd.take());
        let (began, gone) = lose(way, lab, bed, report).await?;
        let all = bed.crowd.all_arrived(LOST).await;
        let memory = bed.server.memory()?;
        let spent = bed.server.cpu()?;
        // A stream that breaks again would show now.
        sleep(STAND).await;
        bed.crowd.pause(true);
        let unanswered = bed.crowd.unanswered(PATIENCE).await;
        bed.crowd.pause(false);
        let seen = bed.crowd.take();
        let after = |(at, _): &(Instant, bool)| at.saturating_duration_since(began);
        let arrivals: Vec<_> = seen.arrivals.values().map(after).collect();
        let last = arrivals.iter().max().copied().unwrap_or_default();
        let most = draw(&arrivals);
        let resumed = seen
            .arrivals
            .values()
            .filter(|(_, resumed)| *resumed)
            .count();
        let back = seen.arrivals.len();
        if let Some(gone) = gone {
            report.fact(
                "the old server was gone after",
                format!("{:.1} s", gone.as_secs_f64()),
            );
        }
        report.fact("back, and of them resumed", format!("{back}, {resumed}"));
        let frames = format!("{}, {}", seen.sent, seen.sent_again);
        report.fact("frames sent, and sent again", frames);
        report.fact("answers that came again", seen.repeated.to_string());
        report.fact(
            "longest wait of a frame",
            format!("{:.1} s", seen.wait(1.0) / 1e3),
        );
        report.fact(
            "memory when all were back",
            format!("{:.0} MB", memory as f64 / 1e6),
        );
        report.fact(
            "memory now",
            format!("{:.0} MB", bed.server.memory()? as f64 / 1e6),
        );
        if way != Way::Cut {
            report.fact(
                "CPU of the new server until then",
                format!("{:.1} s", spent.as_secs_f64()),
            );
        }
        report.fact("what streams met", seen.told_troubles().1);
        let lost = if all { 0 } else { plan.sessions() - back };
        let share = most as f64 / plan.sessions() as f64;
        let one = |value| Spread::of([value]);
        report.bound(
            "all were back after seconds",
            one(last.as_secs_f64()),
            bounds.all,
        );
        report.bound("share of the busiest second", one(share), bounds.second);
        report.bound("not back", one(lost as f64), 0.0);
        report.bound("frames unanswered", one(unanswered as f64), 0.0);
        report.bound("frames without a decision", one(seen.failed as f64), 0.0);
        report.bound(
            "frames answered twice",
            one(seen.answered_twice as f64),
            0.0,
        );
        if way == Way::Cut {
            let not_resumed = back - resumed;
            let beyond = plan.sessions().saturating_sub(MOST_AWAY);
            report.bound("not resumed", one(not_resumed as f64), beyond as f64);
        }
    }
    Ok(())
}

/// Draws how many came in each second, and tells the most.
fn draw(arrivals: &[Duration]) -> usize {
    let mut seconds: Vec<usize> = vec![];
    for after in arrivals {
        let second = after.as_secs() as usize;
        seconds.resize(seconds.len().max(second + 1), 0);
        seconds[second] += 1;
    }
    let most = seconds.iter().copied().max().unwrap_or_default();
    for (second, count) in seconds.iter().enumerate() {
        let bar = "#".repeat((count * 50).div_ceil(most.max(1)));
        println!("  {second:3} s  {count:6}  {bar}");
    }
    most
}

/// Takes their streams away, and sees to it that there is a server. When that began,
/// and how long the old server took to leave; what its log said is judged.
async fn lose(
    way: Way,
    lab: &Lab,
    bed: &mut Bed,
    report: &mut Report,
) -> Result<(Instant, Option<Duration>)> {
    let mut began = Instant::now();
    let gone = match way {
        Way::Deploy => {
            let new = lab.start().await?;
            began = Instant::now();
            bed.balancer.switch(new.port);
            bed.crowd.reroute();
            let mut old = std::mem::replace(&mut bed.server, new);
            let gone = old.leave().await?;
            complaints(&old, report)?;
            Some(gone)
        }
        Way::InPlace => {
            let gone = bed.server.leave().await?;
            complaints(&bed.server, report)?;
            bed.server = lab.start_again(&bed.server).await?;
            Some(gone)
        }
        Way::Killed => {
            bed.server.kill().await?;
            complaints(&bed.server, report)?;
            bed.server = lab.start_again(&bed.server).await?;
            None
        }
        Way::Cut => {
            bed.balancer.cut();
            None
        }
    };
    Ok((began, gone))
}
