//! One look at a user's screen.

use std::fmt;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::Offset;

use super::{Context, DeviceId, FrameId};

/// A frame as the client sent it, checked at the edge.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Names it in every event about it.
    pub id: FrameId,
    /// Whether the client gave it a name of its own, screenshot_id; a number may
    /// name another frame later.
    pub named: bool,
    /// The screenshot; a frame of text alone has none.
    pub image: Option<Image>,
    /// The application in front.
    pub app: String,
    /// Its window's title.
    pub window: String,
    /// The text on the screen.
    pub ocr: ScreenText,
    /// When the screen looked like this, if the client said so.
    pub captured_at: Option<Timestamp>,
    /// How far the client's clock is from UTC, if it said so.
    pub utc_offset: Option<Offset>,
    /// The device that is to execute tools for it, if the client named one.
    pub device: Option<DeviceId>,
    /// The context that the client sent along, if any.
    pub context: Option<Box<Context>>,
}

/// A capture time further than this from our clock is not believed.
const BELIEVABLE_HOURS: i64 = 26;

impl Frame {
    /// When the screen looked like this, as far as that can be believed.
    pub fn moment(&self, now: Timestamp) -> Timestamp {
        let believable =
            |stamp: &Timestamp| now.duration_since(*stamp).as_hours().abs() <= BELIEVABLE_HOURS;
        self.captured_at.filter(believable).unwrap_or(now)
    }
}

/// Text recognised on a screen. Private: its `Debug` shows only the length.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ScreenText(pub String);

impl fmt::Debug for ScreenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScreenText({} bytes)", self.0.len())
    }
}

/// The bytes of a JPEG. Its `Debug` shows only the length.
#[derive(Clone, PartialEq, Eq)]
pub struct Image(Bytes);

impl Image {
    /// Accepts bytes that begin and end as a JPEG does (ITU-T T.81, B.1.1.3:
    /// SOI then another marker; EOI at the end, after which some encoders leave
    /// zero padding).
    ///
    /// # Errors
    /// [`NotAJpeg`] if they do not.
    pub fn jpeg(bytes: Bytes) -> Result<Self, NotAJpeg> {
        let padding = bytes.iter().rev().take_while(|byte| **byte == 0).count();
        let body = &bytes[..bytes.len() - padding];
        if body.starts_with(&[0xFF, 0xD8, 0xFF]) && body.ends_with(&[0xFF, 0xD9]) {
            Ok(Self(bytes))
        } else {
            Err(NotAJpeg)
        }
    }

    /// The bytes as they came.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({} bytes)", self.0.len())
    }
}

/// The bytes are not a whole JPEG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAJpeg;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bytes_framed_as_a_jpeg_are_an_image() {
        let jpeg = [0xFF, 0xD8, 0xFF, 0xE0, 1, 2, 3, 0xFF, 0xD9];
        assert!(Image::jpeg(Bytes::copy_from_slice(&jpeg)).is_ok());
        let padded = [&jpeg[..], &[0, 0, 0]].concat();
        assert!(Image::jpeg(padded.into()).is_ok());
        for wrong in [
            &b"\x89PNG\r\n\x1a\n"[..],
            &jpeg[..7],
            &jpeg[1..],
            &[0, 0],
            &[],
        ] {
            assert_eq!(Image::jpeg(Bytes::copy_from_slice(wrong)), Err(NotAJpeg));
        }
    }
}
