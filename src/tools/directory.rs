//! Which devices of a user can be asked to execute tools, and which. A session is
//! listed while it has a stream on which it can be asked. Users know nothing of each
//! other: a device is found among those of its user, whatever it calls itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::catalogue::ToolSet;
use super::{Contact, Tool};
use crate::domain::{DeviceId, Runtime, Uid};

/// A device that is connected.
#[derive(Clone, Debug)]
pub struct Device {
    /// What it calls itself, or else its session.
    pub id: DeviceId,
    /// For people; may be empty.
    pub name: Arc<str>,
    /// What it says it is.
    pub runtime: Option<Runtime>,
    /// What it executes.
    pub executes: ToolSet,
    /// It can be asked for other sessions' frames, too, not for jobs' alone: it speaks
    /// 1.1.
    pub for_sessions: bool,
    /// How it is asked.
    pub contact: Contact,
}

impl Device {
    /// One that says nothing else of itself, and executes nothing.
    pub fn new(id: &str, contact: Contact) -> Self {
        Self {
            id: DeviceId::new(id),
            name: Arc::default(),
            runtime: None,
            executes: ToolSet::default(),
            for_sessions: true,
            contact,
        }
    }
}

/// The devices that are connected to this server; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Directory(Arc<Mutex<HashMap<Uid, User>>>);

/// There is one for whoever is listed or waited for.
#[derive(Debug, Default)]
struct User {
    /// The one that came last is the last.
    listed: Vec<(u64, Device)>,
    /// How many have been listed.
    count: u64,
    waiters: usize,
    arrival: Arc<Notify>,
}

impl Directory {
    /// Lists a device, until the guard is dropped.
    pub fn list(&self, uid: &Uid, device: Device) -> Listed {
        let mut users = self.users();
        let user = users.entry(uid.clone()).or_default();
        user.count += 1;
        let number = user.count;
        user.listed.push((number, device));
        user.arrival.notify_waiters();
        Listed {
            directory: self.clone(),
            uid: uid.clone(),
            number,
        }
    }

    /// A device of this user that executes the tool: the one that was connected last.
    /// Waits for one as long as there is none.
    pub async fn contact(&self, uid: &Uid, tool: &Tool) -> Contact {
        self.wait_for(uid, |device| device.executes.holds(tool))
            .await
    }

    /// This device of this user, if it executes the tool. Waits for it.
    pub async fn contact_of(&self, uid: &Uid, id: &DeviceId, tool: &Tool) -> Contact {
        let wanted = |device: &Device| {
            device.for_sessions && device.id == *id && device.executes.holds(tool)
        };
        self.wait_for(uid, wanted).await
    }

    /// The user's devices that execute anything, but for the one that is asked so, the
    /// newest first. Each once: a device that has come again is the one it was.
    pub fn devices(&self, uid: &Uid, except: &Contact) -> Vec<Device> {
        let users = self.users();
        let Some(user) = users.get(uid) else {
            return Vec::new();
        };
        let mut devices: Vec<Device> = Vec::new();
        for (_, device) in user.listed.iter().rev() {
            let is_asker = device.contact.errands.same_channel(&except.errands);
            let is_known = devices.iter().any(|known| known.id == device.id);
            let can = device.for_sessions && !device.executes.is_empty();
            if can && !is_asker && !is_known {
                devices.push(device.clone());
            }
        }
        devices
    }

    /// How many devices of all users execute the tool.
    pub(super) fn count(&self, tool: &Tool) -> usize {
        let users = self.users();
        let devices = users.values().flat_map(|user| &user.listed);
        devices
            .filter(|(_, device)| device.executes.holds(tool))
            .count()
    }

    async fn wait_for(&self, uid: &Uid, wanted: impl Fn(&Device) -> bool) -> Contact {
        let waiter = Waiter::new(self, uid);
        loop {
            // Before the look, so that nobody who comes after it is missed.
            let arrival = waiter.arrival.notified();
            if let Some(contact) = self.newest(uid, &wanted) {
                return contact;
            }
            arrival.await;
        }
    }

