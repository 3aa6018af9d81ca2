//! What tools keep of a session from one call to the next: named values with a
//! version and a time to live, bounded in every direction.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::options::VariableOptions;
use crate::domain::{SessionId, Value};
use crate::world::World;

const NAME_CHARS: usize = 128;
/// How long one is kept, if nothing else is said.
const USUAL_LIFE: i64 = 3_600;
const LONGEST_LIFE: i64 = 86_400;

/// What is asked of a session's variables.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// One variable.
    Get {
        /// Its name.
        name: String,
    },
    /// Makes or replaces one.
    Set {
        /// Its name.
        name: String,
        /// What it will be.
        value: Value,
        /// The version that is replaced; 0: there must be none.
        expected: Option<i64>,
        /// Seconds; 0: as usual.
        time_to_live: i64,
    },
    /// All, without their values.
    List {
        /// Whose names begin so.
        prefix: String,
    },
    /// Removes one.
    Delete {
        /// Its name.
        name: String,
        /// The version that is removed.
        expected: Option<i64>,
    },
}

/// What came of it.
pub type Told = Result<Vec<Variable>, VariableFault>;

/// A variable as it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Where it was asked for.
    pub value: Option<Value>,
    /// 1 when it was made, and one more each time it is replaced.
    pub version: i64,
    /// When it goes.
    pub expires_at: Timestamp,
}

/// Why nothing came of it. What it says is for the worker's author.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum VariableFault {
    /// Something in the request cannot be used.
    #[error("{0}")]
    Invalid(String),
    /// There is no such variable.
    #[error("There is no such variable.")]
    NotFound,
    /// Another was faster. The variable that there is, if there is one.
    #[error("The variable has another version than expected.")]
    OtherVersion(Option<Box<Variable>>),
    /// No room.
    #[error("{0}")]
    Full(&'static str),
    /// The call is none that this worker is executing.
    #[error("This worker is not executing that call.")]
    NotYours,
}

/// The variables of all sessions; cheap to clone.
#[derive(Clone)]
pub(super) struct Variables(Arc<Shared>);

struct Shared {
    options: VariableOptions,
    world: World,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    sessions: HashMap<SessionId, Session>,
    bytes: usize,
}

#[derive(Default)]
struct Session {
    /// By name.
    variables: BTreeMap<String, Entry>,
    bytes: usize,
}

struct Entry {
    value: Value,
    version: i64,
    until: Instant,
    expires_at: Timestamp,
    bytes: usize,
}

impl Variables {
    pub(super) fn new(options: VariableOptions, world: World) -> Self {
        let kept = Mutex::default();
        Self(Arc::new(Shared {
            options,
            world,
            kept,
        }))
    }

    /// Does what is asked, at once.
    pub(super) fn ask(&self, session: &SessionId, ask: Ask) -> Told {
        let now = Instant::now();
        let mut kept = self.kept();
        kept.sweep_one(session, now);
        match ask {
            Ask::Get { name } => kept.get(session, &checked(name)?),
            Ask::Set {
                name,
                value,
                expected,
                time_to_live,
            } => {
                let life = life(time_to_live)?;
                let name = checked(name)?;
                let bytes = name.len() + value.bytes();
                let entry = Entry {
                    value,
                    version: 1,
                    until: now + life,
                    expires_at: self.expiry(life),
                    bytes,
                };
                kept.set(session, name, entry, expected, &self.0.options)
            }
            Ask::List { prefix } => Ok(kept.list(session, &prefix)),
            Ask::Delete { name, expected } => kept.delete(session, &checked(name)?, expected),
        }
    }

    /// Removes those whose time is over, now and then, as long as it is polled.
    pub(super) async fn keep_clean(&self) {
        loop {
            tokio::time::sleep(self.0.options.sweep).await;
            let now = Instant::now();
            let mut kept = self.kept();
            let mut given_back = 0;
            kept.sessions.retain(|_, session| {
                given_back += session.sweep(now);
                !session.variables.is_empty()
            });
            kept.bytes -= given_back;
        }
    }

