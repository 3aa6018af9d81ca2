//! What the demo shows and to whom: the bundled screens and tasks, or files of
//! the user's, each mistake in them told in one sentence.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::desk::Screen;
use crate::desk::files::{self, MOST_TEXT, lossy, picture, read, text};
use crate::desk::store::{self, Store};
use crate::desk::tasks::{self, TaskFile};

/// Longest frame id of the contract, in bytes.
const MOST_ID: usize = 256;

const TASKS: &str = include_str!("../../examples/tasks.json");

macro_rules! bundled {
    ($name:literal, $app:literal, $window:literal) => {
        Bundled {
            name: $name,
            app: $app,
            window: $window,
            jpeg: include_bytes!(concat!("../../examples/frames/", $name, ".jpg")),
            text: include_str!(concat!("../../examples/frames/", $name, ".txt")),
        }
    };
}

struct Bundled {
    name: &'static str,
    app: &'static str,
    window: &'static str,
    jpeg: &'static [u8],
    text: &'static str,
}

/// In the order in which they tell a story: the second repeats the request of
/// the first, which is tracked by then.
const BUNDLED: [Bundled; 3] = [
    bundled!("new-request", "Huddle", "#finance - Tidewater"),
    bundled!(
        "already-tracked",
        "Postbox",
        "Q3 figures for the board pack"
    ),
    bundled!("no-request", "Quill", "ledger.rs - tidewater"),
];

/// Something given on the command line cannot be used; correct it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A picture or a text cannot be used.
    #[error(transparent)]
    File(#[from] files::Error),
    /// The tasks are not written as they should be.
    #[error("{}, {cause}", path.display())]
    Tasks {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        cause: tasks::Error,
    },
    /// The tasks cannot be kept.
    #[error("{}: {cause}", path.display())]
    Store {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: store::Error,
    },
}

/// The three screens that come with the program.
pub(super) fn bundled_screens() -> Vec<Screen> {
    let screen = |bundled: &Bundled| Screen {
        id: bundled.name.to_owned(),
        file: None,
        app: bundled.app.to_owned(),
        window: bundled.window.to_owned(),
        text: bundled.text.to_owned(),
        jpeg: Bytes::from_static(bundled.jpeg),
        captured: None,
    };
    BUNDLED.iter().map(screen).collect()
}

/// A screen of the user's: a picture, text, or both.
pub(super) fn own_screen(
    frame: Option<&Path>,
    ocr: Option<&str>,
    app: &str,
    window: &str,
) -> Result<Screen, Error> {
    let jpeg = frame.map(picture).transpose()?.unwrap_or_default();
    let text = ocr.map(text).transpose()?.unwrap_or_default();
    if jpeg.is_empty() && text.trim().is_empty() {
        return Err(files::Error::Empty.into());
    }
    let name = frame.and_then(Path::file_stem).unwrap_or_default();
    let mut id = name.to_string_lossy().into_owned();
    id.truncate(id.floor_char_boundary(MOST_ID));
    Ok(Screen {
        id: if id.is_empty() {
            "frame".to_owned()
        } else {
            id
        },
        file: None,
        app: app.to_owned(),
        window: window.to_owned(),
        text,
        jpeg,
        captured: None,
    })
}

/// The tasks of a file, or the bundled ones.
pub(super) fn tasks(path: Option<&Path>) -> Result<Store, Error> {
    let json = match path {
        None => TASKS.to_owned(),
        Some(path) => lossy(read(path, MOST_TEXT)?),
    };
    let path = || path.unwrap_or(Path::new("the bundled tasks")).to_owned();
    let file = TaskFile::read(&json).map_err(|cause| Error::Tasks {
        path: path(),
        cause,
    })?;
    Store::load(file).map_err(|cause| Error::Store {
        path: path(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::desk::files::MOST_FRAME;
    use crate::domain::Image;

    #[test]
    fn the_bundled_screens_are_jpegs_with_the_text_that_they_show() {
        let screens = bundled_screens();
        for screen in &screens {
            assert!(Image::jpeg(screen.jpeg.clone()).is_ok(), "{}", screen.id);
            assert!(
                (60_000..200_000).contains(&screen.jpeg.len()),
                "{}",
                screen.id
            );
        }
        assert!(
            screens[0]
                .text
                .contains("Could you send the Q3 figures to the Berlin office by Friday?")
        );
        assert!(
            screens[1]
                .text
                .contains("Can you send the Q3 figures to the Berlin office by Friday?")
        );
        assert!(screens[2].text.contains("pub struct Ledger"));
        assert_eq!(tasks(None).unwrap().count().unwrap(), 11);
    }

    #[test]
    fn a_frame_may_be_a_picture_alone_or_text_alone_but_not_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("my screen.jpg");
        fs::write(&file, BUNDLED[0].jpeg).unwrap();
        let seen = own_screen(Some(&file), None, "App", "").unwrap();
        assert_eq!(
            (&*seen.id, &*seen.app, &*seen.text),
            ("my screen", "App", "")
        );
        let read = own_screen(None, Some("fn main() {}"), "", "").unwrap();
        assert_eq!((&*read.id, read.jpeg.len()), ("frame", 0));
        assert!(matches!(
            own_screen(None, Some(" \n"), "", ""),
            Err(Error::File(files::Error::Empty))
        ));
    }

    #[test]
    fn each_mistake_in_a_file_is_one_clear_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let frame = |path: &Path| {
            own_screen(Some(path), None, "", "")
                .err()
                .unwrap()
                .to_string()
        };
        assert!(frame(&folder.path().join("gone.jpg")).contains("gone.jpg: No such file"));
        assert!(frame(folder.path()).contains("Is a directory"));
        assert!(frame(&file("a.png", b"\x89PNG")).contains("a.png is not a whole JPEG"));
        assert!(frame(&file("half.jpg", &BUNDLED[0].jpeg[..9_000])).contains("not a whole JPEG"));
        let long = vec![0; usize::try_from(MOST_FRAME).unwrap() + 1];
        assert!(frame(&file("long.jpg", &long)).contains("at most 10420224 bytes"));

        let of = |path: &Path| tasks(Some(path)).err().unwrap().to_string();
        let wrong = file("t.json", b"[\n{\"description\": 7}]");
        assert!(of(&wrong).ends_with("t.json, line 2, field \"description\": invalid type: integer `7`, expected a string"), "{}", of(&wrong));
        let twice = file(
            "u.json",
            br#"[{"id":1,"description":"a"},{"id":1,"description":"b"}]"#,
        );
        assert!(of(&twice).ends_with("u.json: the id 1 is given to two tasks"));
    }
}
