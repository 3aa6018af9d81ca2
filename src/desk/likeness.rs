//! How alike two short texts are in what they ask for, judged without a model.
//!
//! Two views are blended. *Containment*: how much of the shorter text's content
//! the longer one has too, word by word, so that a request wrapped in
//! pleasantries still matches the bare task. *Dice*: how many character trigrams
//! the two share of all they have, so that a long text does not match everything.
//! Words for courtesy and grammar count nothing; verbs that fit any task, days
//! and dates count half, since it is the names that tell tasks apart.

use unicode_segmentation::UnicodeSegmentation;

/// Of a longer text only so much is looked at, in bytes.
const MOST_BYTES: usize = 2_000;
/// Containment's share of the blend; Dice has the rest.
const CONTAINMENT: f64 = 0.65;
/// Two words are the same in another form ("renew", "renewal") from this share
/// of common trigrams on.
const SAME_WORD: f64 = 0.6;
/// A text of less content than this is too thin to be contained in full.
const THIN: f64 = 2.5;

/// Courtesy and grammar, in order.
const SILENT: &[&str] = &[
    "a", "about", "again", "all", "already", "also", "am", "an", "and", "any", "are", "as", "at",
    "be", "been", "before", "but", "by", "can", "can't", "could", "dear", "did", "do", "does",
    "for", "from", "had", "has", "have", "he", "hello", "her", "hey", "hi", "him", "his", "i",
    "i'd", "i'm", "if", "in", "into", "is", "it", "its", "just", "kindly", "let", "may", "me",
    "might", "must", "my", "need", "needs", "no", "not", "now", "of", "on", "or", "our", "out",
    "over", "please", "she", "should", "so", "some", "still", "than", "thank", "thanks", "that",
    "the", "their", "them", "then", "there", "these", "they", "this", "those", "to", "until", "up",
    "us", "was", "we", "were", "what", "when", "which", "who", "will", "with", "would", "you",
    "your",
];

/// Verbs that fit any task, days and dates, in order.
const LIGHT: &[&str] = &[
    "add",
    "ask",
    "bring",
    "call",
    "check",
    "complete",
    "day",
    "deadline",
    "deliver",
    "email",
    "end",
    "finish",
    "follow",
    "forward",
    "friday",
    "get",
    "give",
    "handle",
    "look",
    "mail",
    "make",
    "message",
    "monday",
    "month",
    "next",
    "prepare",
    "provide",
    "reminder",
    "request",
    "review",
    "saturday",
    "send",
    "sent",
    "share",
    "submit",
    "sunday",
    "take",
    "thursday",
    "today",
    "tomorrow",
    "tonight",
    "tuesday",
    "update",
    "wednesday",
    "week",
    "write",
];

/// What a text is about: its content words, weighed, and their trigrams.
pub(crate) struct Gist {
    words: Vec<Word>,
    trigrams: Trigrams,
}

struct Word {
    text: String,
    trigrams: Trigrams,
    weight: f64,
}

/// In order, each once: a search over thousands of tasks spends its time on comparing
/// such lists, and takes a third of what it does with sets that hash.
type Trigrams = Vec<u64>;

impl Gist {
    /// Reads a text in any language. Scripts written without spaces give a word
    /// per character.
    pub(crate) fn of(text: &str) -> Self {
        Self::brief(text, usize::MAX)
    }

    /// The same for a text's first content words only, at most so many.
    pub(crate) fn brief(text: &str, most: usize) -> Self {
        let is_silent = |word: &String| SILENT.binary_search(&word.as_str()).is_ok();
        let (silent, content): (Vec<_>, Vec<_>) = words(text).into_iter().partition(is_silent);
        // A text of nothing but courtesies is compared by them.
        let mut kept = if content.is_empty() { silent } else { content };
        kept.truncate(most);
        kept.sort();
        kept.dedup();
        let words: Vec<Word> = kept.into_iter().map(Word::new).collect();
        let trigrams = words.iter().flat_map(|word| &word.trigrams).copied();
        Self {
            trigrams: in_order(trigrams.collect()),
            words,
        }
    }

    /// The content words, lower case, each once.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(|word| word.text.as_str())
    }

    /// From 0.0, nothing in common, to 1.0, the same content. From about 0.6 on
    /// two texts most likely ask for the same; below 0.4 they hardly do.
    pub(crate) fn likeness(&self, other: &Self) -> f64 {
        CONTAINMENT * containment(self, other)
            + (1.0 - CONTAINMENT) * dice(&self.trigrams, &other.trigrams)
    }

    fn weight(&self) -> f64 {
        self.words.iter().map(|word| word.weight).sum()
    }
}

impl Word {
    fn new(text: String) -> Self {
        let padded: Vec<char> = [' ', ' ']
            .into_iter()
            .chain(text.chars())
            .chain([' '])
            .collect();
        Self {
            trigrams: in_order(padded.windows(3).map(packed).collect()),
            weight: if LIGHT.binary_search(&text.as_str()).is_ok() {
                0.5
            } else {
                1.0
            },
            text,
        }
    }
}

