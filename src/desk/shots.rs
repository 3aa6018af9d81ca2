//! Where frames come from, and how each becomes a screen when its turn comes.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until};

use super::files;
use super::folder::{Folder, Found, Picture, name_of, text_beside};
use super::store::{self, Store};
use super::{Place, Screen};
use crate::world::World;

/// Between two looks at a folder, unless looking takes long.
const EVERY: Duration = Duration::from_millis(500);
/// Names of pictures that are handed over at once.
const HANDED_OVER: usize = 16;
/// How long a picture is first put aside; each time twice as long as before.
const ASIDE: Duration = Duration::from_secs(3_600);
/// How often: after that it has been waited for for more than a day.
const MOST_ASIDE: u32 = 5;
/// Pictures that are put aside at once. More come with the next run.
const MOST_PUT_ASIDE: usize = 1_000;

/// A frame given by name.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// The picture, if there is one.
    pub(super) picture: Option<PathBuf>,
    /// The text on it, or the file with it; otherwise the file beside the picture.
    pub(super) text: Option<String>,
}

/// What is to become a frame.
pub(super) enum Shot {
    Given(Given),
    Found(Found),
    Again(Later),
}

/// A picture that may be put aside, to be shown again later.
#[derive(Clone, Debug)]
pub(super) struct Later {
    picture: Picture,
    /// How often it was.
    times: u32,
}

/// All that will become frames. Only names are in memory.
pub(super) struct Shots {
    source: Source,
    /// One that was put back.
    back: Option<Shot>,
    /// Those that were put aside, and until when.
    aside: Vec<(Instant, Later)>,
    /// Whether there will be no more.
    exhausted: bool,
    finite: bool,
    backlog: Backlog,
}

enum Source {
    Given(VecDeque<Given>),
    Folder {
        found: mpsc::Receiver<Found>,
        watching: JoinSet<()>,
    },
}

/// How many are known and not yet taken.
#[derive(Clone, Default)]
pub(super) struct Backlog {
    waiting: Arc<AtomicUsize>,
    aside: Arc<AtomicUsize>,
}

/// What became of a shot.
pub(super) enum Taken {
    Screen {
        screen: Box<Screen>,
        /// What it can be put aside as.
        later: Option<Later>,
    },
    /// It was answered in an earlier run.
    Answered,
    Skipped {
        file: String,
        why: String,
    },
}

impl Shots {
    /// These, and no more.
    pub(super) fn given(all: Vec<Given>) -> Self {
        let backlog = Backlog::default();
        backlog.waiting.store(all.len(), Ordering::Relaxed);
        Self {
            exhausted: all.is_empty(),
            source: Source::Given(all.into()),
            back: None,
            aside: Vec::new(),
            finite: true,
            backlog,
        }
    }

    /// What is in a folder or comes into it; if `once`, only what is in it.
    pub(super) fn of_folder(path: PathBuf, once: bool, world: World) -> Self {
        let backlog = Backlog::default();
        let (tell, found) = mpsc::channel(HANDED_OVER);
        let mut watching = JoinSet::new();
        watching.spawn(watch(Folder::new(path), once, world, tell, backlog.clone()));
        Self {
            source: Source::Folder { found, watching },
            back: None,
            aside: Vec::new(),
            exhausted: false,
            finite: once,
            backlog,
        }
    }

    /// Whether there is an end to them.
    pub(super) fn are_finite(&self) -> bool {
        self.finite
    }

    /// Whether that end was reached.
    pub(super) fn are_exhausted(&self) -> bool {
        self.exhausted
    }

    pub(super) fn backlog(&self) -> Backlog {
        self.backlog.clone()
    }

