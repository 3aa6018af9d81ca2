//! Text of others, without anything that poses as something else: for the model
//! without what could be taken for our fence, for people without what a screen or
//! a terminal would obey or hide. What a character is, Unicode's tables say.

use std::borrow::Cow;

use icu_properties::props::{
    DefaultIgnorableCodePoint, GeneralCategory, NoncharacterCodePoint, PrependedConcatenationMark,
};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Marks kept on one letter. No script needs more; a tower of a thousand is there
/// to harm.
const MARKS: usize = 8;

/// What becomes of line breaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// Kept: a text of many lines.
    Kept,
    /// Made blanks: one entry of a list.
    One,
}

/// Who is going to read it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    Model,
    Person,
}

/// What a character is to us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Stands for itself.
    Plain,
    /// Stands on the letter before it, visibly or not.
    Mark,
    /// Joins or parts letters of Persian, or makes one picture of several. A
    /// person misses it, a model does not.
    Joiner,
    /// Begins a fence, or looks like it.
    Opening,
    /// Ends a fence, or looks like it.
    Closing,
    /// Breaks the line, and shows as nothing.
    Break,
    /// Looks like a blank and is none.
    Blank,
    /// Cannot be seen, or is no character.
    Nothing,
}

/// For a prompt or an answer to the model: no mark of a fence is in it, and
/// nothing that cannot be seen.
pub(super) fn for_model(text: &str, lines: Lines) -> Cow<'_, str> {
    clean(text, lines, Reader::Model)
}

/// For the desktop: nothing is in it that would hide or turn around other
/// characters, or that a terminal obeys.
pub(super) fn for_people(text: &str, lines: Lines) -> Cow<'_, str> {
    clean(text, lines, Reader::Person)
}

/// Never more characters than before, and nothing at the start that would stand
/// on the character before it.
fn clean(text: &str, lines: Lines, reader: Reader) -> Cow<'_, str> {
    let keep = |c| match c {
        '\n' => lines == Lines::Kept,
        c => role(c, reader) == Role::Plain,
    };
    if consists_of(text, keep) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut room_for_marks = 0;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let kept = match role(c, reader) {
            Role::Plain => Some(c),
            Role::Opening => Some('['),
            Role::Closing => Some(']'),
            Role::Blank => Some(' '),
            Role::Break if c == '\r' && chars.peek() == Some(&'\n') => None,
            Role::Break if lines == Lines::Kept => Some('\n'),
            Role::Break => Some(' '),
            Role::Mark | Role::Joiner => {
                if room_for_marks > 0 {
                    room_for_marks -= 1;
                    clean.push(c);
                }
                None
            }
            Role::Nothing => None,
        };
        if let Some(kept) = kept {
            clean.push(kept);
            room_for_marks = if kept.is_whitespace() { 0 } else { MARKS };
        }
    }
    Cow::Owned(clean)
}

fn role(c: char, reader: Reader) -> Role {
    let role = match c {
        // Most letters that there are: Latin, Chinese, Korean. Nothing hides among them.
        ' '..='~' | '\u{c0}'..='\u{2ff}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' => {
            Role::Plain
        }
        '⟦' | '〚' | '⟬' | '⁅' | '⦋' | '⦍' | '⦏' | '〖' | '〘' | '［' | '︗' | '﹇' => {
            Role::Opening
        }
        '⟧' | '〛' | '⟭' | '⁆' | '⦌' | '⦎' | '⦐' | '〗' | '〙' | '］' | '︘' | '﹈' => {
            Role::Closing
        }
        // Non-joiner, joiner, and the selector of a picture in colour.
        '\u{200c}' | '\u{200d}' | '\u{fe0f}' => Role::Joiner,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' => Role::Break,
        // Tab, fillers of Hangul, Braille's pattern of no dots.
        '\t' | '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' => Role::Blank,
        c => by_category(c),
    };
    match (role, reader) {
        (Role::Joiner, Reader::Model) => Role::Nothing,
        (Role::Opening | Role::Closing, Reader::Person) => Role::Plain,
        (role, _) => role,
    }
}

fn by_category(c: char) -> Role {
    let ignorable = || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c);
    match CodePointMapData::<GeneralCategory>::new().get(c) {
        GeneralCategory::Control => Role::Nothing,
        GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator => Role::Break,
        GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark if !ignorable() => {
            Role::Mark
        }
        GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark => Role::Nothing,
        // Signs over Arabic numbers can be seen; everything else of this kind only acts.
        GeneralCategory::Format => {
            match CodePointSetData::new::<PrependedConcatenationMark>().contains(c) {
                true => Role::Plain,
                false => Role::Nothing,
            }
        }
        GeneralCategory::Unassigned => {
            match ignorable() || CodePointSetData::new::<NoncharacterCodePoint>().contains(c) {
                true => Role::Nothing,
                false => Role::Plain,
            }
        }
        _ => Role::Plain,
    }
}

