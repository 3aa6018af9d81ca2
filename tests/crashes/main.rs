//! `proactive serve` with a folder for its data, killed with SIGKILL at random moments
//! while frames are submitted, messages are sent, and logs are followed. It is judged by
//! what its clients were told: what was acknowledged is kept and seen through, each
//! follower is told all, in order and once.
//!
//! `make crashes` kills it 300 times and shows the table; CRASHES=1000 chooses
//! otherwise, and SEED=x has clients and the killer throw the same dice again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod asker;
mod follower;
mod judge;
#[path = "../faults/outside.rs"]
mod outside;
mod server;
mod stage;
#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use judge::{Asks, Sum};
use stage::{Played, Stage};
use support::tools::variable;

const CRASHES: u64 = 6;
/// From here on everything that may happen is held to have happened.
const MANY: u64 = 100;
/// Of what is wrong, so that it can be read.
const SHOWN: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn e06_whenever_it_is_killed_what_was_acknowledged_is_kept_and_followers_are_told_it_once() {
    let crashes = number("CRASHES").unwrap_or(CRASHES);
    let seed = number("SEED").unwrap_or_else(|| std::process::id().into());
    let mut folder = tempfile::tempdir().unwrap();
    // What was kept and logged stays to be looked at, unless all goes well.
    folder.disable_cleanup(true);
    println!("SEED={seed} in {}", folder.path().display());
    let began = Instant::now();
    let played = Stage::set(folder.path(), seed).await.play(crashes).await;
    println!("{}", table(crashes, &played, began.elapsed()));
    let mut wrong = played.wrong.clone();
    wrong.extend(what_did_not_happen(crashes, &played));
    let (all, kept) = (wrong.len(), folder.path().display().to_string());
    wrong.truncate(SHOWN);
    assert!(
        wrong.is_empty(),
        "SEED={seed}, {all} are wrong, data and log are in {kept}:\n{}",
        wrong.join("\n")
    );
    folder.disable_cleanup(false);
}

fn table(crashes: u64, played: &Played, took: Duration) -> String {
    let Played {
        while_starting,
        longest_start,
        users,
        followers,
        streams,
        sum,
        ..
    } = played;
    let Sum {
        jobs,
        messages,
        done,
        error,
        lost,
        entries,
    } = sum;
    let asks = |asks: &Asks| {
        let Asks {
            acknowledged,
            again,
            had_been_taken,
            unanswered,
        } = asks;
        format!("{acknowledged} | {again} | {had_been_taken} | {unanswered}")
    };
    format!(
        "\n| kills | while it started | users | followers | entries | streams of followers | longest start | all in all |\n\
         |---|---|---|---|---|---|---|---|\n\
         | {crashes} | {while_starting} | {users} | {followers} | {entries} | {streams} | {:.2} s | {:.0} s |\n\n\
         | what | acknowledged | sent again under its key | of those, taken before without an answer | \
         never answered, and there | done | error | of those, lost with the server |\n\
         |---|---|---|---|---|---|---|---|\n\
         | submits | {} | {done} | {error} | {lost} |\n\
         | messages | {} | | | |\n",
        longest_start.as_secs_f64(),
        took.as_secs_f64(),
        asks(jobs),
        asks(messages),
    )
}

/// What does not happen shows nothing.
fn what_did_not_happen(crashes: u64, played: &Played) -> Vec<String> {
    let Sum {
        jobs,
        messages,
        done,
        error,
        lost,
        ..
    } = &played.sum;
    let mut happened = vec![
        (jobs.acknowledged, "no submit was acknowledged"),
        (messages.acknowledged, "no message was acknowledged"),
        (*done, "no job was done"),
        (*error, "no job ended with an error"),
    ];
    if crashes >= MANY {
        happened.extend([
            (*lost, "no job was lost with its server"),
            (jobs.had_been_taken, "no answer to a submit was lost"),
            (messages.had_been_taken, "no answer to a message was lost"),
            (played.while_starting, "no server was killed in its start"),
        ]);
    }
    let missing = happened.into_iter().filter(|(count, _)| *count == 0);
    missing.map(|(_, what)| what.to_owned()).collect()
}

fn number(name: &str) -> Option<u64> {
    let text = variable(name)?.into_string().unwrap();
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is no number")))
}
