//! A job's search for somebody to ask: one desktop of its user, another one if that
//! goes away, and for a while nobody; but in a drain nobody else will come.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Contact, Directory, Origin, Output, Tool, ToolRequest, faults};
use crate::domain::{CallFault, CallFaultCode, JobId, Ran, RequestId, Uid};
use crate::world::World;

/// Whichever desktop of a user is connected.
#[derive(Debug)]
pub struct Anybody {
    job: JobId,
    uid: Uid,
    directory: Directory,
    patience: Duration,
    /// The server is leaving: no desktop will connect to it any more.
    leaving: CancellationToken,
    absence: Mutex<Absence>,
}

/// How long no desktop was there when one was needed.
#[derive(Debug, Default)]
struct Absence {
    waiting: usize,
    since: Option<Instant>,
    past: Duration,
}

impl Anybody {
    /// For this job. If no desktop is connected, one is waited for as long as
    /// `patience`, all in all, and not at all once the server is `leaving`.
    pub fn new(
        job: JobId,
        uid: Uid,
        directory: Directory,
        patience: Duration,
        leaving: CancellationToken,
    ) -> Self {
        Self {
            job,
            uid,
            directory,
            patience,
            leaving,
            absence: Mutex::default(),
        }
    }

    pub(super) async fn ask(
        &self,
        mut request: ToolRequest,
        world: &World,
    ) -> Result<Output, CallFault> {
        request.origin = Origin::Job(self.job.clone());
        let mut ran = Ran::Never;
        while !request.timeout.is_zero() {
            let contact = self.contact(&request.tool).await?;
            let began = Instant::now();
            match contact.ask(request.clone()).await {
                // Another one is asked, unless it would be done twice.
                Err(fault) if fault.code == CallFaultCode::Unavailable => {
                    ran = fault.ran;
                    if ran == Ran::Maybe && request.tool.changes_device {
                        return Err(fault);
                    }
                }
                result => return result,
            }
            // The one that went away may come back and answer: to nobody.
            request.id = RequestId::new(world.uuid());
            request.timeout = request.timeout.saturating_sub(began.elapsed());
            request.longest = request.longest.saturating_sub(began.elapsed());
        }
        Err(faults::timed_out(&request.tool.name, ran == Ran::Maybe))
    }

    /// How long nobody was there, all in all.
    pub(super) fn stood_still(&self) -> Duration {
        self.absence().so_far()
    }

    async fn contact(&self, tool: &Tool) -> Result<Contact, CallFault> {
        let left = self.patience.saturating_sub(self.stood_still());
        let _absent = Absent::new(self);
        // Who is still there can be asked, also if its session is leaving.
        tokio::select! {
            biased;
            contact = self.directory.contact(&self.uid, tool) => Ok(contact),
            () = self.leaving.cancelled() => Err(going_away()),
            () = sleep(left) => Err(nobody(tool)),
        }
    }

