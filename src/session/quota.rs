//! What a user, and everybody together, may have open and under way. Whoever
//! takes of it holds a guard, and dropping that gives it back.
//!
//! The bytes are those that we know of, counted exactly and before they are
//! taken: messages as they arrive, frames until they are answered, a flat sum
//! for each session. What the process has from the operating system says the
//! same too late, and ten seconds too long, for the allocator keeps what is free.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota as Rate, RateLimiter};
use tokio::time::Instant;

use crate::domain::{Frame, FrameFault, FrameFaultCode, Uid};
use crate::telemetry::{Limit, Metrics, Seldom};
use crate::world::World;

/// What an idle session costs, with a task list of usual length.
const SESSION_BYTES: usize = 24 << 10;
/// What a frame under way costs apart from its image and its text: its task,
/// the conversation, what is being sent.
const FRAME_BYTES: usize = 24 << 10;
/// A flood of frames, used up at once, may be repeated after so long: the burst
/// is a minute's frames.
const REFILL: Duration = Duration::from_secs(60);
/// When clients that met a limit of memory come back: by chance in between, so
/// that they do not come at once.
const COME_BACK: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));
/// So many users are remembered before those who have gone are looked for.
const FEW_USERS: usize = 1_024;
/// Between two lines of the log about limits that were met.
const LINES: Duration = Duration::from_secs(10);

/// How much of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions of one user at once.
    pub sessions_per_user: usize,
    /// Frames of one user in a minute; as many may come at once.
    pub frames_per_minute: NonZeroU32,
    /// Bytes of one user's messages and frames under way.
    pub bytes_per_user: usize,
    /// Sessions of all users at once.
    pub sessions: usize,
    /// Bytes of all messages, frames and sessions.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions_per_user: 20,
            frames_per_minute: NonZeroU32::new(300).expect("300 is not 0"),
            bytes_per_user: 32 << 20,
            sessions: 10_000,
            bytes: 1 << 30,
        }
    }
}

/// What one server may have open and under way; cheap to clone.
#[derive(Clone)]
pub struct Quota(Arc<All>);

struct All {
    limits: Limits,
    world: World,
    metrics: Metrics,
    users: Mutex<Users>,
    bytes: AtomicUsize,
    lines: Seldom,
}

#[derive(Default)]
struct Users {
    /// Of all users.
    sessions: usize,
    known: HashMap<Uid, Known>,
    /// With so many known, those who have gone are forgotten.
    sweep_at: usize,
}

/// A user who has sessions, or had one a minute ago.
struct Known {
    user: Arc<User>,
    sessions: usize,
    /// When the last session ended. Forgotten at once, the user could come back
    /// for another burst.
    gone: Instant,
}

impl Known {
    /// Whether something is counted here: a session, or what was sent outside of one.
    fn is_here(&self) -> bool {
        self.sessions > 0 || Arc::strong_count(&self.user) > 1
    }
}

/// What one user has under way.
struct User {
    uid: Uid,
    bytes: AtomicUsize,
    frames: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>,
}

/// Tokio's clock, which tests can pause.
#[derive(Clone)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Why a session cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The user must close another one first.
    #[error(
        "This user has {0} sessions open, and no more are allowed; close another one, or try again later."
    )]
    User(usize),
    /// Come back later; another server may have room.
    #[error("The server has as many sessions as it takes; try again later.")]
    Server,
}

impl Quota {
    /// Nothing is taken yet.
    pub fn new(limits: Limits, world: World, metrics: Metrics) -> Self {
        metrics.memory_ceiling(limits.bytes);
        Self(Arc::new(All {
            limits,
            world,
            metrics,
            users: Mutex::default(),
            bytes: AtomicUsize::new(0),
            lines: Seldom::new(LINES),
        }))
    }

    /// Takes a session of this user, until the seat is dropped.
    ///
    /// # Errors
    /// There are too many.
    pub fn open(&self, uid: &Uid) -> Result<Seat, Full> {
        let all = &self.0;
        let limits = all.limits;
        let mut users = all.users();
        if users.sessions >= limits.sessions {
            drop(users);
            all.met(Limit::Sessions, uid);
            return Err(Full::Server);
        }
        let known = all.known(&mut users, uid);
        if known.sessions >= limits.sessions_per_user {
            drop(users);
            all.met(Limit::UserSessions, uid);
            return Err(Full::User(limits.sessions_per_user));
        }
        known.sessions += 1;
        let user = known.user.clone();
        users.sessions += 1;
        drop(users);
        // Beyond the ceiling as well: it is frames that are refused there.
        all.bytes.fetch_add(SESSION_BYTES, Ordering::Relaxed);
        all.metrics.memory_taken(SESSION_BYTES);
        let all = all.clone();
        Ok(Seat(Arc::new(Taken(Account { user, all }))))
    }

    /// Where what this user sends outside of sessions is counted.
    pub fn account(&self, uid: &Uid) -> Account {
        let all = &self.0;
        let mut users = all.users();
        let known = all.known(&mut users, uid);
        known.gone = Instant::now();
        let (user, all) = (known.user.clone(), all.clone());
        Account { user, all }
    }

    /// How many users are remembered.
    pub fn users(&self) -> usize {
        self.0.users().known.len()
    }

    /// Bytes that are taken now.
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }
}

