//! A model that does everything a model can do wrong, drawn from a seed.

use std::cell::RefCell;
use std::future::pending;
use std::time::Duration;

use proactive::gemini::{Call, Error, Turn, View};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::time::{sleep, sleep_until};

/// What a crash on purpose says; see the panic hook.
pub(crate) const ON_PURPOSE: &str = "a crash on purpose";

thread_local! {
    // One runtime and one schedule at a time per thread, so the order of the
    // throws is part of the schedule.
    static DICE: RefCell<SmallRng> = RefCell::new(SmallRng::seed_from_u64(0));
}

/// From now on this thread's model behaves as the seed says.
pub(crate) fn reseed(seed: u64) {
    DICE.set(SmallRng::seed_from_u64(!seed));
}

/// What the model does next.
struct Mood {
    delay: Delay,
    says: Says,
}

enum Delay {
    Of(Duration),
    /// Almost to the deadline, or to it.
    Until(Duration),
    Forever,
}

enum Says {
    Turn(Vec<Call>),
    Fault(Error),
    Crash,
}

/// What it answers to one question.
pub(crate) fn answer(view: View) -> impl Future<Output = Result<Turn, Error>> {
    let last = view.turns == 4;
    let Mood { delay, says } = DICE.with_borrow_mut(|dice| mood(dice, last));
    async move {
        assert_eq!(
            last,
            view.allowed.is_some(),
            "only the last turn is restricted"
        );
        match delay {
            Delay::Of(Duration::ZERO) => {}
            Delay::Of(delay) => sleep(delay).await,
            Delay::Until(before) => sleep_until(view.deadline - before).await,
            Delay::Forever => pending().await,
        }
        match says {
            Says::Turn(calls) => Ok(Turn::of_calls(calls)),
            Says::Fault(error) => Err(error),
            Says::Crash => panic!("{ON_PURPOSE}"),
        }
    }
}

fn millis(dice: &mut SmallRng, most: u64) -> Duration {
    Duration::from_millis(dice.random_range(0..=most))
}

fn mood(dice: &mut SmallRng, last: bool) -> Mood {
    let delay = match dice.random_range(0..100) {
        0..40 => Delay::Of(Duration::ZERO),
        40..80 => Delay::Of(millis(dice, 3_000)),
        80..94 => Delay::Of(millis(dice, 40_000)),
        94..98 => Delay::Until(
            *[0, 1, 500, 1_500]
                .map(Duration::from_millis)
                .choose(dice)
                .expect("not empty"),
        ),
        _ => Delay::Forever,
    };
    let says = match dice.random_range(0..100) {
        0..4 => Says::Crash,
        4..12 => Says::Fault(error(dice)),
        12..15 => Says::Turn(vec![]),
        15..18 => Says::Turn(vec![call("order_pizza")]),
        18..30 => Says::Turn(vec![call("no_task_found")]),
        30..36 => Says::Turn(vec![call("reject_task")]),
        36..50 => Says::Turn(vec![extract(dice)]),
        // In the last turn a model may search all the same.
        50..60 if last => Says::Turn(vec![search(dice)]),
        _ => Says::Turn(several(dice)),
    };
    Mood { delay, says }
}

fn several(dice: &mut SmallRng) -> Vec<Call> {
    let mut calls: Vec<_> = (0..dice.random_range(1..=6))
        .map(|_| search(dice))
        .collect();
    if dice.random_bool(0.2) {
        calls.push(extract(dice));
    }
    if dice.random_bool(0.1) {
        calls.insert(0, call("order_pizza"));
    }
    if dice.random_bool(0.7) {
        calls.truncate(1);
    }
    calls
}

fn call(name: &str) -> Call {
    Call {
        id: None,
        name: name.to_owned(),
        args: serde_json::Map::new(),
    }
}

fn search(dice: &mut SmallRng) -> Call {
    let name = ["search_similar", "search_keywords"].choose(dice);
    let mut call = call(name.expect("not empty"));
    if dice.random_bool(0.95) {
        // Few, so that they repeat.
        let queries = [
            "signed lease",
            "Signed  Lease",
            "Berlin",
            "office",
            "tenant",
        ];
        let query = queries.choose(dice).expect("not empty");
        call.args.insert("query".to_owned(), json!(query));
    }
    call
}

fn extract(dice: &mut SmallRng) -> Call {
    let titles = [
        json!("Send the signed lease to the Berlin office"),
        json!("Follow up"),
        json!(7),
    ];
    let title = titles.choose(dice).expect("not empty").clone();
    let mut call = call("extract_task");
    call.args.insert("title".to_owned(), title);
    call
}

fn error(dice: &mut SmallRng) -> Error {
    let errors = [
        Error::RateLimited { retry_after: None },
        Error::Unavailable { status: 503 },
        Error::Rejected { status: 400 },
        Error::Timeout,
        Error::Malformed {
            reason: "MALFORMED_FUNCTION_CALL".to_owned(),
        },
    ];
    errors.choose(dice).expect("not empty").clone()
}
