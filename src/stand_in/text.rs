//! Small tools for words: fences, content words, likeness.

use std::collections::{BTreeSet, HashSet};
use std::sync::LazyLock;

use unicode_segmentation::UnicodeSegmentation;

/// Words that say nothing about what a text is about, in English and German.
static EMPTY_WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    "a about again ah all also am an and any are as asap at back be been before but by can \
    cannot could day did do does don't each end for forget from get go got had has have hello her \
    here hey hi him his how i i'd i'll i'm if in into is it it's its just kindly know let like \
    make maybe me mind more morning my need next no not now of off ok on or our out please pls quick \
    quickly really remember remind should so some soon sure than thank thanks that the their them then there \
    these they this those to today tomorrow tonight too up us very want was we were what when \
    where which while who will with would yes you your yourself \
    monday tuesday wednesday thursday friday saturday sunday week weekend month eod \
    aber als am an auch auf aus bei bis bitte da danke das dass dem den denk der des die dich \
    dir doch du ein eine einem einen einer er es für hallo heute ich ihm ihn ihr im in ist ja \
    kann kannst können könnte könntest könnten man mal mich mir mit morgen nach nicht noch nur \
    oder schon sich sie sind so um und uns vergiss vom von vor wann war was wenn wie wir wird \
    würde würdest würden zu zum zur montag dienstag mittwoch donnerstag freitag samstag sonntag woche"
        .split_whitespace()
        .collect()
});

/// The text between the last `⟦name⟧` and `⟦/name⟧`; an earlier pair may only
/// be spoken of.
pub(super) fn fenced<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (before, _) = text.rsplit_once(&format!("⟦/{name}⟧"))?;
    let (_, inside) = before.rsplit_once(&format!("⟦{name}⟧"))?;
    Some(inside)
}

/// A word in lower case, with a plain apostrophe.
pub(super) fn lower(word: &str) -> String {
    word.to_lowercase().replace('’', "'")
}

/// The words that a text is about, in its own spelling and order, each once.
pub(super) fn content_words(text: &str) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    text.unicode_words()
        .filter(|word| {
            let word = lower(word);
            let says_something = !EMPTY_WORDS.contains(word.as_str());
            says_something && word.chars().count() > 1 && seen.insert(stem(&word))
        })
        .collect()
}

/// How much two texts are about the same, 0.0 to 1.0: the words they share,
/// against the mean of their numbers of words.
pub(super) fn likeness(one: &str, other: &str) -> f64 {
    let [one, other] = [one, other].map(|text| {
        let words = content_words(text).into_iter();
        words
            .map(|word| stem(&lower(word)))
            .collect::<BTreeSet<_>>()
    });
    let all = one.len() + other.len();
    if all == 0 {
        return 0.0;
    }
    2.0 * one.intersection(&other).count() as f64 / all as f64
}

/// Cuts common endings off, so that "signed leases" meets "sign the lease".
fn stem(word: &str) -> String {
    let word = word.strip_suffix("'s").unwrap_or(word);
    for ending in ["ing", "ed", "en", "es", "s", "e"] {
        if let Some(stem) = word.strip_suffix(ending)
            && stem.chars().count() >= 3
        {
            return stem.to_owned();
        }
    }
    word.to_owned()
}

/// The text with its first letter in upper case.
pub(super) fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_words_leave_out_what_every_request_says() {
        let words =
            content_words("Hi, can you send the Berlin office the signed lease before Tuesday?");
        assert_eq!(words, ["send", "Berlin", "office", "signed", "lease"]);
        assert_eq!(
            content_words("Kannst du mir bitte den Vertrag schicken"),
            ["Vertrag", "schicken"]
        );
    }

    #[test]
    fn likeness_sees_through_endings_but_not_through_other_subjects() {
        let request = "send the Berlin office the signed lease before Tuesday";
        assert!(likeness(request, "Email signed leases to the Berlin office") >= 0.6);
        assert!(likeness(request, "Send the report") < 0.6);
        assert!(likeness(request, "Order lunch for the Berlin team") < 0.6);
        assert_eq!(likeness("", "the"), 0.0);
    }

    #[test]
    fn a_fence_needs_both_marks() {
        assert_eq!(fenced("x ⟦app⟧Mail⟦/app⟧ y", "app"), Some("Mail"));
        assert_eq!(fenced("x ⟦app⟧Mail", "app"), None);
        let spoken_of = "between ⟦app⟧ and ⟦/app⟧: ⟦app⟧Mail⟦/app⟧";
        assert_eq!(fenced(spoken_of, "app"), Some("Mail"));
    }
}
