//! A watched folder: each picture that comes into it is found once, when it is whole.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::files::{self, MOST_FRAME};

/// Pictures of one folder; whoever has more gets told.
const MOST_FILES: usize = 50_000;
/// A picture and its text that did not change for so long are whole, if the picture
/// looks so.
const SETTLED: Duration = Duration::from_secs(1);
/// One that still does not look whole by then will not become so; whether it is, shows
/// when its turn comes.
const GIVEN_UP: Duration = Duration::from_secs(10);
/// Endings of pictures in other formats.
const OTHER_FORMATS: &[&str] = &[
    "avif", "bmp", "gif", "heic", "heif", "jxl", "png", "tif", "tiff", "webp",
];

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A JPEG by its name, to which nothing is added any more.
    Picture(Picture),
    /// A file that makes no frame.
    Skipped {
        /// Which one.
        file: String,
        /// Why not.
        why: String,
    },
}

/// A file as it was when it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) modified: SystemTime,
}

/// What one look at the folder brought.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Oldest first; of the same time by name.
    pub(super) found: Vec<Found>,
    /// Whether something is still being written.
    pub(super) unsettled: bool,
}

/// A folder and what has been seen of it.
pub(super) struct Folder {
    path: PathBuf,
    seen: HashMap<OsString, Seen>,
    /// What was last told of the folder as a whole.
    told: Option<String>,
}

struct Seen {
    size: u64,
    modified: SystemTime,
    /// When it was first seen like this.
    since: Instant,
    /// Nothing more is to be said of it while it stays like this.
    done: bool,
}

enum Format {
    Jpeg,
    Other,
}

impl Picture {
    /// Names the file over all runs: a copy that keeps name, length and time is the
    /// same.
    pub(super) fn source(&self) -> String {
        let since = self.modified.duration_since(SystemTime::UNIX_EPOCH);
        let stamp = since.unwrap_or_default().as_nanos();
        format!("{} {} {stamp}", name_of(&self.path), self.size)
    }

    /// Whether the file is still what was found.
    pub(super) fn is_unchanged(&self) -> bool {
        let now = fs::metadata(&self.path).and_then(|file| Ok((file.len(), file.modified()?)));
        now.is_ok_and(|now| now == (self.size, self.modified))
    }
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            seen: HashMap::new(),
            told: None,
        }
    }

    /// Looks at all of it. `now` is the clock that the files' times are by.
    pub(super) fn scan(&mut self, now: SystemTime) -> Scan {
        let mut scan = Scan::default();
        let trouble = match self.list() {
            Ok(entries) => {
                let trouble = (entries.len() > MOST_FILES).then(|| {
                    format!("it holds more than {MOST_FILES} pictures, and the rest is not seen")
                });
                self.look_at(entries, now, &mut scan);
                trouble
            }
            Err(error) => Some(format!("it cannot be read: {error}")),
        };
        if trouble != self.told {
            self.told.clone_from(&trouble);
            scan.found.extend(trouble.map(|why| Found::Skipped {
                file: self.path.display().to_string(),
                why,
            }));
        }
        scan
    }

    fn list(&self) -> io::Result<Vec<(DirEntry, Format)>> {
        let pictures = fs::read_dir(&self.path)?.filter_map(|entry| {
            let entry = entry.ok()?;
            let format = format_of(&entry.path())?;
            Some((entry, format))
        });
        Ok(pictures.take(MOST_FILES + 1).collect())
    }

    fn look_at(&mut self, entries: Vec<(DirEntry, Format)>, now: SystemTime, scan: &mut Scan) {
        let mut seen = HashMap::new();
        let mut found = Vec::new();
        for (entry, format) in entries.into_iter().take(MOST_FILES) {
            let path = entry.path();
            // Through links; what vanished meanwhile is not there.
            let Ok(file) = fs::metadata(&path) else {
                continue;
            };
            let Ok(modified) = file.modified() else {
                continue;
            };
            if !file.is_file() {
                continue;
            }
            let picture = Picture {
                path,
                size: file.len(),
                modified,
            };
            let before = self.seen.remove(&entry.file_name());
            let before = before.filter(|seen| (seen.size, seen.modified) == (file.len(), modified));
            let mut state = before.unwrap_or_else(|| Seen {
                size: file.len(),
                modified,
                since: Instant::now(),
                done: false,
            });
            if !state.done {
                let what = match format {
                    Format::Jpeg => state.judge(&picture, now),
                    Format::Other => Some(skipped(&picture.path, "it is no JPEG: convert it")),
                };
                state.done = what.is_some();
                scan.unsettled |= what.is_none();
                found.extend(what.map(|what| (modified, entry.file_name(), what)));
            }
            seen.insert(entry.file_name(), state);
        }
        self.seen = seen;
        found.sort_by(|(one, first, _), (two, second, _)| (one, first).cmp(&(two, second)));
        scan.found = found.into_iter().map(|(_, _, what)| what).collect();
    }
}

