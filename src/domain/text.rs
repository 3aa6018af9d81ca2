//! Cutting text to a length without splitting a character, and looking through it.

use std::borrow::Cow;

/// The text, or its first `limit - 1` characters and an ellipsis if it has more
/// than `limit`.
pub fn clip(text: &str, limit: usize) -> Cow<'_, str> {
    // Fewer bytes than allowed characters: nothing to count.
    if text.len() <= limit || text.chars().nth(limit).is_none() {
        return Cow::Borrowed(text);
    }
    let mut short: String = text.chars().take(limit.saturating_sub(1)).collect();
    short.push('…');
    Cow::Owned(short)
}

/// How many of the first bytes are plain. Fast where most are: a block without an
/// early end is a few vector instructions.
pub fn plain_bytes(text: &str, plain: impl Fn(u8) -> bool) -> usize {
    const BLOCK: usize = 16;
    let bytes = text.as_bytes();
    let all = |block: &&[u8]| block.iter().fold(true, |all, byte| all & plain(*byte));
    let start = BLOCK * bytes.chunks_exact(BLOCK).take_while(all).count();
    let rest = bytes[start..].iter().take_while(|byte| plain(**byte));
    start + rest.count()
}

#[cfg(test)]
mod tests {
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
    fn clipping_counts_characters_and_marks_the_cut() {
        assert_eq!(clip("åäö", 3), "åäö");
        assert_eq!(clip("åäöx", 3), "åä…");
        assert_eq!(clip("", 3), "");
    }
}
