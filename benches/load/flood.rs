//! One user's answer times while another user sends a hundred times the frames that
//! are allowed, beside those without that. Both take turns within minutes, so that
//! what else the machine does disturbs both.

use std::sync::Arc;
use std::time::Duration;

use proactive::transport::proto::client_event::Event as Said;
use proactive::transport::proto::server_event::Event;
use proactive::transport::proto::{ClientEvent, FrameEvent, Heartbeat, ToolResult};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::crowd::Crowd;
use super::desk::{Common, Desk, Line};
use super::lab::{Lab, Server};
use super::report::{Report, Spread};
use super::tally::{Seen, Tally};
use super::{PATIENCE, Result, complaints};

const CALL: Duration = Duration::from_millis(250);
/// The default.
const FRAMES_PER_MINUTE: u32 = 300;
const TIMES: u32 = 100;
/// As many as a user may have.
const FLOODING: u32 = 20;
/// Of the honest user, with a frame each [`PACE`] on average; on each of two connections.
const HONEST: usize = 4;
const PACE: Duration = Duration::from_secs(3);
/// After a change, until what was under way before it has ended.
const SETTLE: Duration = Duration::from_secs(5);
const COUNTED: Duration = Duration::from_secs(25);
const BEAT: Duration = Duration::from_secs(15);

/// Where there is no queue, others wait for the CPU alone. Where there is one, a call
/// begins after at most two of the flood's, and a frame has two calls.
const SETTINGS: [Setting; 2] = [
    Setting {
        calls: 400,
        median: 50.0,
        p99: 250.0,
    },
    Setting {
        calls: 3,
        median: 750.0,
        p99: 1_250.0,
    },
];

/// The two connections of the honest user.
const LINES: [&str; 2] = ["a connection of its own", "on the flood's connection"];

/// Calls to the model at once, and by how many milliseconds the flood may delay the
/// median and the slowest hundredth of another's answers.
struct Setting {
    calls: u32,
    median: f64,
    p99: f64,
}

/// What was seen without the flood and with it, on each of the two connections.
#[derive(Default)]
struct Turns {
    quiet: [Seen; 2],
    flooded: [Seen; 2],
    flood: Seen,
    /// Of the server, without the flood and with it.
    cpu: [Duration; 2],
    /// Seconds, of each.
    counted: f64,
}

pub(crate) async fn run(rounds: u32, report: &mut Report) -> Result<()> {
    for setting in SETTINGS {
        let mut lab = Lab::new(CALL).await?;
        lab.set("MODEL_CALLS_AT_ONCE", setting.calls);
        let server = lab.start().await?;
        let field = Field::new(&lab, &server).await?;
        report.heading(&format!(
            "A flood of {TIMES} times FRAMES_PER_MINUTE, with {} calls of {} ms at once",
            setting.calls,
            CALL.as_millis()
        ));
        let turns = field.turns(rounds, &server).await?;
        turns.tell(&setting, report);
        field.leave(report).await?;
        complaints(&server, report)?;
    }
    Ok(())
}

impl Turns {
    fn tell(&self, setting: &Setting, report: &mut Report) {
        println!("{:32}without the flood           with it", "");
        println!(
            "{:28}frames   median      p99   frames   median      p99",
            ""
        );
        let figures = |seen: &Seen| {
            let (median, p99) = (seen.wait(0.5), seen.wait(0.99));
            format!("{:6} {median:5.0} ms {p99:5.0} ms", seen.answered)
        };
        let lines = || LINES.iter().zip(&self.quiet).zip(&self.flooded);
        for ((name, quiet), flooded) in lines() {
            println!("  {name:26}{}   {}", figures(quiet), figures(flooded));
        }
        let rate = self.flood.sent as f64 / self.counted;
        report.fact("the flood's frames a second", format!("{rate:.0}"));
        report.fact("of them decided on", self.flood.answered.to_string());
        report.fact("and answered otherwise", self.flood.told_troubles().1);
        let [without, with] = self.cpu.map(|cpu| cpu.as_secs_f64() / self.counted * 100.0);
        let cpu = format!("{without:.0} % without, {with:.0} % with the flood");
        report.fact("CPU of the server", cpu);
        let due = f64::from(FRAMES_PER_MINUTE * TIMES) / 60.0;
        let missing = Spread::of([1.0 - rate / due]);
        report.bound("share missing to the flood", missing, 0.05);
        for ((name, quiet), flooded) in lines() {
            for (quantile, of, most) in
                [(0.5, "median", setting.median), (0.99, "p99", setting.p99)]
            {
                let later = flooded.wait(quantile) - quiet.wait(quantile);
                let what = format!("{name}: {of}, ms later");
                report.bound(&what, Spread::of([later]), most);
            }
            for seen in [quiet, flooded] {
                let (troubles, told) = seen.told_troubles();
                report.bound("  errors", Spread::of([troubles as f64]), 0.0);
                if troubles > 0 {
                    report.fact("  which were", told);
                }
            }
        }
    }
}