    /// How many users somebody is listed or waited for.
    pub fn users_known(&self) -> usize {
        self.users().len()
    }

    fn newest(&self, uid: &Uid, wanted: impl Fn(&Device) -> bool) -> Option<Contact> {
        let users = self.users();
        let mut listed = users.get(uid)?.listed.iter().rev();
        let (_, device) = listed.find(|(_, device)| wanted(device))?;
        Some(device.contact.clone())
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

/// A device's entry in the directory.
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

/// Somebody who waits for a device of this user.
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
    use crate::tools::{Catalogue, Pending};

    fn tool() -> Arc<Tool> {
        Catalogue::builtin().find("search_similar").unwrap().clone()
    }

    fn device(id: &str) -> Device {
        let contact = Contact {
            pending: Pending::default(),
            errands: mpsc::channel(1).0,
        };
        Device {
            executes: Catalogue::builtin().executable(["search_similar"].into_iter()),
            ..Device::new(id, contact)
        }
    }

    #[tokio::test]
    async fn the_desktop_that_came_last_is_asked_and_then_the_one_before() {
        let (directory, ada) = (Directory::default(), Uid::new("ada"));
        let (old, new) = (device("old"), device("new"));
        let _first = directory.list(&ada, old.clone());
        let second = directory.list(&ada, new.clone());
        let asked = async || directory.contact(&ada, &tool()).await.errands;
        assert!(asked().await.same_channel(&new.contact.errands));
        drop(second);
        assert!(asked().await.same_channel(&old.contact.errands));
    }

    #[tokio::test]
    async fn who_finds_nobody_waits_and_leaves_nothing_behind() {
        let (directory, ada) = (Directory::default(), Uid::new("ada"));
        let _other = directory.list(&Uid::new("bob"), device("d"));
        let tool = tool();
        let mut waiting = Box::pin(directory.contact(&ada, &tool));
        assert!(waiting.as_mut().now_or_never().is_none());
        // Somebody who executes nothing is not who is waited for.
        let idle = device("idle").contact;
        let _idle = directory.list(&Uid::new("bob"), Device::new("idle", idle));
        let listed = directory.list(&ada, device("d"));
        waiting.await;
        drop(listed);
        assert_eq!(directory.users_known(), 1, "only bob");
        assert!(directory.contact(&ada, &tool).now_or_never().is_none());
        assert_eq!(directory.users_known(), 1, "nobody waits any more");
    }

    #[tokio::test]
    async fn a_device_is_found_among_those_of_its_user_whatever_it_calls_itself() {
        let (directory, ada, bob) = (Directory::default(), Uid::new("ada"), Uid::new("bob"));
        let (laptop, claimed, again) = (device("laptop"), device("laptop"), device("laptop"));
        let _laptop = directory.list(&ada, laptop.clone());
        let _claimed = directory.list(&bob, claimed.clone());
        let asker = device("asker");
        let _asker = directory.list(&ada, asker.clone());
        let _idle = directory.list(&ada, Device::new("idle", device("idle").contact));
        let (tool, id) = (tool(), DeviceId::new("laptop"));
        let found = directory.contact_of(&ada, &id, &tool).await;
        assert!(found.errands.same_channel(&laptop.contact.errands));
        let ids = |devices: Vec<Device>| devices.into_iter().map(|it| it.id).collect::<Vec<_>>();
        let laptops = vec![id.clone()];
        assert_eq!(ids(directory.devices(&ada, &asker.contact)), laptops);
        let _again = directory.list(&ada, again.clone());
        let devices = directory.devices(&ada, &asker.contact);
        assert!(
            devices[0]
                .contact
                .errands
                .same_channel(&again.contact.errands)
        );
        assert_eq!(ids(devices), laptops, "one device, which came again");
        let nobodys = directory.devices(&Uid::new("eve"), &asker.contact);
        assert!(nobodys.is_empty());
    }
}
