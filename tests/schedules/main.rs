//! Random schedules against the session core, on a paused clock: whatever a
//! client, a model and a stopping server do, every accepted frame gets exactly
//! one answer, and nothing is left behind.
//!
//! `SCHEDULES=100000` plays that many; `SEED=17` replays one and shows it:
//! `SEED=17 cargo test --test schedules -- --nocapture`.

#[path = "../support/caller.rs"]
mod caller;
mod ledger;
#[path = "../support/log.rs"]
mod log;
#[path = "../support/faulty.rs"]
mod model;
mod plan;
#[path = "../support/seeds.rs"]
mod seeds;
mod stage;

use stage::House;

const DEFAULT: u64 = 2_000;

#[test]
fn every_accepted_frame_gets_exactly_one_answer_and_nothing_is_left_behind() {
    seeds::crash_quietly(model::ON_PURPOSE);
    if let Some(seed) = seeds::number("SEED") {
        let (result, trace) = show(seed);
        println!("{trace}");
        return assert_eq!(result, Ok(()));
    }
    let count = seeds::number("SCHEDULES").unwrap_or(DEFAULT);
    let played = seeds::play_all(count, House::new, |house, seed| house.play(seed, None));
    let houses = played.unwrap_or_else(|(seed, _)| {
        let (result, trace) = show(seed);
        let wrong = result.err();
        let wrong = wrong.unwrap_or_else(|| "only fails beside others".to_owned());
        panic!(
            "{trace}schedule {seed}: {wrong}\n\
             replay: SEED={seed} cargo test --test schedules -- --nocapture"
        );
    });
    println!("{count} schedules, seeds 0 to {}", count.saturating_sub(1));
    if count >= DEFAULT {
        let pages: Vec<_> = houses.iter().map(House::metrics).collect();
        everything_occurred(&pages);
    }
}

fn show(seed: u64) -> (Result<(), String>, String) {
    let mut trace = String::new();
    let result = seeds::caught(|| House::new().play(seed, Some(&mut trace)));
    (result, trace)
}

/// A test of schedules in which nothing happens would prove nothing.
fn everything_occurred(pages: &[String]) {
    let frames = "extract_task reject_task no_task_found no_context invalid superseded cancelled \
                  gemini_error rate_limited timeout going_away internal abandoned";
    let frames = frames
        .split_whitespace()
        .map(|word| format!("frames_total{{result=\"{word}\"}}"));
    let ends = ["closed", "lost", "slow_client", "drained"];
    let ends = ends.map(|word| format!("sessions_ended_total{{end=\"{word}\"}}"));
    let tools = ["answered", "failed", "timeout", "gone", "cancelled"];
    let tools = tools.map(|word| format!("tool=\"search_similar\",result=\"{word}\"}}"));
    let others = [
        "duplicate_frames_total",
        "discarded_tool_results_total",
        "repeated_searches_total",
    ];
    let others = others.map(str::to_owned);
    for what in frames.chain(ends).chain(tools).chain(others) {
        let lines = pages.iter().flat_map(|page| page.lines());
        let found: Vec<_> = lines
            .filter_map(|line| line.split_once(&what)?.1.strip_prefix(' '))
            .collect();
        println!("{what} {found:?}");
        assert!(
            found.iter().any(|count| *count != "0"),
            "{what} never occurred"
        );
    }
}
