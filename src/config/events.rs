//! Where users' logs are kept, and how much of them.

use std::path::PathBuf;
use std::time::Duration;

use super::check::{MINUTE, SECOND, duration, given, number};
use super::limits::bytes;
use crate::events;

const HOUR: Duration = Duration::from_secs(60 * 60);
const MEMORY: std::ops::RangeInclusive<u64> = (1 << 20)..=(1 << 40);

/// The settings of users' logs.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Users' logs")]
pub struct EventSettings {
    /// The folder in which users' logs and jobs are kept, on a disk of this machine;
    /// made if its parent is there. One process at a time has it. Without it they are
    /// in memory, and go with the process.
    #[arg(long, env = "DATA_DIR", value_name = "FOLDER")]
    pub data_dir: Option<String>,
    /// How long an entry of a user's log is kept (1m to 30d); keys of messages, and
    /// jobs that have ended, as long.
    #[arg(
        long,
        env = "LOG_RETENTION",
        default_value = "24h",
        value_name = "DURATION"
    )]
    pub log_retention: String,
    /// Entries of one user that are kept, the newest (10 to 1000000).
    #[arg(
        long,
        env = "LOG_ENTRIES_PER_USER",
        default_value = "1000",
        value_name = "ENTRIES"
    )]
    pub log_entries_per_user: String,
    /// What all logs together may hold in memory, where there is no DATA_DIR (1 MiB to
    /// 1 TiB); beyond it, the user who was written to longest ago loses the oldest
    /// entries. It is not part of MEMORY_CEILING.
    #[arg(long, env = "LOG_MEMORY", default_value = "64MiB", value_name = "SIZE")]
    pub log_memory: String,
}

impl EventSettings {
    pub(super) fn check(&self, wrong: &mut Vec<String>) -> events::Options {
        let Self {
            data_dir,
            log_retention,
            log_entries_per_user,
            log_memory,
        } = self;
        let (least, most) = (MINUTE, 30 * 24 * HOUR);
        let entries = 10..=1_000_000;
        let entries = number(wrong, "LOG_ENTRIES_PER_USER", log_entries_per_user, entries);
        events::Options {
            folder: given(data_dir).map(PathBuf::from),
            age: duration(wrong, "LOG_RETENTION", log_retention, least..=most),
            entries_per_user: entries as usize,
            memory: bytes(wrong, "LOG_MEMORY", log_memory, MEMORY),
            wait: 5 * SECOND,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Settings;
    use crate::events;

    #[test]
    fn the_defaults_are_those_of_the_logs_themselves() {
        let config = Settings::defaults().embedded().check().unwrap();
        assert_eq!(config.events, events::Options::default());
    }

    #[test]
    fn a_folder_is_taken_as_it_is_and_what_keeps_nothing_is_a_mistake() {
        let mut settings = Settings::defaults().embedded();
        settings.events.data_dir = Some(" /data/logs ".to_owned());
        let folder = settings.check().unwrap().events.folder;
        assert_eq!(folder.as_deref(), Some(Path::new("/data/logs")));
        settings.events.log_retention = "0s".to_owned();
        settings.events.log_entries_per_user = "9".to_owned();
        settings.events.log_memory = "much".to_owned();
        let wrong = settings.mistakes();
        let expected = ["LOG_ENTRIES_PER_USER", "LOG_MEMORY", "LOG_RETENTION"];
        assert_eq!(wrong.names(), expected);
    }
}
