//! Words and numbers as people read them.

use std::fmt::Display;

use crate::domain::clip;

/// How a word stands out.
#[derive(Clone, Copy)]
pub(crate) enum Colour {
    Faint,
    Bold,
    Red,
    Green,
    Yellow,
    Blue,
}

/// Text from elsewhere on one line, without anything a terminal would obey.
pub(crate) fn plain(text: &str, width: usize) -> String {
    let one_line = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<_> = one_line.filter(|word| !word.is_empty()).collect();
    clip(&words.join(" "), width).into_owned()
}

/// The text in a colour, if colours are on.
pub(crate) fn paint(text: &str, colour: Colour, on: bool) -> String {
    let code = match colour {
        Colour::Faint => "2",
        Colour::Bold => "1",
        Colour::Red => "1;31",
        Colour::Green => "1;32",
        Colour::Yellow => "1;33",
        Colour::Blue => "1;34",
    };
    match on && !text.trim().is_empty() {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}

/// A JPEG by its bytes.
pub(crate) fn picture(bytes: usize) -> String {
    match bytes {
        0 => "no picture".to_owned(),
        bytes => format!("JPEG of {} KB", grouped((bytes + 500) / 1000)),
    }
}

/// Millionths of a dollar in full.
pub(crate) fn dollars(micro: i64) -> String {
    let micro = micro.max(0);
    format!("${}.{:06}", micro / 1_000_000, micro % 1_000_000)
}

/// "1 call", "2 calls".
pub(crate) fn counted(count: impl Display, thing: &str) -> String {
    let count = count.to_string();
    let plural = if count == "1" { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

/// With a comma between thousands.
pub(crate) fn grouped(number: impl Display) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The words of a text in lines of at most so many characters; a longer word has
/// a line to itself.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lines_are_easy_to_read() {
        let all = [0, 999, 1_000, 1_234_567, -1_000].map(grouped);
        assert_eq!(all, ["0", "999", "1,000", "1,234,567", "-1,000"]);
        assert_eq!(
            [0, 1_667, 12_000_001, -5].map(dollars),
            ["$0.000000", "$0.001667", "$12.000001", "$0.000000"]
        );
        assert_eq!(
            wrapped("one two  three\nextraordinary", 8),
            ["one two", "three", "extraordinary"]
        );
        assert_eq!(plain("a\t\u{7}b\r\n\u{1b}]0;c", 20), "a b ]0;c");
    }
}
