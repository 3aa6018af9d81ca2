//! The circuit's states on a paused clock.

use jiff::Timestamp;
use tokio::time::advance;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const OPTIONS: CircuitOptions = CircuitOptions {
    failures: 5,
    window: Duration::from_secs(60),
    open: Duration::from_secs(30),
};

fn circuit_of(seed: u64) -> Circuit {
    let world = World::fixed(Timestamp::UNIX_EPOCH, seed);
    Circuit::new("m".into(), OPTIONS, world, Metrics::new())
}

fn circuit() -> Circuit {
    circuit_of(7)
}

impl Circuit {
    /// A call that ends at once, if it is let through.
    fn call(&self, verdict: Verdict) -> bool {
        self.admit()
            .map(|mut passage| passage.verdict = verdict)
            .is_ok()
    }

    fn outages(&self, count: usize) {
        for _ in 0..count {
            assert!(self.call(Verdict::Outage));
        }
    }

    /// When to come back.
    fn refused_for(&self) -> Duration {
        match self.check() {
            Err(Error::Outage { retry_after }) => retry_after,
            other => panic!("not refused: {other:?}"),
        }
    }

    fn shows(&self, line: &str) -> bool {
        self.metrics.render().lines().any(|shown| shown == line)
    }
}

#[tokio::test(start_paused = true)]
async fn outages_in_a_row_open_it_and_frames_are_told_when_to_come_back() {
    let circuit = circuit();
    circuit.outages(4);
    assert_eq!(circuit.check(), Ok(()));
    assert!(circuit.shows("proactive_model_circuit{model=\"m\"} 0"));
    circuit.outages(1);
    assert!(
        !circuit.call(Verdict::Answered),
        "nothing is asked any more"
    );
    let wait = circuit.refused_for();
    assert!((30..=45).contains(&wait.as_secs()), "{wait:?}");
    assert!(circuit.shows("proactive_model_circuit{model=\"m\"} 2"));
    assert!(circuit.shows("proactive_model_circuit_opened_total{model=\"m\"} 1"));
}

#[test]
fn only_what_is_the_servers_fault_is_an_outage() {
    let said = |error: Error, little| Verdict::of(Some(&error), little);
    for outage in [
        Error::Unavailable { status: 503 },
        Error::Connection,
        Error::Timeout,
        Error::NoToken,
    ] {
        assert_eq!(said(outage, false), Verdict::Outage);
    }
    assert_eq!(said(Error::Connection, true), Verdict::Outage);
    for unknown in [Error::Timeout, Error::NoToken, Error::NoAccess] {
        assert_eq!(said(unknown, true), Verdict::Unknown);
    }
    let reason = String::new();
    for answer in [
        Error::RateLimited { retry_after: None },
        Error::DailyQuota,
        Error::Rejected { status: 400 },
        Error::Truncated,
        Error::Blocked {
            reason: reason.clone(),
        },
        Error::Malformed { reason },
    ] {
        assert_eq!(said(answer, false), Verdict::Answered);
    }
    assert_eq!(Verdict::of(None, false), Verdict::Answered);
}

#[tokio::test(start_paused = true)]
async fn a_few_outages_among_many_answers_open_nothing() {
    let circuit = circuit();
    for _ in 0..100 {
        assert!(circuit.call(Verdict::Answered));
        assert!(circuit.call(Verdict::Answered));
        circuit.outages(1);
    }
    // From here on they are at least half of all.
    circuit.outages(100);
    assert!(circuit.check().is_err());
}

#[tokio::test(start_paused = true)]
async fn outages_far_apart_and_calls_that_were_given_up_open_nothing() {
    let circuit = circuit();
    for _ in 0..50 {
        circuit.outages(4);
        advance(OPTIONS.window).await;
    }
    for _ in 0..50 {
        circuit.outages(1);
        advance(OPTIONS.window / 4).await;
    }
    circuit.outages(1);
    for _ in 0..50 {
        assert!(circuit.call(Verdict::Unknown));
    }
    assert_eq!(circuit.check(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn after_the_pause_one_call_tries_and_its_success_closes_the_circuit() {
    let circuit = circuit();
    circuit.outages(5);
    advance(30 * SECOND - Duration::from_millis(1)).await;
    assert!(circuit.check().is_err(), "never too early");
    advance(8 * SECOND).await;
    let mut trial = circuit
        .admit()
        .unwrap_or_else(|refused| panic!("{refused}"));
    assert!(circuit.shows("proactive_model_circuit{model=\"m\"} 1"));
    assert!(!circuit.call(Verdict::Answered), "one at a time");
    let wait = circuit.refused_for();
    assert!((1..9).contains(&wait.as_secs()), "{wait:?}");
    trial.verdict = Verdict::Answered;
    drop(trial);
    assert!(circuit.shows("proactive_model_circuit{model=\"m\"} 0"));
    circuit.outages(4);
    assert_eq!(circuit.check(), Ok(()), "what was is forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_try_that_fails_opens_it_again_and_one_that_is_given_up_leaves_the_next() {
    let circuit = circuit();
    circuit.outages(5);
    advance(38 * SECOND).await;
    assert!(circuit.call(Verdict::Outage));
    assert!(circuit.refused_for() >= 30 * SECOND);
    assert!(circuit.shows("proactive_model_circuit_opened_total{model=\"m\"} 1"));
    advance(38 * SECOND).await;
    for _ in 0..3 {
        assert!(circuit.call(Verdict::Unknown));
    }
    assert!(circuit.call(Verdict::Answered));
    assert_eq!(circuit.check(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_call_of_an_earlier_state_says_nothing_of_this_one() {
    let circuit = circuit();
    let begin = || {
        circuit
            .admit()
            .unwrap_or_else(|refused| panic!("{refused}"))
    };
    let [mut good, mut bad] = [(); 2].map(|()| begin());
    let late: Vec<_> = (0..5).map(|_| begin()).collect();
    circuit.outages(5);
    good.verdict = Verdict::Answered;
    drop(good);
    assert!(circuit.check().is_err(), "an old answer closes nothing");
    advance(38 * SECOND).await;
    let mut trial = circuit
        .admit()
        .unwrap_or_else(|refused| panic!("{refused}"));
    bad.verdict = Verdict::Outage;
    drop(bad);
    trial.verdict = Verdict::Answered;
    drop(trial);
    for mut call in late {
        call.verdict = Verdict::Outage;
        drop(call);
    }
    assert_eq!(circuit.check(), Ok(()), "old outages open nothing");
}

#[tokio::test(start_paused = true)]
async fn replicas_do_not_try_at_the_same_time() {
    let mut pauses = Vec::new();
    for seed in 0..8 {
        let circuit = circuit_of(seed);
        let begun = Instant::now();
        circuit.outages(5);
        while circuit.check().is_err() {
            advance(Duration::from_millis(100)).await;
        }
        pauses.push(begun.elapsed().as_millis());
    }
    assert!(pauses.iter().all(|pause| (30_000..=37_600).contains(pause)));
    pauses.sort_unstable();
    pauses.dedup();
    assert!(pauses.len() > 4, "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn zero_failures_mean_that_nothing_opens_it() {
    let options = CircuitOptions {
        failures: 0,
        ..OPTIONS
    };
    let circuit = Circuit::new("m".into(), options, World::real(), Metrics::new());
    circuit.outages(1_000);
    assert_eq!(circuit.check(), Ok(()));
}
