//! The limits of users and of everybody together, and what they are where
//! nothing is said: as much as the machine gives.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use bytesize::ByteSize;

use super::check::{given, number, take};
use super::{Settings, machine};
use crate::session;

const MIB: u64 = 1 << 20;
/// A user's bytes must have room for one frame of 10 MiB: as it came and, a
/// third longer, as it goes to the model.
const LEAST_OF_USER: u64 = 24 * MIB;
const LEAST_CEILING: u64 = 32 * MIB;
/// Without a limit of memory.
const USUAL_CEILING: u64 = 1 << 30;
const MOST: u64 = 1 << 40;

impl Settings {
    pub(super) fn limits(&self, wrong: &mut Vec<String>) -> session::Limits {
        let w = wrong;
        let frames = number(
            w,
            "FRAMES_PER_MINUTE",
            &self.frames_per_minute,
            1..=1_000_000,
        );
        let bytes_per_user = bytes(
            w,
            "MAX_BYTES_IN_FLIGHT_PER_USER",
            &self.max_bytes_in_flight_per_user,
            LEAST_OF_USER..=MOST,
        );
        let sessions_per_user = number(
            w,
            "MAX_SESSIONS_PER_USER",
            &self.max_sessions_per_user,
            1..=1_000_000,
        );
        session::Limits {
            sessions_per_user: sessions_per_user as usize,
            frames_per_minute: NonZeroU32::new(frames).unwrap_or(NonZeroU32::MIN),
            bytes_per_user,
            sessions: number(w, "MAX_SESSIONS", &self.max_sessions, 1..=1_000_000) as usize,
            bytes: self.memory_ceiling(w),
        }
    }

    /// Half of what the process may have, if that is limited: the rest is for
    /// connections, and for what the allocator keeps.
    fn memory_ceiling(&self, wrong: &mut Vec<String>) -> usize {
        const NAME: &str = "MEMORY_CEILING";
        let all = machine::memory();
        let Some(text) = given(&self.memory_ceiling) else {
            let half = all.map_or(USUAL_CEILING, |all| all / 2);
            return half.clamp(LEAST_CEILING, MOST) as usize;
        };
        let ceiling = bytes(wrong, NAME, text, LEAST_CEILING..=MOST);
        if let Some(all) = all.filter(|all| ceiling as u64 > *all) {
            let all = ByteSize::b(all).display().iec();
            wrong.push(format!(
                "{NAME}: \"{text}\" is more than the {all} that this process may have in all"
            ));
        }
        ceiling
    }

    /// Without a word, one for each session and a few, as far as there are
    /// descriptors, of which a quarter is left for everything else.
    pub(super) fn max_connections(&self, wrong: &mut Vec<String>, sessions: usize) -> usize {
        const NAME: &str = "MAX_CONNECTIONS";
        let files = machine::open_files();
        let Some(text) = given(&self.max_connections) else {
            let enough = sessions + sessions / 10 + 100;
            return files.map_or(enough, |files| enough.min(files / 4 * 3));
        };
        let most = number(wrong, NAME, text, 1..=1_000_000) as usize;
        if let Some(files) = files.filter(|files| most > *files) {
            wrong.push(format!(
                "{NAME}: \"{text}\" is more than the {files} files that this process may have open \
                 (ulimit -n)"
            ));
        }
        most
    }
}

pub(super) fn bytes(
    wrong: &mut Vec<String>,
    name: &str,
    text: &str,
    range: RangeInclusive<u64>,
) -> usize {
    let value = text.trim().parse().ok().map(|ByteSize(bytes)| bytes);
    let value = value.filter(|bytes| range.contains(bytes)).ok_or_else(|| {
        let [least, most] = [range.start(), range.end()].map(|end| ByteSize(*end).display().iec());
        format!("\"{text}\" is not a size from {least} to {most}, such as \"64MiB\"")
    });
    take(wrong, name, value).unwrap_or(*range.end()) as usize
}

#[cfg(test)]
mod tests {
    use crate::config::Settings;

    fn names(change: impl FnOnce(&mut Settings)) -> Vec<String> {
        let mut settings = Settings::defaults().embedded();
        change(&mut settings);
        let wrong = settings.mistakes();
        wrong.names().into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn the_defaults_have_room_for_an_honest_desktop_and_for_the_largest_frame() {
        let config = Settings::defaults().embedded().check().unwrap();
        let limits = config.limits;
        assert_eq!(limits.sessions_per_user, 20);
        assert_eq!(limits.frames_per_minute.get(), 300);
        assert_eq!(limits.bytes_per_user, 32 << 20);
        assert_eq!(limits.sessions, 10_000);
        assert!(limits.bytes >= 32 << 20, "{}", limits.bytes);
        assert!(config.max_connections > 0);
    }

    #[test]
    fn sizes_are_written_as_people_and_kubernetes_write_them() {
        for (text, size) in [
            ("512Mi", 512 << 20),
            ("1 GiB", 1 << 30),
            ("64MB", 64_000_000),
        ] {
            let mut settings = Settings::defaults().embedded();
            settings.max_bytes_in_flight_per_user = text.into();
            assert_eq!(settings.check().unwrap().limits.bytes_per_user, size);
        }
    }

    #[test]
    fn what_holds_no_frame_or_more_than_there_is_is_a_mistake() {
        let wrong = names(|set| {
            set.max_bytes_in_flight_per_user = "1MiB".into();
            set.memory_ceiling = Some("lots".into());
            set.max_connections = Some("-1".into());
            set.max_sessions = "0".into();
            set.max_sessions_per_user = "none".into();
            set.frames_per_minute = "0".into();
        });
        let expected = [
            "FRAMES_PER_MINUTE",
            "MAX_BYTES_IN_FLIGHT_PER_USER",
            "MAX_CONNECTIONS",
            "MAX_SESSIONS",
            "MAX_SESSIONS_PER_USER",
            "MEMORY_CEILING",
        ];
        assert_eq!(wrong, expected);
        if super::machine::open_files().is_some_and(|files| files < 1_000_000) {
            let wrong = names(|set| set.max_connections = Some("1000000".into()));
            assert_eq!(wrong, ["MAX_CONNECTIONS"]);
        }
    }
}
