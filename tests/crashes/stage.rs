//! The experiment itself: a server, its users, and whoever kills it.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use proactive::stand_in::Move;
use proactive::transport::proto::{Job, JobState, ListJobsRequest, LogEvent};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use reqwest::Client;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::asker::{Asked, Asker, What, message};
use crate::follower::{END, Record, Shared, Way, follow, is_end, lock};
use crate::judge::{Evidence, Sum};
use crate::outside::Outside;
use crate::server::Server;
use crate::support::PATIENCE;
use crate::support::http::Http;
use crate::support::outside::{Caller, SERVICE_TOKEN};

const USERS: usize = 3;
/// Each answer of the model takes so long, so that jobs are lost in every state.
const MODEL_LATENCY: Duration = Duration::from_millis(30);
/// From a server's readiness to its end, in milliseconds.
const LIFE: RangeInclusive<u64> = 20..=400;
/// All that is under way has ended by then.
const LONGEST_END: Duration = Duration::from_secs(30);

pub(crate) struct Stage {
    outside: Outside,
    server: Server,
    dice: SmallRng,
}

/// What became of it.
#[derive(Default)]
pub(crate) struct Played {
    pub(crate) while_starting: usize,
    pub(crate) longest_start: Duration,
    pub(crate) users: usize,
    pub(crate) followers: usize,
    pub(crate) streams: usize,
    pub(crate) sum: Sum,
    pub(crate) wrong: Vec<String>,
}

/// One user, and who is at work for him.
struct User {
    name: String,
    /// Who asks when all is over.
    caller: Caller,
    sender: Caller,
    asking: JoinSet<(Vec<Asked>, Vec<String>)>,
    following: JoinSet<()>,
    records: Vec<(String, Shared)>,
}

impl Stage {
    pub(crate) async fn set(folder: &Path, seed: u64) -> Self {
        let outside = Outside::start(MODEL_LATENCY).await;
        // In turn, for whatever frame: jobs end in every way, some after a search.
        outside.model.usually([
            Move::call("no_task_found", json!({})),
            Move::call("search_similar", json!({ "query": "the lease" })),
            Move::call("reject_task", json!({ "reason": "It is tracked already." })),
            Move::rules(),
            Move::call("no_task_found", json!({ "context_summary": "An editor." })),
            Move::status(400),
            Move::call("no_task_found", json!({})),
        ]);
        let server = Server::start(&outside, folder);
        Self {
            outside,
            server,
            dice: SmallRng::seed_from_u64(seed),
        }
    }

    /// Kills the server so often, lets everything end, and judges.
    pub(crate) async fn play(mut self, crashes: u64) -> Played {
        let mut played = Played::default();
        let over = CancellationToken::new();
        let users: Vec<_> = (0..USERS).map(|nth| self.user(nth, &over)).collect();
        self.kill(crashes, &mut played).await;
        over.cancel();
        let until = Instant::now() + LONGEST_END;
        for user in users {
            played.users += 1;
            played.followers += user.records.len();
            let evidence = user.ends(until, &mut played).await;
            let wrong = evidence.judge(&mut played.sum);
            played.wrong.extend(wrong);
        }
        played
    }

    /// Whose clients are at work from now on.
    fn user(&mut self, nth: usize, over: &CancellationToken) -> User {
        let name = format!("user-{nth}");
        let token = self.outside.token(&name);
        let mut asking = JoinSet::new();
        for what in [What::Frame, What::Message] {
            let bearer = match what {
                What::Frame => &*token,
                What::Message => SERVICE_TOKEN,
            };
            for (door, caller) in [("grpc", self.grpc(bearer)), ("http", self.http(bearer))] {
                let who = format!("{name}-{what:?}-{door}");
                let asker = Asker::new(who, what, &name, caller, self.dice.random());
                asking.spawn(asker.asks(over.clone()));
            }
        }
        let (mut following, mut records) = (JoinSet::new(), Vec::new());
        for (way, by) in [
            (Way::Caller(self.grpc(&token)), "Subscribe"),
            (Way::Caller(self.http(&token)), "/v1/stream"),
            (Way::Session(self.channel(), token.clone()), "a session"),
            (
                Way::WebSocket(self.server.http, token.clone()),
                "a WebSocket",
            ),
        ] {
            let record = Shared::default();
            following.spawn(follow(way, record.clone(), self.dice.random()));
            records.push((format!("the follower by {by}"), record));
        }
        User {
            caller: self.grpc(&token),
            sender: self.grpc(SERVICE_TOKEN),
            name,
            asking,
            following,
            records,
        }
    }

