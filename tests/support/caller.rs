//! Who opens a session in tests of its core, and when.

#[path = "day.rs"]
mod day;

use jiff::SignedDuration;
use proactive::domain::{Principal, Uid};
use proactive::session::{Caller, Lobby};

pub(crate) use day::now;

/// A user's desktop, with a token for the next hour.
pub(crate) fn caller(uid: &str, lobby: &Lobby) -> Caller {
    let uid = Uid::new(uid);
    Caller {
        seat: lobby.quota().open(&uid).expect("there is room"),
        principal: Principal {
            uid,
            expires_at: now() + SignedDuration::from_hours(1),
            plan: None,
            devices: false,
        },
        device: "desk".to_owned(),
        platform: String::new(),
        app_version: String::new(),
        trace: None,
    }
}