    fn absence(&self) -> MutexGuard<'_, Absence> {
        self.absence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn going_away() -> CallFault {
    let message = "The server is leaving, and no desktop of the user is connected to it.";
    CallFault::never_ran(CallFaultCode::GoingAway, message)
}

fn nobody(tool: &Tool) -> CallFault {
    let message = format!(
        "None of the user's desktops was connected in time, so nobody could answer {}.",
        tool.name
    );
    CallFault::never_ran(CallFaultCode::Unavailable, message)
}

impl Absence {
    fn so_far(&self) -> Duration {
        self.past + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// A search that waits for a desktop: for several at once, time stands still once.
struct Absent<'a>(&'a Anybody);

impl<'a> Absent<'a> {
    fn new(anybody: &'a Anybody) -> Self {
        let mut absence = anybody.absence();
        absence.waiting += 1;
        absence.since.get_or_insert_with(Instant::now);
        drop(absence);
        Self(anybody)
    }
}

impl Drop for Absent<'_> {
    fn drop(&mut self) {
        let mut absence = self.0.absence();
        absence.waiting -= 1;
        if absence.waiting == 0 {
            absence.past = absence.so_far();
            absence.since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;
    use crate::tools::{Catalogue, Device, Errand, Listed, Pending};

    const PATIENCE: Duration = Duration::from_secs(30);

    fn request() -> ToolRequest {
        ToolRequest::search("first", "f", "signed lease")
    }

    fn none() -> Output {
        Output::Hits(vec![])
    }

    /// The contact's device, which executes both searches.
    fn list(directory: &Directory, contact: &Contact) -> Listed {
        let both = ["search_similar", "search_keywords"].into_iter();
        let device = Device {
            executes: Catalogue::builtin().executable(both),
            ..Device::new("d", contact.clone())
        };
        directory.list(&Uid::new("ada"), device)
    }

    fn anybody(directory: &Directory) -> Anybody {
        let (job, uid) = (JobId::new("j"), Uid::new("ada"));
        let staying = CancellationToken::new();
        Anybody::new(job, uid, directory.clone(), PATIENCE, staying)
    }

    fn desktop() -> (Contact, mpsc::Receiver<Box<Errand>>) {
        let (errands, asked) = mpsc::channel(4);
        let pending = Pending::default();
        (Contact { pending, errands }, asked)
    }

    /// Answers the next search that it is asked for.
    async fn answer(contact: &Contact, asked: &mut mpsc::Receiver<Box<Errand>>) {
        let Some(Errand::Ask(id)) = asked.recv().await.map(|errand| *errand) else {
            panic!("no search")
        };
        let request = contact.pending.ask(&id).unwrap();
        assert_eq!(request.origin, Origin::Job(JobId::new("j")));
        assert!(contact.pending.resolve(&id, Ok(none())));
    }

    #[tokio::test(start_paused = true)]
    async fn e01_nobody_is_waited_for_so_long_and_no_longer() {
        let (directory, began) = (Directory::default(), Instant::now());
        let anybody = anybody(&directory);
        let world = World::real();
        let two = [(); 2].map(|()| anybody.ask(request(), &world));
        let [one, other] = <[_; 2]>::try_from(futures::future::join_all(two).await).unwrap();
        let tool = request().tool;
        assert_eq!((one, other), (Err(nobody(&tool)), Err(nobody(&tool))));
        assert_eq!(began.elapsed(), PATIENCE);
        assert_eq!(anybody.stood_still(), PATIENCE, "not twice");
        let again = anybody.ask(request(), &world).await;
        assert_eq!(again, Err(nobody(&tool)));
        assert_eq!(began.elapsed(), PATIENCE, "patience is used up");
    }

    #[tokio::test(start_paused = true)]
    async fn e01_a_desktop_that_comes_late_has_all_of_its_time() {
        let directory = Directory::default();
        let anybody = anybody(&directory);
        let (contact, mut asked) = desktop();
        let comes = async {
            sleep(Duration::from_secs(20)).await;
            let listed = list(&directory, &contact);
            sleep(Duration::from_secs(9)).await;
            answer(&contact, &mut asked).await;
            listed
        };
        let world = World::real();
        let (found, _listed) = tokio::join!(anybody.ask(request(), &world), comes);
        assert_eq!(found, Ok(none()));
        assert_eq!(anybody.stood_still(), Duration::from_secs(20));
    }

    #[tokio::test(start_paused = true)]
    async fn e01_when_one_desktop_goes_away_another_is_asked() {
        let directory = Directory::default();
        let anybody = anybody(&directory);
        let (first, mut first_asked) = desktop();
        let (second, mut second_asked) = desktop();
        let _second = list(&directory, &second);
        let listed = list(&directory, &first);
        let goes = async {
            let asked = first_asked.recv().await;
            assert!(matches!(asked.as_deref(), Some(Errand::Ask(_))));
            drop(listed);
            // Its session could be taken up; a job does not wait for that.
            first.pending.pause();
            answer(&second, &mut second_asked).await;
        };
        let world = World::real();
        let (found, ()) = tokio::join!(anybody.ask(request(), &world), goes);
        assert_eq!(found, Ok(none()));
        assert_eq!((first.pending.len(), second.pending.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_leaves_is_no_place_to_wait_for_a_desktop_but_one_that_is_there_is_asked()
    {
        let (directory, began) = (Directory::default(), Instant::now());
        let anybody = anybody(&directory);
        let world = World::real();
        let leaves = async {
            sleep(Duration::from_secs(7)).await;
            anybody.leaving.cancel();
        };
        let (nobody, ()) = tokio::join!(anybody.ask(request(), &world), leaves);
        assert_eq!(nobody, Err(going_away()));
        assert_eq!(began.elapsed(), Duration::from_secs(7));
        let (contact, mut asked) = desktop();
        let _listed = list(&directory, &contact);
        let asking = anybody.ask(request(), &world);
        let (found, ()) = tokio::join!(asking, answer(&contact, &mut asked));
        assert_eq!(found, Ok(none()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_desktop_is_told_when_the_job_is_given_up() {
        let directory = Directory::default();
        let anybody = anybody(&directory);
        let (contact, mut asked) = desktop();
        let _listed = list(&directory, &contact);
        let world = World::real();
        let searching = timeout(Duration::from_secs(1), anybody.ask(request(), &world));
        let is_asked = async {
            let errand = asked.recv().await;
            let Some(Errand::Ask(id)) = errand.as_deref() else {
                panic!("{errand:?}")
            };
            contact.pending.ask(id).unwrap();
        };
        let (given_up, ()) = tokio::join!(searching, is_asked);
        assert!(given_up.is_err());
        assert_eq!(asked.recv().await.as_deref(), Some(&Errand::CallOff));
        assert_eq!(contact.pending.called_off().len(), 1);
        assert!(contact.pending.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_desktop_that_was_not_asked_is_not_told_that_a_search_is_over() {
        let (contact, mut asked) = desktop();
        let of_job = ToolRequest {
            origin: Origin::Job(JobId::new("j")),
            ..request()
        };
        // Its stream has broken just now.
        contact.pending.pause();
        let gone = faults::gone("search_similar", false);
        assert_eq!(contact.ask(of_job.clone()).await, Err(gone));
        assert!(asked.try_recv().is_err());
        // Its session has not come to it yet, and will find nothing to ask for.
        contact.pending.resume();
        let given_up = timeout(Duration::from_secs(1), contact.ask(of_job)).await;
        assert!(given_up.is_err());
        let errand = asked.try_recv().unwrap();
        assert!(matches!(*errand, Errand::Ask(_)), "{errand:?}");
        assert!(asked.try_recv().is_err());
    }
}