/// The words of a text in its order, lower case.
pub(crate) fn words(text: &str) -> Vec<String> {
    let text = &text[..text.floor_char_boundary(MOST_BYTES)];
    text.unicode_words().map(str::to_lowercase).collect()
}

fn containment(one: &Gist, two: &Gist) -> f64 {
    let (small, large) = if one.weight() <= two.weight() {
        (one, two)
    } else {
        (two, one)
    };
    let shared: f64 = small
        .words
        .iter()
        .filter(|word| {
            let same = |other: &Word| dice(&word.trigrams, &other.trigrams) >= SAME_WORD;
            large.words.iter().any(same)
        })
        .map(|word| word.weight)
        .sum();
    let whole = small.weight().max(THIN.min(large.weight()));
    if whole > 0.0 { shared / whole } else { 0.0 }
}

fn dice(one: &[u64], two: &[u64]) -> f64 {
    let sum = one.len() + two.len();
    if sum == 0 {
        return 0.0;
    }
    2.0 * common(one, two) as f64 / sum as f64
}

/// How many two lists in order have in common.
fn common(mut one: &[u64], mut two: &[u64]) -> usize {
    let mut count = 0;
    while let ([first, rest @ ..], [second, others @ ..]) = (one, two) {
        let order = first.cmp(second);
        count += usize::from(order.is_eq());
        if order.is_le() {
            one = rest;
        }
        if order.is_ge() {
            two = others;
        }
    }
    count
}

/// Three characters of 21 bits each.
fn packed(three: &[char]) -> u64 {
    three
        .iter()
        .fold(0, |packed, c| packed << 21 | u64::from(*c))
}

fn in_order(mut trigrams: Trigrams) -> Trigrams {
    trigrams.sort_unstable();
    trigrams.dedup();
    trigrams
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: &str = "Hi, can you send the Berlin office the signed lease before Tuesday?";

    fn likeness(one: &str, two: &str) -> f64 {
        let [one, two] = [Gist::of(one), Gist::of(two)];
        let there = one.likeness(&two);
        assert_eq!(there, two.likeness(&one), "likeness has no direction");
        assert!((0.0..=1.0).contains(&there), "{there}");
        there
    }

    #[test]
    fn a_task_of_the_same_meaning_is_alike() {
        for task in [
            "Send signed lease to the Berlin office",
            "Send the signed lease to the Berlin office before Tuesday",
            "Email the signed lease to our Berlin colleagues",
            "The signed Berlin lease must be sent out",
        ] {
            assert!(
                likeness(LEASE, task) >= 0.6,
                "{task}: {}",
                likeness(LEASE, task)
            );
        }
        let renewal = likeness(
            "Renewal of the TLS certificates on staging",
            "renew staging TLS certificate",
        );
        assert!(renewal >= 0.6, "{renewal}");
    }

    #[test]
    fn a_task_that_shares_a_name_or_a_verb_is_not() {
        for task in [
            "Order new badges for the Lisbon team",
            "Send Tomasz the photos from the offsite",
            "Renew the TLS certificate of the staging cluster",
            "Review Priya's draft of the new pricing page",
            "Can you please do this before Tuesday?",
        ] {
            assert!(
                likeness(LEASE, task) < 0.4,
                "{task}: {}",
                likeness(LEASE, task)
            );
        }
        // The same office and the same verb make a neighbour, not a twin.
        assert!(likeness(LEASE, "Send the Q3 figures to the Berlin office by Friday") < 0.6);
    }

    #[test]
    fn a_text_is_exactly_like_itself_however_thin_or_foreign() {
        for text in [
            "Call Bo",
            "请把合同发给柏林办公室",
            "Ärger mit Öl",
            "the to of",
        ] {
            assert_eq!(likeness(text, text), 1.0, "{text}");
        }
        assert_eq!(likeness("", LEASE), 0.0);
        assert_eq!(likeness("🎉 !!!", "🎉"), 0.0);
        assert!(likeness("柏林办公室的合同", "请把合同发给柏林办公室") >= 0.6);
        assert!(likeness("Lease", LEASE) < 0.6, "one word is too thin");
    }

    #[test]
    fn the_lists_of_words_can_be_searched() {
        assert!(SILENT.is_sorted() && LIGHT.is_sorted());
    }

    #[test]
    fn of_a_long_text_the_first_words_can_be_taken() {
        let brief = Gist::brief("Zoe, send the lease and the badges", 3);
        assert_eq!(brief.words().collect::<Vec<_>>(), ["lease", "send", "zoe"]);
    }

    #[test]
    fn a_gigantic_text_is_cut_at_a_character() {
        assert!(likeness(&"ü".repeat(1_000_000), LEASE) < 0.1);
    }
}