impl Seen {
    /// What to make of a JPEG; `None` if that cannot be said yet.
    fn judge(&self, picture: &Picture, now: SystemTime) -> Option<Found> {
        let text = fs::metadata(text_beside(&picture.path)).and_then(|text| text.modified());
        let newest = text.map_or(self.modified, |text| text.max(self.modified));
        // Clocks of other machines may be ahead, so what is seen here counts, too.
        let age = now.duration_since(newest).unwrap_or_default();
        let age = age.max(self.since.elapsed());
        if age < SETTLED {
            return None;
        }
        if picture.size > MOST_FRAME {
            let (path, limit) = (picture.path.clone(), MOST_FRAME);
            let why = files::Error::TooLong { path, limit };
            return Some(skipped(&picture.path, &why.to_string()));
        }
        // Most of a folder is old, and was answered long ago: it is not read for that.
        let whole = age >= GIVEN_UP || files::picture(&picture.path).is_ok();
        whole.then(|| Found::Picture(picture.clone()))
    }
}

/// Where the text of a picture stands, if there is any.
pub(super) fn text_beside(picture: &Path) -> PathBuf {
    picture.with_extension("txt")
}

/// The name of a file, without its folder.
pub(super) fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn skipped(path: &Path, why: &str) -> Found {
    Found::Skipped {
        file: name_of(path),
        why: why.to_owned(),
    }
}

/// By its name; hidden files are what copying programs write to.
fn format_of(path: &Path) -> Option<Format> {
    let hidden = name_of(path).starts_with('.');
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    match &*ending {
        _ if hidden => None,
        "jpg" | "jpeg" => Some(Format::Jpeg),
        other if OTHER_FORMATS.contains(&other) => Some(Format::Other),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    const JPEG: &[u8] = &[0xFF, 0xD8, 0xFF, 0xE0, 1, 2, 0xFF, 0xD9];

    struct Scene {
        folder: tempfile::TempDir,
        watched: Folder,
        start: SystemTime,
    }

    impl Scene {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let watched = Folder::new(folder.path().to_owned());
            let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
            Self {
                folder,
                watched,
                start,
            }
        }

        /// A file that was written so many seconds after the start.
        fn write(&self, name: &str, content: &[u8], second: u64) {
            let path = self.folder.path().join(name);
            fs::write(&path, content).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(self.start + Duration::from_secs(second))
                .unwrap();
        }

        /// What is found so many seconds after the start.
        fn found(&mut self, second: u64) -> Vec<String> {
            let scan = self.watched.scan(self.start + Duration::from_secs(second));
            let name = |found: &Found| match found {
                Found::Picture(picture) => name_of(&picture.path),
                Found::Skipped { file, why } => format!("{file}: {why}"),
            };
            scan.found.iter().map(name).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pictures_are_found_once_in_the_order_of_their_time_and_name() {
        let mut scene = Scene::new();
        scene.write("b.jpg", JPEG, 5);
        scene.write("c.JPEG", JPEG, 5);
        scene.write("z.jpg", JPEG, 3);
        scene.write("a.jpg", JPEG, 7);
        scene.write("notes.txt", b"", 7);
        scene.write(".a.jpg.x1.jpg", JPEG, 7);
        fs::create_dir(scene.folder.path().join("more.jpg")).unwrap();
        assert_eq!(scene.found(100), ["z.jpg", "b.jpg", "c.JPEG", "a.jpg"]);
        assert!(scene.found(100).is_empty());
        scene.write("b.jpg", JPEG, 9);
        assert_eq!(scene.found(100), ["b.jpg"], "another picture by that name");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_being_written_is_waited_for() {
        let mut scene = Scene::new();
        scene.write("half.jpg", &JPEG[..5], 100);
        scene.write("new.jpg", JPEG, 100);
        assert!(scene.found(100).is_empty(), "too new");
        assert_eq!(scene.found(102), ["new.jpg"]);
        scene.write("half.jpg", JPEG, 103);
        assert!(scene.found(103).is_empty());
        scene.write("half.txt", b"Call Bo", 105);
        assert!(scene.found(105).is_empty(), "its text is too new");
        assert_eq!(scene.found(107), ["half.jpg"]);
        scene.write("cut.jpg", &JPEG[..5], 108);
        assert!(scene.found(117).is_empty());
        assert_eq!(scene.found(118), ["cut.jpg"], "it will not become whole");
        scene.write("ahead.jpg", JPEG, 1_000_000);
        assert!(scene.found(107).is_empty());
        tokio::time::advance(SETTLED).await;
        assert_eq!(scene.found(107), ["ahead.jpg"], "by our own clock");
    }

    #[tokio::test(start_paused = true)]
    async fn what_makes_no_frame_is_told_once() {
        let mut scene = Scene::new();
        scene.write("screen.png", b"\x89PNG", 1);
        scene.write("long.jpg", &vec![0xFF; 10_420_225], 3);
        let told = scene.found(100);
        assert_eq!(told[0], "screen.png: it is no JPEG: convert it");
        assert!(told[1].contains("at most 10420224 bytes"), "{}", told[1]);
        assert!(scene.found(100).is_empty());
        fs::remove_dir_all(scene.folder.path()).unwrap();
        assert!(scene.found(100)[0].contains("cannot be read"));
        assert!(scene.found(100).is_empty());
    }
}