impl All {
    fn known<'a>(&self, users: &'a mut Users, uid: &Uid) -> &'a mut Known {
        users.forget(FEW_USERS + 2 * self.limits.sessions);
        users.known.entry(uid.clone()).or_insert_with(|| Known {
            user: Arc::new(User {
                uid: uid.clone(),
                bytes: AtomicUsize::new(0),
                frames: RateLimiter::direct_with_clock(
                    Rate::per_minute(self.limits.frames_per_minute),
                    TokioClock(Instant::now()),
                ),
            }),
            sessions: 0,
            gone: Instant::now(),
        })
    }

    fn users(&self) -> MutexGuard<'_, Users> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a limit that was met, and says so now and then.
    fn met(&self, limit: Limit, uid: &Uid) {
        self.metrics.limit_met(limit);
        if let Some(others) = self.lines.line() {
            let limit = limit.as_str();
            tracing::warn!(limit, user.id = %uid, others, "a limit was met; see docs/operations.md");
        }
    }
}

impl Users {
    /// Makes room, if many are known: whoever has been gone for long has a whole
    /// burst again and need not be known. At most `most` are.
    fn forget(&mut self, most: usize) {
        if self.known.len() < self.sweep_at.clamp(FEW_USERS, most) {
            return;
        }
        self.known
            .retain(|_, known| known.is_here() || known.gone.elapsed() < REFILL);
        if self.known.len() >= most {
            self.known.retain(|_, known| known.is_here());
        }
        self.sweep_at = 2 * self.known.len();
    }
}

/// A session that is open; the last of its clones gives it back.
#[derive(Clone)]
pub struct Seat(Arc<Taken>);

struct Taken(Account);

impl Seat {
    /// Where this session's messages and frames are counted.
    pub fn account(&self) -> &Account {
        &self.0.0
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seat")
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let Account { user, all } = &self.0;
        let mut users = all.users();
        users.sessions -= 1;
        if let Some(known) = users.known.get_mut(&user.uid) {
            known.sessions -= 1;
            known.gone = Instant::now();
        }
        drop(users);
        all.bytes.fetch_sub(SESSION_BYTES, Ordering::Relaxed);
        all.metrics.memory_given_back(SESSION_BYTES);
    }
}

/// Where one user's bytes are counted; cheap to clone.
#[derive(Clone)]
pub struct Account {
    user: Arc<User>,
    all: Arc<All>,
}

impl Account {
    /// Takes so many bytes until the guard is dropped.
    ///
    /// # Errors
    /// There is no room for them; nothing is taken then.
    pub fn hold(&self, bytes: usize) -> Result<Held, NoRoom> {
        let mut held = Held {
            account: self.clone(),
            bytes: 0,
        };
        held.grow(bytes)?;
        Ok(held)
    }

    /// Takes what the frame costs until it is answered.
    ///
    /// # Errors
    /// What its client is told: it sends too many, or has too much under way.
    pub fn admit(&self, frame: &Frame) -> Result<Held, FrameFault> {
        let Self { user, all } = self;
        if let Err(too_soon) = user.frames.check() {
            all.met(Limit::UserFrames, &user.uid);
            let wait = too_soon.wait_time_from(user.frames.clock().now());
            let most = all.limits.frames_per_minute;
            let message = format!(
                "This user has sent more than {most} frames a minute; send the frame again later."
            );
            let fault = FrameFault::new(FrameFaultCode::Throttled, message, true);
            return Err(fault.retry_after(Some(wait + all.world.up_to(COME_BACK.0))));
        }
        let image = frame.image.as_ref().map_or(0, |image| image.bytes().len());
        // As base64, and the text as it came and in the prompt.
        let cost = image.div_ceil(3) * 4 + 2 * frame.ocr.0.len() + FRAME_BYTES;
        self.hold(cost).map_err(|full| self.overloaded(full))
    }

    /// What the client of a frame is told for which there was no room.
    pub fn overloaded(&self, full: NoRoom) -> FrameFault {
        let (least, most) = COME_BACK;
        let wait = least + self.all.world.up_to(most - least);
        let message = format!("{full}; send the frame again later.");
        FrameFault::new(FrameFaultCode::Overloaded, message, true).retry_after(Some(wait))
    }
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// The user's own frames must be answered first.
    #[error("This user has as much under way as is allowed")]
    OfUser,
    /// The server's memory is used up.
    #[error("The server has as much under way as its memory allows")]
    AtAll,
}

/// Bytes that are taken, until this is dropped.
pub struct Held {
    account: Account,
    bytes: usize,
}

impl Held {
    /// How many.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes more.
    ///
    /// # Errors
    /// There is no room for them; as much is held as before.
    pub fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let Account { user, all } = &self.account;
        if !take(&user.bytes, bytes, all.limits.bytes_per_user) {
            all.met(Limit::UserBytes, &user.uid);
            return Err(NoRoom::OfUser);
        }
        if !take(&all.bytes, bytes, all.limits.bytes) {
            user.bytes.fetch_sub(bytes, Ordering::Relaxed);
            all.met(Limit::Memory, &user.uid);
            return Err(NoRoom::AtAll);
        }
        all.metrics.memory_taken(bytes);
        self.bytes += bytes;
        Ok(())
    }

    /// Gives back what is held beyond so many.
    pub fn shrink(&mut self, bytes: usize) {
        let Account { user, all } = &self.account;
        let more = self.bytes.saturating_sub(bytes);
        user.bytes.fetch_sub(more, Ordering::Relaxed);
        all.bytes.fetch_sub(more, Ordering::Relaxed);
        all.metrics.memory_given_back(more);
        self.bytes -= more;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

/// Whether `bytes` more are not too many; they are taken then.
fn take(held: &AtomicUsize, bytes: usize, most: usize) -> bool {
    let more = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= most);
    held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
        .is_ok()
}
