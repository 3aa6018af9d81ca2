//! A message as it arrives, at whichever door: one of more than 32 KiB is counted
//! among its user's bytes under way and everybody's, before memory is given to
//! it, and for as long as a part of it is kept.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::session::{Account, Held, NoRoom, Refusal, RefusalCode};

/// The largest event taken from a client, in bytes; as large is the largest frame
/// that is submitted, and the largest image in JSON.
pub const MAX_MESSAGE: usize = 10 << 20;
/// While an event arrives, the session hears so often that it does.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// A stream may hold so much of a message that is not counted: a hello, or the
/// answer to a search, is not refused for want of room unless it is very long.
pub(super) const FREE: usize = 32 << 10;
/// More is counted, and given memory, in steps of so much: a screenshot in one.
/// Memory for all of a message that has hardly begun would cost nothing as long
/// as it is fresh, but is real where the allocator has used it before.
const STEP: usize = 512 << 10;
/// A message that is counted must be whole after so long: a frame of 10 MiB
/// comes at 1.4 Mbit/s.
pub(super) const ARRIVAL: Duration = Duration::from_secs(60);

/// What is told of a message for which there is no room.
pub(super) fn overloaded(full: NoRoom) -> Refusal {
    let message = format!("{full}; send the event again later.");
    Refusal::new(RefusalCode::Overloaded(full), message)
}

/// What has arrived of a message.
pub(super) struct Arriving {
    bytes: Vec<u8>,
    counted: Option<Counted>,
}

/// What is held for a message that is not small.
struct Counted {
    held: Held,
    whole_by: Instant,
}

impl Arriving {
    /// The beginning of a message that seems to have so many bytes.
    pub(super) fn new(whole: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(whole.min(FREE)),
            counted: None,
        }
    }

    /// Takes the next piece of a message that has at most `whole` bytes.
    ///
    /// # Errors
    /// There is no room for it; nothing of it is taken then.
    pub(super) fn take(
        &mut self,
        piece: &[u8],
        whole: usize,
        account: &Account,
    ) -> Result<(), NoRoom> {
        let size = self.bytes.len() + piece.len();
        self.count(size, whole, account)?;
        if size > self.bytes.capacity() {
            let room = self.counted.as_ref().map_or(size, |it| it.held.bytes());
            // Not twice as much, which nobody counts.
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// What has arrived.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// When the message must be whole, if it is counted.
    pub(super) fn whole_by(&self) -> Option<Instant> {
        self.counted.as_ref().map(|counted| counted.whole_by)
    }

    /// The message, and what is held for it.
    pub(super) fn finish(self) -> (Vec<u8>, Option<Held>) {
        (self.bytes, self.counted.map(|counted| counted.held))
    }

    fn count(&mut self, size: usize, whole: usize, account: &Account) -> Result<(), NoRoom> {
        if size <= FREE {
            return Ok(());
        }
        let size = size.next_multiple_of(STEP).min(whole);
        match &mut self.counted {
            Some(Counted { held, .. }) if held.bytes() >= size => {}
            Some(Counted { held, .. }) => held.grow(size - held.bytes())?,
            None => {
                self.counted = Some(Counted {
                    held: account.hold(size)?,
                    whole_by: Instant::now() + ARRIVAL,
                });
            }
        }
        Ok(())
    }
}

/// Bytes that are counted until the last piece of them is dropped.
struct Owned<B> {
    bytes: B,
    _held: Held,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Owned<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// The bytes, with what is held for them.
pub(super) fn kept<B>(bytes: B, held: Option<Held>) -> Bytes
where
    B: AsRef<[u8]> + Into<Bytes> + Send + 'static,
{
    match held {
        None => bytes.into(),
        Some(_held) => Bytes::from_owner(Owned { bytes, _held }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Uid;
    use crate::session::{Limits, Quota};
    use crate::telemetry::Metrics;
    use crate::world::World;

    #[test]
    fn a_message_has_no_more_memory_than_is_counted_for_it() {
        let world = World::fixed(jiff::Timestamp::UNIX_EPOCH, 7);
        let quota = Quota::new(Limits::default(), world, Metrics::new());
        let account = quota.account(&Uid::new("ada"));
        let mut arriving = Arriving::new(MAX_MESSAGE);
        for _ in 0..MAX_MESSAGE / (64 << 10) {
            arriving
                .take(&[0; 64 << 10], MAX_MESSAGE, &account)
                .unwrap();
            assert!(arriving.bytes.capacity() <= quota.bytes());
        }
        let (bytes, held) = arriving.finish();
        assert_eq!(bytes.len(), MAX_MESSAGE);
        drop(held);
        assert_eq!(quota.bytes(), 0);
    }
}
