//! Clients on a network that breaks, servers that crash and are replaced, and a
//! model that does everything wrong, on a paused clock: every frame ends once at
//! its client, and nothing is left behind.
//!
//! `SEEDS=1000000` plays that many; `SEED=17` replays one and shows it:
//! `SEED=17 cargo test --test simulation -- --nocapture`.

mod client;
#[path = "../support/faulty.rs"]
mod faulty;
mod network;
#[path = "../support/seeds.rs"]
mod seeds;
mod stage;

use std::collections::BTreeMap;

use proactive::telemetry::Metrics;

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
fn count_up(sums: &mut BTreeMap<String, u64>, metrics: &Metrics) {
    for line in metrics.render().lines() {
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
    let returns = ["taken_up", "unknown"];
    let returns = returns.map(|word| format!("session_returns{{result=\"{word}\"}}"));
    let ends = ["closed", "lost", "drained", "expired"];
    let ends = ends.map(|word| format!("sessions_ended{{end=\"{word}\"}}"));
    let frames = "extract_task reject_task no_task_found superseded cancelled gemini_error \
                  rate_limited timeout going_away internal abandoned";
    let frames = frames.split_whitespace();
    let frames = frames.map(|word| format!("frames{{result=\"{word}\"}}"));
    let others = ["duplicate_frames", "discarded_tool_results"].map(str::to_owned);
    let all = returns.into_iter().chain(ends).chain(frames).chain(others);
    for what in all {
        let name = format!("proactive_{what}");
        let count: u64 = sums.iter().filter_map(|sums| sums.get(&name)).sum();
        println!("{what} {count}");
        assert!(count > 0, "{what} never occurred");
    }
}