    /// The next one; `None` if there are no more. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Shot> {
        let again = self.aside.iter().map(|(until, _)| *until).min();
        let next = match &mut self.source {
            _ if self.back.is_some() => self.back.take(),
            Source::Given(given) => given.pop_front().map(Shot::Given),
            Source::Folder { found, watching } => tokio::select! {
                biased;
                () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {
                    let due = self.aside.iter().position(|(until, _)| Some(*until) == again);
                    due.map(|due| Shot::Again(self.aside.swap_remove(due).1))
                }
                found = found_in(found, watching) => found.map(Shot::Found),
            },
        };
        self.exhausted = next.is_none();
        match &next {
            Some(Shot::Again(_)) => self.backlog.aside.fetch_sub(1, Ordering::Relaxed),
            Some(_) => self.backlog.waiting.fetch_sub(1, Ordering::Relaxed),
            None => 0,
        };
        next
    }

    /// Puts a picture aside, and says for how long, which is no less than `least`; `None`
    /// if it comes with the next run only.
    pub(super) fn put_aside(&mut self, later: Later, least: Duration) -> Option<Duration> {
        let Later { picture, times } = later;
        if self.finite || times == MOST_ASIDE || self.aside.len() == MOST_PUT_ASIDE {
            return None;
        }
        let long = least.max(ASIDE * (1 << times));
        let times = times + 1;
        self.aside
            .push((Instant::now() + long, Later { picture, times }));
        self.backlog.aside.fetch_add(1, Ordering::Relaxed);
        Some(long)
    }

    /// Puts back what was not taken: it is the next one again.
    pub(super) fn put_back(&mut self, shot: Shot) {
        let count = match shot {
            Shot::Again(_) => &self.backlog.aside,
            Shot::Given(_) | Shot::Found(_) => &self.backlog.waiting,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.back = Some(shot);
        self.exhausted = false;
    }
}

impl Backlog {
    /// Those whose turn is yet to come.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Those that were put aside.
    pub(super) fn aside(&self) -> usize {
        self.aside.load(Ordering::Relaxed)
    }
}

/// What is found next; `None` if the folder is looked at no more. A panic in the look at it
/// is passed on: it is not the end of what is in there.
async fn found_in(found: &mut mpsc::Receiver<Found>, watching: &mut JoinSet<()>) -> Option<Found> {
    let next = found.recv().await;
    if next.is_none()
        && let Some(Err(failed)) = watching.join_next().await
        && let Ok(panic) = failed.try_into_panic()
    {
        resume_unwind(panic);
    }
    next
}

async fn watch(
    mut folder: Folder,
    once: bool,
    world: World,
    found: mpsc::Sender<Found>,
    backlog: Backlog,
) {
    loop {
        let now = SystemTime::from(world.now());
        let started = Instant::now();
        let looking = spawn_blocking(move || (folder.scan(now), folder));
        let (scan, same) = match looking.await {
            Ok(looked) => looked,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The process ends.
                Err(_) => return,
            },
        };
        folder = same;
        let took = started.elapsed();
        let found_now = scan.found.len();
        backlog.waiting.fetch_add(found_now, Ordering::Relaxed);
        for one in scan.found {
            if found.send(one).await.is_err() {
                return;
            }
        }
        if once && !scan.unsettled {
            return;
        }
        // A large folder is not looked at all the time.
        sleep(EVERY.max(took * 10)).await;
    }
}

impl Shot {
    /// Reads it.
    ///
    /// # Errors
    /// The store's only; what is wrong with a file is told in [`Taken::Skipped`].
    pub(super) fn take(
        &self,
        store: &mut Store,
        place: &Place,
        world: &World,
    ) -> Result<Taken, store::Error> {
        match self {
            Self::Found(Found::Skipped { file, why }) => Ok(Taken::Skipped {
                file: file.clone(),
                why: why.clone(),
            }),
            Self::Found(Found::Picture(picture)) => {
                let (picture, times) = (picture.clone(), 0);
                Later { picture, times }.take(store, place, world)
            }
            Self::Again(later) => later.clone().take(store, place, world),
            Self::Given(given) => {
                let file = given.picture.as_deref().map(name_of);
                Ok(match given.read() {
                    Ok(read) => screen(world.uuid(), file, place, read, None, None),
                    Err(error) => Taken::Skipped {
                        file: file.unwrap_or_default(),
                        why: error.to_string(),
                    },
                })
            }
        }
    }
}

