//! Pictures and texts as they are read from files, each mistake in them told in one
//! sentence.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::domain::Image;

/// The contract's limit of one message, less room for everything but the frame.
pub(crate) const MOST_FRAME: u64 = 10 * 1024 * 1024 - 64 * 1024;
/// Of files with text: far more than a screen shows or a person has to do.
pub(crate) const MOST_TEXT: u64 = 1024 * 1024;

/// Something given on the command line cannot be used; correct it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is missing or may not be read.
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The file is longer than a frame or a list of tasks may be.
    #[error("{} is too long: at most {limit} bytes are taken", path.display())]
    TooLong {
        /// Which file.
        path: PathBuf,
        /// How long it may be.
        limit: u64,
    },
    /// The picture has another format, or only a part of it is there.
    #[error("{} is not a whole JPEG: convert it, for example to JPEG at quality 80", .0.display())]
    NotAJpeg(PathBuf),
    /// The text names a file that is not there.
    #[error("--ocr {0}: no such file; give its right name, or the text of the screen itself")]
    NoTextFile(String),
    /// Neither picture nor text is left to look at.
    #[error("the frame is empty: give a picture with --frame, or text with --ocr")]
    Empty,
}

/// The bytes of a whole JPEG.
pub(crate) fn picture(path: &Path) -> Result<Bytes, Error> {
    let bytes = Bytes::from(read(path, MOST_FRAME)?);
    let image = Image::jpeg(bytes).map_err(|_| Error::NotAJpeg(path.to_owned()))?;
    Ok(image.bytes().clone())
}

/// The content of the file of that name, or else the text itself.
pub(crate) fn text(text_or_file: &str) -> Result<String, Error> {
    let path = Path::new(text_or_file);
    if path.is_file() {
        return Ok(lossy(read(path, MOST_TEXT)?));
    }
    // A mistyped name must not be analysed as if it were a screen's text.
    let one_word = !text_or_file.contains(char::is_whitespace);
    if one_word && path.extension().is_some_and(|extension| extension == "txt") {
        return Err(Error::NoTextFile(text_or_file.to_owned()));
    }
    Ok(text_or_file.to_owned())
}

/// All of a file that is at most so many bytes long.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let unreadable = |cause| Error::Unreadable {
        path: path.to_owned(),
        cause,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooLong {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

/// Text, whatever the bytes are.
pub(crate) fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn text_may_be_given_as_it_is_or_as_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("screen.txt");
        fs::write(&file, "Can you call Bo?\n").unwrap();
        assert_eq!(text(file.to_str().unwrap()).unwrap(), "Can you call Bo?\n");
        for plain in [
            "fn main() {}",
            "/no/such/place",
            "see notes.txt",
            "a\0b",
            &"x".repeat(100_000),
        ] {
            assert_eq!(text(plain).unwrap(), plain);
        }
        assert!(matches!(text("nots.txt"), Err(Error::NoTextFile(_))));
    }
}
