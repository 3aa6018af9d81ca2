//! Where frames come from, and how each becomes a screen when its turn comes.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep};

use super::files;
use super::folder::{Folder, Found, Picture, name_of, text_beside};
use super::store::{self, Store};
use super::{Place, Screen};
use crate::world::World;

/// Between two looks at a folder, unless looking takes long.
const EVERY: Duration = Duration::from_millis(500);
/// Names of pictures that are handed over at once.
const HANDED_OVER: usize = 16;

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
}

/// All that will become frames. Only names are in memory.
pub(super) struct Shots {
    source: Source,
    /// One that was put back.
    back: Option<Shot>,
    /// Whether there will be no more.
    exhausted: bool,
    finite: bool,
    backlog: Backlog,
}

enum Source {
    Given(VecDeque<Given>),
    Folder {
        found: mpsc::Receiver<Found>,
        _watching: JoinSet<()>,
    },
}

/// How many are known and not yet taken.
#[derive(Clone, Default)]
pub(super) struct Backlog(Arc<AtomicUsize>);

/// What became of a shot.
pub(super) enum Taken {
    Screen(Box<Screen>),
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
        backlog.0.store(all.len(), Ordering::Relaxed);
        Self {
            exhausted: all.is_empty(),
            source: Source::Given(all.into()),
            back: None,
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
            source: Source::Folder {
                found,
                _watching: watching,
            },
            back: None,
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
        let next = match &mut self.source {
            _ if self.back.is_some() => self.back.take(),
            Source::Given(given) => given.pop_front().map(Shot::Given),
            Source::Folder { found, .. } => found.recv().await.map(Shot::Found),
        };
        self.exhausted = next.is_none();
        if next.is_some() {
            self.backlog.0.fetch_sub(1, Ordering::Relaxed);
        }
        next
    }

    /// Puts back what was not taken: it is the next one again.
    pub(super) fn put_back(&mut self, shot: Shot) {
        self.back = Some(shot);
        self.exhausted = false;
        self.backlog.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Backlog {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
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
        let Ok((scan, same)) = looking.await else {
            return;
        };
        folder = same;
        let took = started.elapsed();
        backlog.0.fetch_add(scan.found.len(), Ordering::Relaxed);
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
                match store.frame_of(&picture.source(), &world.uuid())? {
                    Some(id) => Ok(found(id, picture, place)),
                    None => Ok(Taken::Answered),
                }
            }
            Self::Given(given) => {
                let file = given.picture.as_deref().map(name_of);
                Ok(match given.read() {
                    Ok(read) => screen(world.uuid(), file, place, read, None),
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

fn found(id: String, picture: &Picture, place: &Place) -> Taken {
    let path = &picture.path;
    let skipped = |why: String| Taken::Skipped {
        file: name_of(path),
        why,
    };
    let read = files::picture(path).and_then(|jpeg| Ok((jpeg, beside(path)?)));
    if !picture.is_unchanged() {
        // If it is still there, it is found again.
        return skipped("it was changed before its turn came".to_owned());
    }
    match read {
        Ok(read) => {
            let captured = Timestamp::try_from(picture.modified).ok();
            screen(id, Some(name_of(path)), place, read, captured)
        }
        Err(error) => skipped(error.to_string()),
    }
}

fn screen(
    id: String,
    file: Option<String>,
    Place { app, window }: &Place,
    (jpeg, text): (Bytes, String),
    captured: Option<Timestamp>,
) -> Taken {
    Taken::Screen(Box::new(Screen {
        id,
        file,
        app: app.clone(),
        window: window.clone(),
        text,
        jpeg,
        captured,
    }))
}

/// The text beside a picture; none if there is no such file.
fn beside(picture: &Path) -> Result<String, files::Error> {
    let path = text_beside(picture);
    if !path.is_file() {
        return Ok(String::new());
    }
    Ok(files::lossy(files::read(&path, files::MOST_TEXT)?))
}