impl Given {
    /// Its picture and text.
    pub(super) fn read(&self) -> Result<(Bytes, String), files::Error> {
        let jpeg = match &self.picture {
            Some(path) => files::picture(path)?,
            None => Bytes::new(),
        };
        let text = match (&self.text, &self.picture) {
            (Some(text), _) => files::text(text)?,
            (None, Some(path)) => beside(path)?,
            (None, None) => String::new(),
        };
        if jpeg.is_empty() && text.trim().is_empty() {
            return Err(files::Error::Empty);
        }
        Ok((jpeg, text))
    }
}

impl Later {
    fn take(self, store: &mut Store, place: &Place, world: &World) -> Result<Taken, store::Error> {
        let Picture { path, modified, .. } = &self.picture;
        let Some(id) = store.frame_of(&self.picture.source(), &world.uuid())? else {
            return Ok(Taken::Answered);
        };
        let file = name_of(path);
        let read = files::picture(path).and_then(|jpeg| Ok((jpeg, beside(path)?)));
        Ok(match read {
            // If it is still there, it is found again.
            _ if !self.picture.is_unchanged() => Taken::Skipped {
                file,
                why: "it was changed before its turn came".to_owned(),
            },
            Ok(read) => {
                let captured = Timestamp::try_from(*modified).ok();
                screen(id, Some(file), place, read, captured, Some(self))
            }
            Err(error) => Taken::Skipped {
                file,
                why: error.to_string(),
            },
        })
    }
}

fn screen(
    id: String,
    file: Option<String>,
    Place { app, window }: &Place,
    (jpeg, text): (Bytes, String),
    captured: Option<Timestamp>,
    later: Option<Later>,
) -> Taken {
    let screen = Screen {
        id,
        file,
        app: app.clone(),
        window: window.clone(),
        text,
        jpeg,
        captured,
    };
    Taken::Screen {
        screen: screen.into(),
        later,
    }
}

/// The text beside a picture; none if there is no such file.
fn beside(picture: &Path) -> Result<String, files::Error> {
    let path = text_beside(picture);
    if !path.is_file() {
        return Ok(String::new());
    }
    Ok(files::lossy(files::read(&path, files::MOST_TEXT)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_picture_is_put_aside_for_ever_longer_and_left_to_the_next_run_then() {
        let folder = tempfile::tempdir().unwrap();
        let shots = |once| Shots::of_folder(folder.path().to_owned(), once, World::real());
        let later = |times| Later {
            picture: Picture {
                path: folder.path().join("a.jpg"),
                size: 1,
                modified: SystemTime::UNIX_EPOCH,
            },
            times,
        };
        let mut watching = shots(false);
        let hours = |put: Option<Duration>| put.map(|long| long.as_secs() / 3_600);
        let waits: Vec<_> = (0..6)
            .map(|times| hours(watching.put_aside(later(times), Duration::ZERO)))
            .collect();
        assert_eq!(waits, [Some(1), Some(2), Some(4), Some(8), Some(16), None]);
        let asked = Duration::from_secs(2 * 3_600 + 1);
        assert_eq!(watching.put_aside(later(0), asked), Some(asked));
        let none = Duration::ZERO;
        assert_eq!(
            shots(true).put_aside(later(0), none),
            None,
            "it would not end"
        );
        for _ in 0..MOST_PUT_ASIDE {
            let _ = watching.put_aside(later(0), none);
        }
        assert_eq!(watching.put_aside(later(0), none), None, "there is a bound");
    }

    #[tokio::test]
    #[should_panic(expected = "while it looked")]
    async fn a_panic_in_the_look_at_a_folder_is_not_taken_for_the_end_of_it() {
        let (tell, found) = mpsc::channel(1);
        let mut watching = JoinSet::new();
        watching.spawn(async move {
            let _tell = tell;
            panic!("while it looked");
        });
        let mut shots = Shots {
            source: Source::Folder { found, watching },
            ..Shots::given(Vec::new())
        };
        shots.next().await;
    }
}