/// The honest user, on a connection of its own and on the flood's, and the flood.
struct Field {
    honest: [Crowd; 2],
    flood: Arc<Tally>,
    flooding: watch::Sender<bool>,
    _flood: JoinSet<()>,
}

impl Field {
    async fn new(lab: &Lab, server: &Server) -> Result<Self> {
        let url = server.url();
        let mut honest = [Crowd::new(lab, url.clone(), 1)?, Crowd::new(lab, url, 1)?];
        for crowd in &mut honest {
            for _ in 0..HONEST {
                crowd.add("honest".to_owned(), Some(PACE), PACE);
            }
            if !crowd.all_arrived(PATIENCE).await {
                return Err("not all sessions could be opened".into());
            }
        }
        let flood = Arc::<Tally>::default();
        let (flooding, on) = watch::channel(false);
        let mut running = JoinSet::new();
        for number in 0..FLOODING {
            let common = honest[1].common();
            let mut desk = Desk::new(common.clone(), number as usize, "flood".to_owned(), None);
            let (line, _) = desk.open().await?;
            running.spawn(send_all(line, common, on.clone(), flood.clone()));
        }
        Ok(Self {
            honest,
            flood,
            flooding,
            _flood: running,
        })
    }

    async fn turns(&self, rounds: u32, server: &Server) -> Result<Turns> {
        let mut turns = Turns::default();
        for _ in 0..rounds {
            for with_flood in [false, true] {
                self.flooding.send_replace(with_flood);
                sleep(SETTLE).await;
                let before = server.cpu()?;
                drop((self.take(), self.flood.take()));
                sleep(COUNTED).await;
                turns.cpu[usize::from(with_flood)] += server.cpu()? - before;
                let seen = match with_flood {
                    false => &mut turns.quiet,
                    true => &mut turns.flooded,
                };
                for (all, more) in seen.iter_mut().zip(self.take()) {
                    all.add(more);
                }
                if with_flood {
                    turns.flood.add(self.flood.take());
                }
            }
            turns.counted += COUNTED.as_secs_f64();
        }
        self.flooding.send_replace(false);
        Ok(turns)
    }

    fn take(&self) -> [Seen; 2] {
        self.honest.each_ref().map(Crowd::take)
    }

    async fn leave(mut self, report: &mut Report) -> Result<()> {
        for crowd in &mut self.honest {
            crowd.pause(true);
            let unanswered = crowd.unanswered(PATIENCE).await;
            report.bound("frames unanswered", Spread::of([unanswered as f64]), 0.0);
            crowd.leave().await;
        }
        Ok(())
    }
}

/// One of the flood's sessions: while it is on, frames go out whatever comes back.
async fn send_all(
    mut line: Line,
    common: Arc<Common>,
    on: watch::Receiver<bool>,
    flood: Arc<Tally>,
) {
    let every = Duration::from_secs(60) * FLOODING / (FRAMES_PER_MINUTE * TIMES);
    let (mut frames, mut beats) = (interval(every), interval(BEAT));
    loop {
        let event = tokio::select! {
            biased;
            event = line.from_server.message() => event,
            _ = beats.tick() => {
                line.say(Said::Heartbeat(Heartbeat::default())).await;
                continue;
            }
            _ = frames.tick() => {
                if *on.borrow() {
                    let frame = FrameEvent {
                        screenshot_id: common.world.uuid(),
                        ..common.screen()
                    };
                    let event = Some(Said::FrameEvent(frame));
                    // It must not wait, or it would not read meanwhile.
                    let sent = line.to_server.try_send(ClientEvent { event });
                    flood.note(|seen| match sent {
                        Ok(()) => seen.sent += 1,
                        Err(_) => seen.trouble("not sent, the server not reading"),
                    });
                }
                continue;
            }
        };
        match event.map(|event| event.and_then(|event| event.event)) {
            Ok(Some(Event::ToolCallRequest(call))) => {
                let result = ToolResult {
                    request_id: call.request_id,
                    result: Some(common.found.clone()),
                    frame_id: call.frame_id,
                    ..ToolResult::default()
                };
                line.say(Said::ToolResult(result)).await;
            }
            Ok(Some(Event::AnalysisOutcome(_))) => flood.note(|seen| seen.answered += 1),
            Ok(Some(Event::ServerError(error))) => flood.note(|seen| seen.trouble(error.code)),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return flood.note(|seen| seen.trouble("streams ended")),
        }
    }
}