    fn expiry(&self, life: Duration) -> Timestamp {
        let life = SignedDuration::try_from(life).unwrap_or(SignedDuration::MAX);
        let at = self.0.world.now().checked_add(life);
        at.unwrap_or(Timestamp::MAX)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Nobody sees what should be gone, and it takes nobody's room.
    fn sweep_one(&mut self, id: &SessionId, now: Instant) {
        if let Some(session) = self.sessions.get_mut(id) {
            self.bytes -= session.sweep(now);
            if session.variables.is_empty() {
                self.sessions.remove(id);
            }
        }
    }

    fn get(&self, session: &SessionId, name: &str) -> Told {
        let session = self.sessions.get(session);
        let entry = session.and_then(|session| session.variables.get(name));
        let entry = entry.ok_or(VariableFault::NotFound)?;
        let value = Some(entry.value.clone());
        Ok(vec![Variable {
            value,
            ..entry.told(name)
        }])
    }

    fn list(&self, session: &SessionId, prefix: &str) -> Vec<Variable> {
        let variables = self.sessions.get(session).into_iter();
        let variables = variables.flat_map(|session| &session.variables);
        let named = variables.filter(|(name, _)| name.starts_with(prefix));
        named.map(|(name, entry)| entry.told(name)).collect()
    }

    fn set(
        &mut self,
        id: &SessionId,
        name: String,
        mut entry: Entry,
        expected: Option<i64>,
        options: &VariableOptions,
    ) -> Told {
        let session = self.sessions.get(id);
        let old = session.and_then(|session| session.variables.get(&name));
        let (version, old_bytes) = old.map_or((0, 0), |old| (old.version, old.bytes));
        if expected.is_some_and(|expected| expected != version) {
            let there = old.map(|old| Box::new(old.told(&name)));
            return Err(VariableFault::OtherVersion(there));
        }
        let (count, bytes) = session.map_or((0, 0), |it| (it.variables.len(), it.bytes));
        if version == 0 && count >= options.count {
            return Err(VariableFault::Full(
                "The session has as many variables as it may.",
            ));
        }
        if bytes - old_bytes + entry.bytes > options.session_bytes {
            return Err(VariableFault::Full(
                "The session's variables are as large as they may be.",
            ));
        }
        if self.bytes - old_bytes + entry.bytes > options.all_bytes {
            return Err(VariableFault::Full(
                "The server keeps as many variables as it can.",
            ));
        }
        entry.version = version + 1;
        let told = entry.told(&name);
        self.bytes = self.bytes - old_bytes + entry.bytes;
        let session = self.sessions.entry(id.clone()).or_default();
        session.bytes = session.bytes - old_bytes + entry.bytes;
        session.variables.insert(name, entry);
        Ok(vec![told])
    }

    fn delete(&mut self, id: &SessionId, name: &str, expected: Option<i64>) -> Told {
        let Some(session) = self.sessions.get_mut(id) else {
            return Ok(vec![]);
        };
        let Some(entry) = session.variables.get(name) else {
            return Ok(vec![]);
        };
        if expected.is_some_and(|expected| expected != entry.version) {
            let there = Some(Box::new(entry.told(name)));
            return Err(VariableFault::OtherVersion(there));
        }
        let bytes = entry.bytes;
        session.variables.remove(name);
        session.bytes -= bytes;
        self.bytes -= bytes;
        if session.variables.is_empty() {
            self.sessions.remove(id);
        }
        Ok(vec![])
    }
}

impl Session {
    /// How many bytes were given back.
    fn sweep(&mut self, now: Instant) -> usize {
        let mut given_back = 0;
        self.variables.retain(|_, entry| {
            let stays = entry.until > now;
            given_back += if stays { 0 } else { entry.bytes };
            stays
        });
        self.bytes -= given_back;
        given_back
    }
}

impl Entry {
    fn told(&self, name: &str) -> Variable {
        Variable {
            name: name.to_owned(),
            value: None,
            version: self.version,
            expires_at: self.expires_at,
        }
    }
}

fn checked(name: String) -> Result<String, VariableFault> {
    match name.chars().count() {
        1..=NAME_CHARS => Ok(name),
        count => Err(VariableFault::Invalid(format!(
            "name has {count} characters; it must have 1 to {NAME_CHARS}."
        ))),
    }
}

fn life(seconds: i64) -> Result<Duration, VariableFault> {
    let seconds = match seconds {
        0 => USUAL_LIFE,
        1..=LONGEST_LIFE => seconds,
        _ => {
            let message = format!("time_to_live_s must be 0 to {LONGEST_LIFE}.");
            return Err(VariableFault::Invalid(message));
        }
    };
    Ok(Duration::from_secs(seconds.unsigned_abs()))
}

#[cfg(test)]
mod tests;
