//! Which characters have no place in a text for a model or for a person, by
//! Unicode's own tables.

use icu_properties::props::{BidiControl, DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Marks behind one letter. No script stacks more.
pub(crate) const MARKS: usize = 8;

/// What is wrong with a character, if something is. Line feeds, and blanks that
/// can be told by their width, are not.
pub(crate) fn flaw(c: char) -> Option<&'static str> {
    if CodePointSetData::new::<BidiControl>().contains(c) {
        return Some("directs the text");
    }
    if CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c) {
        return Some("invisible");
    }
    match CodePointMapData::<GeneralCategory>::new().get(c) {
        GeneralCategory::Control if c != '\n' => Some("a control character"),
        GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator => {
            Some("breaks the line unseen")
        }
        _ if u32::from(c) & 0xFFFE == 0xFFFE || ('\u{fdd0}'..='\u{fdef}').contains(&c) => {
            Some("not a character")
        }
        _ if c == '\u{2800}' || ('\u{fff9}'..='\u{fffb}').contains(&c) => Some("invisible"),
        _ if ('\u{13430}'..='\u{1343f}').contains(&c) => Some("formats a rare script"),
        _ => None,
    }
}

/// Whether it stands on the letter before it.
pub(crate) fn is_mark(c: char) -> bool {
    matches!(
        CodePointMapData::<GeneralCategory>::new().get(c),
        GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark
    )
}

/// What is wrong with a text, if something is.
pub(crate) fn flaw_of(text: &str) -> Option<String> {
    let mut marks = 0;
    for (at, c) in text.char_indices() {
        marks = if is_mark(c) { marks + 1 } else { 0 };
        let flaw = flaw(c).or((marks > MARKS).then_some("one mark too many"));
        if let Some(flaw) = flaw {
            return Some(format!("U+{:04X} at byte {at}: {flaw}", u32::from(c)));
        }
    }
    None
}
