//! Small tools for text that is shown to somebody.

use std::borrow::Cow;
use std::error::Error;

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

/// An error with what caused it: an HTTP client's own sentence says little,
/// "connection refused" is further down.
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| Error::source(*error));
    let told: Vec<_> = chain.map(ToString::to_string).collect();
    told.join(": ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{causes, clip};

    #[test]
    fn clipping_counts_characters_and_marks_the_cut() {
        assert_eq!(clip("åäö", 3), "åäö");
        assert_eq!(clip("åäöx", 3), "åä…");
        assert_eq!(clip("", 3), "");
    }

    #[test]
    fn an_error_is_told_with_what_caused_it() {
        let inner = io::Error::other("connection refused");
        let error = io::Error::other(Outer(inner));
        assert_eq!(causes(&error), "no answer: connection refused");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("no answer")]
    struct Outer(#[source] io::Error);
}
