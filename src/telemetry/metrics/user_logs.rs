//! The metrics of the users' logs.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Metrics, put, put_seconds};
use crate::telemetry::labels::{EntryKind, EntryLoss};

/// 500 µs to 10 s: a disk's wait until it has what was written.
const COMMIT_BUCKETS: [f64; 10] = [0.0005, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
/// 1 to as many as are taken together.
const GROUP_BUCKETS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: EntryKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LossLabels {
    why: EntryLoss,
}

#[derive(Debug)]
pub(super) struct UserLogs {
    entries: Family<KindLabels, Counter>,
    failures: Counter,
    commit_seconds: Histogram,
    group: Histogram,
    followers: Gauge,
    gaps: Counter,
    swept: Family<LossLabels, Counter>,
    unreadable: Counter,
}

impl UserLogs {
    pub(super) fn new(r: &mut Registry) -> Self {
        let logs = Self {
            entries: put(
                r,
                "log_entries",
                "Entries appended to users' logs, by kind",
                Family::default(),
            ),
            failures: put(
                r,
                "log_failures",
                "Calls that could not write or read users' logs",
                Counter::default(),
            ),
            commit_seconds: put_seconds(
                r,
                "log_commit",
                "Time until a group of calls is on the disk",
                &COMMIT_BUCKETS,
            ),
            group: put(
                r,
                "log_group",
                "Calls that are written to the disk together",
                Histogram::new(GROUP_BUCKETS),
            ),
            followers: put(
                r,
                "log_followers",
                "Followers of users' logs now",
                Gauge::default(),
            ),
            gaps: put(
                r,
                "log_gaps",
                "Times that a follower was told that entries are missing",
                Counter::default(),
            ),
            swept: put(
                r,
                "log_entries_swept",
                "Entries that are kept no more, by reason",
                Family::default(),
            ),
            unreadable: put(
                r,
                "log_rows_unreadable",
                "Stored entries and jobs that were left out because they could not be read",
                Counter::default(),
            ),
        };
        for &kind in EntryKind::ALL {
            let _ = logs.entries.get_or_create(&KindLabels { kind });
        }
        for &why in EntryLoss::ALL {
            let _ = logs.swept.get_or_create(&LossLabels { why });
        }
        logs
    }
}

impl Metrics {
    /// An entry was appended to a user's log.
    pub fn log_appended(&self, kind: EntryKind) {
        let entries = &self.0.user_logs.entries;
        entries.get_or_create(&KindLabels { kind }).inc();
    }

    /// A log could not be written or read.
    pub fn log_failed(&self) {
        self.0.user_logs.failures.inc();
    }

    /// So many calls were written together, in so long.
    pub fn log_committed(&self, calls: usize, time: Duration) {
        let logs = &self.0.user_logs;
        logs.group.observe(calls as f64);
        logs.commit_seconds.observe(time.as_secs_f64());
    }

    /// Somebody follows a log.
    pub fn log_follower_came(&self) {
        self.0.user_logs.followers.inc();
    }

    /// Somebody follows a log no more.
    pub fn log_follower_left(&self) {
        self.0.user_logs.followers.dec();
    }

    /// A follower was told of a gap.
    pub fn log_gap_told(&self) {
        self.0.user_logs.gaps.inc();
    }

    /// So many entries are kept no more.
    pub fn log_swept(&self, why: EntryLoss, entries: usize) {
        let swept = &self.0.user_logs.swept;
        swept
            .get_or_create(&LossLabels { why })
            .inc_by(entries as u64);
    }

    /// A stored entry or job was left out.
    pub fn log_row_unreadable(&self) {
        self.0.user_logs.unreadable.inc();
    }
}
