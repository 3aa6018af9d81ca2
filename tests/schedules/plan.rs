//! What a client and its surroundings do in one schedule, drawn from a seed.

use std::time::Duration;

use proactive::domain::RequestId;
use proactive::session::{Options, Version};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// Few ids, so that they repeat.
const IDS: [&str; 5] = ["f1", "f2", "f3", "f4", "f5"];
const CONTEXTS: [&str; 3] = ["v1", "v2", "v3"];

/// Something that happens to a session from outside.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Hello {
        version: Version,
        name: &'static str,
        tasks: bool,
    },
    Frame {
        id: &'static str,
        context: Option<&'static str>,
    },
    /// An unusable frame.
    BadFrame(Option<&'static str>),
    /// An unusable event.
    BadEvent,
    Cancel(&'static str),
    Heartbeat,
    Result(RequestId, Found),
    /// The client closes its side.
    Close,
    /// The transport tells that the connection broke.
    Lose,
    /// The receiver of the answers is dropped.
    Leave,
    /// The server stops softly.
    Drain,
    /// The server stops at once.
    Halt,
    /// The client stops reading.
    Pause,
    Resume,
}

/// What a desktop answers to a search.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found {
    Nothing,
    Something,
    Failure,
}

/// One schedule.
pub(crate) struct Plan {
    pub(crate) options: Options,
    /// Messages between session and client.
    pub(crate) queue: usize,
    /// What happens, and when after the start.
    pub(crate) deeds: Vec<(Duration, Deed)>,
}

pub(crate) fn millis(dice: &mut SmallRng, most: u64) -> Duration {
    Duration::from_millis(dice.random_range(0..=most))
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let dice = &mut SmallRng::seed_from_u64(seed);
        let options = Options {
            frames_at_once: dice.random_range(1..=3),
            ..Options::default()
        };
        let queue = if dice.random_bool(0.2) { 1 } else { 8 };
        let mut now = Duration::ZERO;
        let mut deeds = Vec::new();
        if dice.random_bool(0.8) {
            deeds.push((now, hello(dice, 0.8)));
        }
        // How hurried the client is, and whether it ever stops reading.
        let pace = *[0, 50, 1_000, 8_000].choose(dice).expect("not empty");
        let pauses = dice.random_bool(0.2);
        for _ in 0..dice.random_range(1..=20) {
            if dice.random_bool(0.6) {
                now += millis(dice, pace);
            }
            deeds.push((now, deed(dice, pauses)));
        }
        if dice.random_bool(0.1) {
            deeds.push((now, Deed::Drain));
            for _ in 0..3 {
                now += millis(dice, 4_000);
                deeds.push((now, deed(dice, pauses)));
            }
        }
        if pauses && dice.random_bool(0.8) {
            deeds.push((now + millis(dice, 12_000), Deed::Resume));
        }
        now += millis(dice, 12_000);
        let last = match dice.random_range(0..20) {
            0..10 => Deed::Close,
            10..12 => Deed::Lose,
            12..14 => Deed::Leave,
            14..17 => Deed::Drain,
            _ => Deed::Halt,
        };
        deeds.push((now, last));
        Self {
            options,
            queue,
            deeds,
        }
    }
}

fn hello(dice: &mut SmallRng, tasks: f64) -> Deed {
    let version = if dice.random_bool(0.5) {
        Version::V1_1
    } else {
        Version::V1_0
    };
    Deed::Hello {
        version,
        name: CONTEXTS.choose(dice).expect("not empty"),
        tasks: dice.random_bool(tasks),
    }
}

fn deed(dice: &mut SmallRng, pauses: bool) -> Deed {
    let id = |dice: &mut SmallRng| *IDS.choose(dice).expect("not empty");
    match dice.random_range(0..100) {
        0..60 => Deed::Frame {
            id: id(dice),
            context: dice
                .random_bool(0.3)
                .then(|| *CONTEXTS.choose(dice).expect("not empty")),
        },
        60..73 => Deed::Cancel(id(dice)),
        73..78 => Deed::Heartbeat,
        78..83 => hello(dice, 0.5),
        83..88 => Deed::BadFrame(Some(id(dice))),
        88 => Deed::BadFrame(None),
        89..91 => Deed::BadEvent,
        91..94 => Deed::Result(RequestId::new("made up"), Found::Something),
        94..97 if pauses => Deed::Pause,
        97..100 if pauses => Deed::Resume,
        _ => Deed::Frame {
            id: id(dice),
            context: None,
        },
    }
}

/// What a desktop does about a search, and how long after it was asked.
pub(crate) fn answers(dice: &mut SmallRng, request: &RequestId) -> Vec<(Duration, Deed)> {
    let found = *[
        Found::Nothing,
        Found::Something,
        Found::Something,
        Found::Failure,
    ]
    .choose(dice)
    .expect("not empty");
    let answer = |after| (after, Deed::Result(request.clone(), found));
    let soon = millis(dice, 2_000);
    match dice.random_range(0..20) {
        0..4 => vec![answer(Duration::ZERO)],
        4..12 => vec![answer(soon)],
        // On the edge of the deadline, and beyond it.
        12 => vec![answer(Duration::from_secs(10))],
        13 => vec![answer(Duration::from_secs(9) + soon)],
        14 => vec![answer(Duration::from_secs(11) + soon)],
        // Twice.
        15 => vec![answer(soon), answer(soon)],
        16 => vec![answer(soon), answer(soon + Duration::from_secs(9))],
        // For somebody else first.
        17 => {
            let other = Deed::Result(RequestId::new(format!("{request}x")), Found::Something);
            vec![(Duration::ZERO, other), answer(soon)]
        }
        // Never.
        _ => vec![],
    }
}
