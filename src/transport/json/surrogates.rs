//! Halves of surrogate pairs. A string that JavaScript or Windows cut in the middle of an
//! emoji has one at its end; JSON may write it (RFC 8259, 8.2), and UTF-8 cannot.

use std::borrow::Cow;
use std::ops::Range;

/// An escape such as `\ud83d`.
const ESCAPE: usize = 6;
const HIGH: Range<u16> = 0xD800..0xDC00;
const LOW: Range<u16> = 0xDC00..0xE000;

/// The same text with U+FFFD for each half that stands alone.
pub(super) fn mended(text: &str) -> Cow<'_, str> {
    if !text.contains("\\ud") && !text.contains("\\uD") {
        return Cow::Borrowed(text);
    }
    let mut mended = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        mended.push_str(before);
        let (taken, said) = match (unit(escape), escape.get(ESCAPE..).and_then(unit)) {
            (Some(high), Some(low)) if HIGH.contains(&high) && LOW.contains(&low) => {
                (2 * ESCAPE, None)
            }
            (Some(half), _) if HIGH.contains(&half) || LOW.contains(&half) => {
                (ESCAPE, Some("\\ufffd"))
            }
            // Whatever is escaped besides, a backslash among it.
            _ => (
                1 + escape[1..].chars().next().map_or(0, char::len_utf8),
                None,
            ),
        };
        mended.push_str(said.unwrap_or(&escape[..taken]));
        rest = &escape[taken..];
    }
    mended.push_str(rest);
    Cow::Owned(mended)
}

/// The UTF-16 unit that the text begins with as an escape.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_that_stands_alone_becomes_a_replacement_character_and_nothing_else_changes() {
        for (text, expected) in [
            (r#""cut \ud83d""#, r#""cut \ufffd""#),
            (r#""\uD83D\uDE00 whole""#, r#""\uD83D\uDE00 whole""#),
            (
                r#""\ude00\ud83d\ud83d\ude00""#,
                r#""\ufffd\ufffd\ud83d\ude00""#,
            ),
            (r#""a path \\ud83d""#, r#""a path \\ud83d""#),
            (r#""\\\ud83dé\n""#, r#""\\\ufffdé\n""#),
            (r#""ends \ud8"#, r#""ends \ud8"#),
            (r#""ends \ud83d\"#, r#""ends \ufffd\"#),
            (r#""\é \ud83d""#, r#""\é \ufffd""#),
        ] {
            assert_eq!(mended(text), expected);
        }
        assert!(matches!(mended("\"plain \\n\""), Cow::Borrowed(_)));
    }
}
