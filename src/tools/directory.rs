//! Which desktops of a user can be asked to search, for work that no session
//! brought. A session is listed while it has a stream on which it can be asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Contact;
use crate::domain::Uid;

/// The desktops that are connected to this server; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Directory(Arc<Mutex<HashMap<Uid, User>>>);

/// There is one for whoever is listed or waited for.
#[derive(Debug, Default)]
struct User {
    /// The one that came last is the last.
    listed: Vec<(u64, Contact)>,
    /// How many have been listed.
    count: u64,
    waiters: usize,
    arrival: Arc<Notify>,
}

impl Directory {
    /// Lists a desktop, until the guard is dropped.
    pub fn list(&self, uid: &Uid, contact: Contact) -> Listed {
        let mut users = self.users();
        let user = users.entry(uid.clone()).or_default();
        user.count += 1;
        let number = user.count;
        user.listed.push((number, contact));
        user.arrival.notify_waiters();
        Listed {
            directory: self.clone(),
            uid: uid.clone(),
            number,
        }
    }

    /// A desktop of this user: the one that was connected last. Waits for one as long
    /// as there is none.
    pub async fn contact(&self, uid: &Uid) -> Contact {
        let waiter = Waiter::new(self, uid);
        loop {
            // Before the look, so that nobody who comes after it is missed.
            let arrival = waiter.arrival.notified();
            if let Some(contact) = self.newest(uid) {
                return contact;
            }
            arrival.await;
        }
    }

    /// How many users somebody is listed or waited for.
    pub fn users_known(&self) -> usize {
        self.users().len()
    }

    fn newest(&self, uid: &Uid) -> Option<Contact> {
        let users = self.users();
        let (_, contact) = users.get(uid)?.listed.last()?;
        Some(contact.clone())
    }

    fn forget_if_idle(users: &mut HashMap<Uid, User>, uid: &Uid) {
        if let Some(user) = users.get(uid)
            && user.listed.is_empty()
            && user.waiters == 0
        {
            users.remove(uid);
        }
    }

    fn users(&self) -> MutexGuard<'_, HashMap<Uid, User>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A desktop's entry in the directory.
#[derive(Debug)]
pub struct Listed {
    directory: Directory,
    uid: Uid,
    number: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut users = self.directory.users();
        if let Some(user) = users.get_mut(&self.uid) {
            user.listed.retain(|(number, _)| *number != self.number);
        }
        Directory::forget_if_idle(&mut users, &self.uid);
    }
}

/// Somebody who waits for a desktop of this user.
struct Waiter<'a> {
    directory: &'a Directory,
    uid: &'a Uid,
    arrival: Arc<Notify>,
}

impl<'a> Waiter<'a> {
    fn new(directory: &'a Directory, uid: &'a Uid) -> Self {
        let mut users = directory.users();
        let user = users.entry(uid.clone()).or_default();
        user.waiters += 1;
        let arrival = user.arrival.clone();
        Self {
            directory,
            uid,
            arrival,
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut users = self.directory.users();
        if let Some(user) = users.get_mut(self.uid) {
            user.waiters -= 1;
        }
        Directory::forget_if_idle(&mut users, self.uid);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::sync::mpsc;

    use super::*;
    use crate::tools::Pending;

    fn contact() -> Contact {
        Contact {
            pending: Pending::default(),
            errands: mpsc::channel(1).0,
        }
    }

    #[tokio::test]
    async fn the_desktop_that_came_last_is_asked_and_then_the_one_before() {
        let (directory, ada) = (Directory::default(), Uid::new("ada"));
        let (old, new) = (contact(), contact());
        let _first = directory.list(&ada, old.clone());
        let second = directory.list(&ada, new.clone());
        let asked = async || directory.contact(&ada).await.errands;
        assert!(asked().await.same_channel(&new.errands));
        drop(second);
        assert!(asked().await.same_channel(&old.errands));
    }

    #[tokio::test]
    async fn who_finds_nobody_waits_and_leaves_nothing_behind() {
        let (directory, ada) = (Directory::default(), Uid::new("ada"));
        let _other = directory.list(&Uid::new("bob"), contact());
        let mut waiting = Box::pin(directory.contact(&ada));
        assert!(waiting.as_mut().now_or_never().is_none());
        let listed = directory.list(&ada, contact());
        waiting.await;
        drop(listed);
        assert_eq!(directory.users_known(), 1, "only bob");
        assert!(directory.contact(&ada).now_or_never().is_none());
        assert_eq!(directory.users_known(), 1, "nobody waits any more");
    }
}