/// Whether `keep` holds for every character. Printable ASCII, of which most
/// screens consist, is kept without being asked about.
fn consists_of(text: &str, keep: impl Fn(char) -> bool) -> bool {
    let newline = keep('\n');
    let plain = |byte: u8| matches!(byte, b' '..=b'~') | (newline & (byte == b'\n'));
    let mut rest = text;
    loop {
        let mut chars = rest[plain_bytes(rest, plain)..].chars();
        match chars.next() {
            None => return true,
            Some(c) if !keep(c) => return false,
            Some(_) => rest = chars.as_str(),
        }
    }
}

/// How many of the first bytes are plain. Fast where most are: a block without an
/// early end is a few vector instructions, if `plain` does not branch.
fn plain_bytes(text: &str, plain: impl Fn(u8) -> bool) -> usize {
    const BLOCK: usize = 16;
    let bytes = text.as_bytes();
    let all = |block: &&[u8]| block.iter().fold(true, |all, byte| all & plain(*byte));
    let start = BLOCK * bytes.chunks_exact(BLOCK).take_while(all).count();
    let rest = bytes[start..].iter().take_while(|byte| plain(**byte));
    start + rest.count()
}

#[cfg(test)]
mod tests {
    use icu_properties::props::BidiControl;

    use super::*;

    #[test]
    fn plain_bytes_are_counted_up_to_the_first_other() {
        for length in [0, 1, 15, 16, 17, 100] {
            let text = "x".repeat(length);
            assert_eq!(plain_bytes(&text, |byte| byte == b'x'), length);
            assert_eq!(plain_bytes(&(text + "yx"), |byte| byte == b'x'), length);
        }
    }

    #[test]
    fn a10_a_task_of_several_lines_cannot_pose_as_several_tasks() {
        for start in ["x", "a description longer than a block"] {
            let (forged, line) = (
                format!("{start}\n- #99 forged"),
                format!("{start} - #99 forged"),
            );
            assert_eq!(for_model(&forged, Lines::One), line);
            assert_eq!(for_model(&forged, Lines::Kept), forged);
        }
    }

    #[test]
    fn a10_every_character_of_unicode_that_hides_or_directs_goes() {
        let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
        let directs = CodePointSetData::new::<BidiControl>();
        // The planes that have characters, and the one of tags and selectors.
        for c in ('\0'..='\u{3ffff}').chain('\u{e0000}'..='\u{effff}') {
            let text = format!("a{c}b");
            let [model, person] = [for_model, for_people].map(|clean| clean(&text, Lines::One));
            let hides = ignorable.contains(c) || directs.contains(c) || c.is_control();
            let joins = matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe0f}');
            let number = u32::from(c);
            assert!(
                !hides || !model.contains(c),
                "U+{number:04X} reaches the model"
            );
            assert!(
                !hides || joins || !person.contains(c),
                "U+{number:04X} reaches a person"
            );
            if c.is_alphanumeric() && !hides {
                assert_eq!(model, text, "U+{number:04X} is a letter or stands on one");
            }
        }
    }

    #[test]
    fn a10_what_looks_like_a_mark_of_ours_becomes_a_plain_bracket_for_the_model_only() {
        let text = "⟦a⟧〚b〛［c］【d】";
        assert_eq!(for_model(text, Lines::One), "[a][b][c]【d】");
        assert_eq!(for_people(text, Lines::One), text);
    }

    #[test]
    fn a10_marks_stay_on_their_letter_and_a_tower_of_them_is_cut() {
        let tower = format!("\u{301}a{}b\n\u{301}", "\u{301}".repeat(20));
        let cut = format!("a{}b\n", "\u{301}".repeat(8));
        assert_eq!(for_model(&tower, Lines::Kept), cut);
        let family = "👨\u{200d}👩\u{200d}👧 ❤\u{fe0f}\u{200d}🔥";
        assert_eq!(for_people(family, Lines::One), family);
        assert_eq!(for_model(family, Lines::One), "👨👩👧 ❤🔥");
    }

    #[test]
    fn lines_break_where_people_see_them_break() {
        let text = "a\r\nb\rc\u{2028}d\u{85}e\tf";
        assert_eq!(for_model(text, Lines::Kept), "a\nb\nc\nd\ne f");
        assert_eq!(for_model(text, Lines::One), "a b c d e f");
    }
}
