//! Users' logs from outside: followers that connect, drop and return at random while
//! a log is written, in every engine, each get exactly what was written, in order; and
//! of a process that is killed nothing is lost.
//!
//! `SEEDS=100 ENTRIES=10000 cargo test --release --test log -- --nocapture` plays so
//! many; `SEED=17` replays one. What is random comes from the seed; when the disk is
//! ready does not.

mod killed;
mod random;
#[path = "../support/seeds.rs"]
mod seeds;

const SEEDS: u64 = if cfg!(debug_assertions) { 6 } else { 100 };
const ENTRIES: u64 = if cfg!(debug_assertions) {
    2_000
} else {
    10_000
};

#[test]
fn e02_followers_that_come_and_go_at_random_get_exactly_what_was_written_in_order() {
    seeds::crash_quietly("nothing crashes on purpose");
    let entries = seeds::number("ENTRIES").unwrap_or(ENTRIES);
    if let Some(seed) = seeds::number("SEED") {
        return assert_eq!(random::play(seed, entries).map(|_| ()), Ok(()));
    }
    let count = seeds::number("SEEDS").unwrap_or(SEEDS);
    let played = seeds::play_all(count, random::Sum::default, |sum, seed| {
        *sum += random::play(seed, entries)?;
        Ok(())
    });
    let sums = played.unwrap_or_else(|(seed, wrong)| {
        panic!("seed {seed}: {wrong}\nreplay: SEED={seed} ENTRIES={entries} cargo test --test log")
    });
    let sum = sums
        .into_iter()
        .fold(random::Sum::default(), |mut sum, one| {
            sum += one;
            sum
        });
    println!("{count} seeds, {entries} entries each: {sum:?}");
    // Otherwise it proves little.
    assert!(sum.connected > count * 20, "{sum:?}");
    assert!(sum.given_up > count * 20, "{sum:?}");
}
