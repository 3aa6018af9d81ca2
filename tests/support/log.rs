//! Users' logs for tests of the session's core.

use jiff::Timestamp;
use proactive::events::{Log, Options};
use proactive::telemetry::Metrics;
use proactive::world::World;

/// Logs with chance of their own, so that whose seeds are known keep their meaning.
pub(crate) fn empty_log(metrics: &Metrics) -> Log {
    let world = World::fixed(Timestamp::UNIX_EPOCH, 8);
    Log::in_memory(Options::default(), world, metrics.clone())
}