    async fn kill(&mut self, crashes: u64, played: &mut Played) {
        let usual_start = self.server.ready().await;
        played.longest_start = usual_start;
        for _ in 0..crashes {
            if self.dice.random_bool(0.2) {
                // Whatever it does then: opening, ending jobs, or serving.
                let most = 1.2 * usual_start.as_secs_f64();
                sleep(Duration::from_secs_f64(self.dice.random_range(0.0..most))).await;
                played.while_starting += 1;
            } else {
                let started = self.server.ready().await;
                played.longest_start = played.longest_start.max(started);
                sleep(Duration::from_millis(self.dice.random_range(LIFE))).await;
            }
            self.server.kill_and_start().await;
        }
        let started = self.server.ready().await;
        played.longest_start = played.longest_start.max(started);
    }

    /// Connects when it is needed, and anew when it has to.
    fn channel(&self) -> Channel {
        let url = format!("http://{}", self.server.grpc);
        Endpoint::from_shared(url).unwrap().connect_lazy()
    }

    fn grpc(&self, token: &str) -> Caller {
        Caller::Grpc(self.channel(), token.to_owned())
    }

    fn http(&self, token: &str) -> Caller {
        let base = format!("http://{}", self.server.http);
        // As for readiness, see there: a connection for each call.
        let client = Client::builder().pool_max_idle_per_host(0).build();
        Caller::Http(Http::with(client.unwrap(), base, token.to_owned()))
    }
}

impl User {
    /// Waits until everything has ended, and takes down what there is to know.
    async fn ends(mut self, until: Instant, played: &mut Played) -> Evidence {
        let mut asked = Vec::new();
        while let Some(one) = self.asking.join_next().await {
            let (some, wrong) = one.unwrap();
            asked.extend(some);
            played.wrong.extend(wrong);
        }
        let listed = self.all_ended(until).await;
        self.sender.fire(message(&self.name, END)).await.unwrap();
        let following = std::mem::take(&mut self.following);
        if timeout(PATIENCE, following.join_all()).await.is_err() {
            let what = format!("{}: not every follower was told the end", self.name);
            played.wrong.push(what);
        }
        let log = self.log().await;
        let mut got = HashMap::new();
        for one in asked.iter().filter(|one| one.what == What::Frame) {
            let Some(acknowledged) = &one.acknowledged else {
                continue;
            };
            match self.caller.job(&acknowledged.id).await {
                Ok(job) => drop(got.insert(job.job_id.clone(), job)),
                Err(status) => played.wrong.push(format!("{one:?}: {status}")),
            }
        }
        let mut followers = Vec::new();
        for (name, record) in &self.records {
            let Record {
                events,
                streams,
                wrong,
            } = std::mem::take(&mut *lock(record));
            played.streams += streams;
            let of = &self.name;
            let wrong = wrong.iter().map(|what| format!("{of}: {name} {what}"));
            played.wrong.extend(wrong);
            followers.push((name.clone(), events));
        }
        Evidence {
            user: self.name,
            asked,
            got,
            listed,
            followers,
            log,
        }
    }

    /// All jobs, as soon as all have ended, or when that takes too long.
    async fn all_ended(&self, until: Instant) -> Vec<Job> {
        loop {
            let jobs = self.all_jobs().await.unwrap();
            let ended = |job: &Job| matches!(job.state(), JobState::Done | JobState::Error);
            if jobs.iter().all(ended) || Instant::now() > until {
                return jobs;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn all_jobs(&self) -> Result<Vec<Job>, Status> {
        let (mut jobs, mut page_token) = (Vec::new(), String::new());
        loop {
            let page_size = 100;
            let asked = ListJobsRequest {
                page_size,
                page_token,
            };
            let told = self.caller.list(asked).await?;
            jobs.extend(told.jobs);
            page_token = told.next_page_token;
            if page_token.is_empty() {
                return Ok(jobs);
            }
        }
    }

    /// The whole log, read anew.
    async fn log(&self) -> Vec<LogEvent> {
        let mut followed = self.caller.follow("oldest").await.unwrap();
        followed.start().await;
        let mut log = Vec::new();
        loop {
            let event = followed.event().await;
            let ends = is_end(&event);
            log.push(event);
            if ends {
                return log;
            }
        }
    }
}
