//! Cutting text to a length without splitting a character.

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

#[cfg(test)]
mod tests {
    use super::clip;

    #[test]
    fn clipping_counts_characters_and_marks_the_cut() {
        assert_eq!(clip("åäö", 3), "åäö");
        assert_eq!(clip("åäöx", 3), "åä…");
        assert_eq!(clip("", 3), "");
    }
}
