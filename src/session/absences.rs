//! The sessions without a stream, and how much they keep: bounded for each user
//! and in all.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::AwayLimits;
use crate::domain::{SessionId, Uid};

/// A session's place among those without a stream; later ones are higher.
pub(super) type Place = u64;

/// Those without a stream.
#[derive(Default)]
pub(super) struct Absences {
    /// In the order in which they lost it.
    all: BTreeMap<Place, Absence>,
    users: HashMap<Uid, User>,
    next: Place,
    bytes: usize,
}

struct Absence {
    session: SessionId,
    uid: Uid,
    bytes: usize,
}

#[derive(Default)]
struct User {
    places: BTreeSet<Place>,
    bytes: usize,
}

impl Absences {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// A session has lost its stream and keeps so many bytes.
    pub(super) fn add(&mut self, session: SessionId, uid: Uid, bytes: usize) -> Place {
        let place = self.next;
        self.next += 1;
        self.bytes += bytes;
        let user = self.users.entry(uid.clone()).or_default();
        user.places.insert(place);
        user.bytes += bytes;
        let absence = Absence {
            session,
            uid,
            bytes,
        };
        self.all.insert(place, absence);
        place
    }

    /// It is back, or has ended.
    pub(super) fn remove(&mut self, place: Place) -> Option<SessionId> {
        let absence = self.all.remove(&place)?;
        self.bytes -= absence.bytes;
        if let Some(user) = self.users.get_mut(&absence.uid) {
            user.bytes -= absence.bytes;
            user.places.remove(&place);
            if user.places.is_empty() {
                self.users.remove(&absence.uid);
            }
        }
        Some(absence.session)
    }

    /// Takes out the one that must go because the limits are broken, if they are:
    /// the one that has been away longest, of this user if it is the user's fault.
    pub(super) fn take_one_too_many(
        &mut self,
        uid: &Uid,
        limits: &AwayLimits,
    ) -> Option<SessionId> {
        let too_many_of = |user: &User| {
            user.places.len() > limits.sessions_per_user || user.bytes > limits.bytes_per_user
        };
        let of_user = self.users.get(uid).filter(|user| too_many_of(user));
        let place = match of_user {
            Some(user) => user.places.first().copied(),
            None if self.all.len() > limits.sessions || self.bytes > limits.bytes => {
                self.all.keys().next().copied()
            }
            None => None,
        };
        self.remove(place?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: AwayLimits = AwayLimits {
        sessions: 4,
        sessions_per_user: 2,
        bytes: 100,
        bytes_per_user: 50,
    };

    /// Sessions that lose their streams one after the other, as (name, user,
    /// bytes), and who has to go then.
    fn gone(leaving: &[(&str, &str, usize)]) -> Vec<String> {
        let mut absences = Absences::default();
        let mut gone = Vec::new();
        for (session, uid, bytes) in leaving {
            let uid = Uid::new(*uid);
            absences.add(SessionId::new(*session), uid.clone(), *bytes);
            while let Some(session) = absences.take_one_too_many(&uid, &LIMITS) {
                gone.push(session.to_string());
            }
        }
        let left: usize = absences.all.values().map(|absence| absence.bytes).sum();
        assert_eq!(absences.bytes, left);
        gone
    }

    #[test]
    fn who_has_been_away_longest_goes_first_and_a_user_takes_no_others_place() {
        assert_eq!(gone(&[("a1", "a", 0), ("a2", "a", 0)]), [""; 0]);
        let flood = [
            ("b1", "b", 0),
            ("a1", "a", 0),
            ("a2", "a", 0),
            ("a3", "a", 0),
        ];
        assert_eq!(gone(&flood), ["a1"], "of the one who has too many");
        let many = ["a", "b", "c", "d", "e"].map(|name| (name, name, 0));
        assert_eq!(gone(&many), ["a"], "of all");
        assert_eq!(
            gone(&[("b1", "b", 9), ("a1", "a", 60)]),
            ["a1"],
            "too large"
        );
        let large = [("a1", "a", 49), ("b1", "b", 49), ("c1", "c", 49)];
        assert_eq!(gone(&large), ["a1"], "too large together");
    }

    #[test]
    fn what_came_back_leaves_nothing_behind() {
        let mut absences = Absences::default();
        let place = absences.add(SessionId::new("a1"), Uid::new("a"), 7);
        assert!(absences.remove(place).is_some());
        assert!(absences.remove(place).is_none());
        assert_eq!((absences.len(), absences.bytes), (0, 0));
        assert!(absences.users.is_empty());
    }
}
