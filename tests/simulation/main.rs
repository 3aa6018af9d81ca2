//! Clients, intruders, a network that breaks, servers that crash, drain and are
//! replaced, clocks that jump and a model that does everything wrong, on a paused
//! clock: every frame ends once at its client, nobody hears what is another's, all
//! bounds hold, and nothing is left behind.
//!
//! `SEEDS=1000000` plays that many; `SEED=17` replays one and shows it:
//! `SEED=17 cargo test --test simulation -- --nocapture`. `broken/run` breaks the
//! product on purpose, and tells which seed finds it.
//!
//! No simulation crate: those that there are (turmoil, madsim) play hosts and sockets,
//! and the session core takes messages, not sockets. Played at that level, one seed
//! takes milliseconds, and the network can stall or cut between any two messages. The
//! real sockets are broken in the tests of the service and the balancers.

mod client;
#[path = "../support/day.rs"]
mod day;
#[path = "../support/faulty.rs"]
mod faulty;
mod intruder;
mod judge;
mod ledger;
mod link;
#[path = "../support/log.rs"]
mod log;
mod model;
mod network;
#[path = "../support/seeds.rs"]
mod seeds;
mod server;
mod stage;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const DEFAULT: u64 = 500;

#[test]
fn every_frame_ends_once_at_its_client_whatever_breaks() {
    seeds::crash_quietly(faulty::ON_PURPOSE);
    if let Some(seed) = seeds::number("SEED") {
        let mut trace = String::new();
        let result = seeds::caught(|| stage::play(seed, Some(&mut trace)));
        println!("{trace}");
        return assert_eq!(result.err(), None);
    }
    let count = seeds::number("SEEDS").unwrap_or(DEFAULT);
    let played = seeds::play_all(count, BTreeMap::new, |sums, seed| {
        count_up(sums, &stage::play(seed, None)?);
        Ok(())
    });
    let sums = played.unwrap_or_else(|(seed, wrong)| {
        panic!(
            "seed {seed}: {wrong}\nreplay: SEED={seed} cargo test --test simulation -- --nocapture"
        )
    });
    println!(
        "{count} simulations, seeds 0 to {}",
        count.saturating_sub(1)
    );
    if count >= DEFAULT {
        everything_occurred(&sums);
    }
}

/// Adds up what was counted in one simulation.
fn count_up(sums: &mut BTreeMap<String, u64>, page: &str) {
    for line in page.lines() {
        if let Some((name, count)) = line.split_once("_total")
            && let Some((labels, count)) = count.rsplit_once(' ')
        {
            let sum = sums.entry(format!("{name}{labels}")).or_default();
            *sum += count.parse::<u64>().unwrap_or_default();
        }
    }
}

/// Simulations in which nothing happens would prove nothing.
fn everything_occurred(sums: &[BTreeMap<String, u64>]) {
    let returns = ["taken_up", "unknown", "refused"];
    let returns = returns.map(|word| format!("session_returns{{result=\"{word}\"}}"));
    let ends = ["closed", "lost", "drained", "expired", "slow_client"];
    let ends = ends.map(|word| format!("sessions_ended{{end=\"{word}\"}}"));
    let frames = "extract_task reject_task no_task_found superseded cancelled gemini_error \
                  rate_limited timeout going_away internal abandoned throttled overloaded invalid";
    let frames = frames.split_whitespace();
    let frames = frames.map(|word| format!("frames{{result=\"{word}\"}}"));
    let limits = [
        "sessions",
        "user_sessions",
        "user_bytes",
        "memory",
        "user_frames",
    ];
    let limits = limits.map(|word| format!("limits_met{{limit=\"{word}\"}}"));
    let others = [
        "duplicate_frames",
        "discarded_tool_results",
        "refused_events",
    ]
    .map(str::to_owned);
    let others = others.into_iter().chain(limits);
    let all = returns.into_iter().chain(ends).chain(frames).chain(others);
    for what in all {
        let name = format!("proactive_{what}");
        let count: u64 = sums.iter().filter_map(|sums| sums.get(&name)).sum();
        println!("{what} {count}");
        assert!(count > 0, "{what} never occurred");
    }
}

/// Each of `broken/*.patch` says what it breaks, and still fits the product.
#[test]
fn what_breaks_the_product_on_purpose_still_applies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = fs::read_dir(root.join("tests/simulation/broken")).expect("the patches");
    let files = folder.map(|file| file.expect("a file").path());
    let is_patch = |file: &PathBuf| file.extension().is_some_and(|ending| ending == "patch");
    let mut count = 0;
    for file in files.filter(is_patch) {
        let patch = fs::read_to_string(&file).expect("a patch is text");
        let (_, source) = patch.split_once("\n--- a/").expect("it names a file");
        let (source, hunks) = source.split_once('\n').expect("it has hunks");
        let source = fs::read_to_string(root.join(source)).expect("the file is there");
        for hunk in hunks.split("\n@@ ").skip(1) {
            let lines = hunk.split('\n').skip(1);
            let before = lines.filter_map(|line| line.strip_prefix([' ', '-']));
            let before = before.collect::<Vec<_>>().join("\n");
            assert!(
                source.contains(&before),
                "{} is out of date",
                file.display()
            );
        }
        count += 1;
    }
    assert!(count >= 10, "only {count} patches");
}
