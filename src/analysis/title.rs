//! Whether a title still makes sense tomorrow: at least six words, and some of
//! them name a person, project or thing.

use std::collections::HashSet;
use std::sync::LazyLock;

use unicode_segmentation::UnicodeSegmentation;

const LEAST_WORDS: usize = 6;
const LEAST_NAMING: usize = 2;

/// Words that name nothing: function words, generic verbs of work, and nouns
/// that could stand for anything. English, as most generic titles are; words of
/// other languages count as naming.
const GENERIC: &str = "
    a an the this that these those it its they them their he she his her we us our you your i my me
    and or but if so as at by for from in into of off on onto out over to up with about after before
    during until within per via then than also just please can could should would must may will
    shall be is are was were been being do does did done have has had get got make made take taken
    give given let go going come keep put set need needs want wants now soon today tomorrow later
    again next new other another some any all each every more most very asap

    follow reply respond answer send share review check handle address complete finish look see
    update fix prepare provide discuss talk speak contact reach ask tell confirm verify ensure
    consider work start continue begin try help deal manage resolve process submit create add
    remember remind discussed mentioned requested needed required sent shared received asked

    task tasks thing things something anything everything stuff item items matter matters issue
    issues request requests message messages email emails mail mails document documents file files
    info information detail details question questions topic topics point points action actions
    work job someone somebody anyone anybody everyone person people user users colleague colleagues
    team everybody way time day week month date screen window app application content text";

/// Why a title cannot be used, as the model is told it; `None` if it can.
pub(super) fn flaw(title: &str) -> Option<&'static str> {
    let words: Vec<&str> = title.unicode_words().collect();
    if words.len() < LEAST_WORDS {
        return Some(
            "The title has fewer than six words. Say what exactly is to be done, and for or with \
             whom, so that it makes sense without the screen.",
        );
    }
    let mut naming = HashSet::new();
    let enough = words.iter().map(|word| word.to_lowercase()).any(|word| {
        if names(&word) {
            naming.insert(word);
        }
        naming.len() >= LEAST_NAMING
    });
    (!enough).then_some(
        "The title is generic. Name the person, project or thing it is about, as the screen names \
         it.",
    )
}

/// Takes a word in lower case.
fn names(word: &str) -> bool {
    static GENERIC_WORDS: LazyLock<HashSet<&str>> =
        LazyLock::new(|| GENERIC.split_whitespace().collect());
    !GENERIC_WORDS.contains(word)
}

#[cfg(test)]
mod tests {
    use super::flaw;

    #[test]
    fn a25_a_usable_title_has_six_words_and_names_something() {
        for good in [
            "Send the Q3 figures to the Berlin office by Friday",
            "Send the signed lease to the Berlin office",
            "Review Anna's pull request on the payment retries",
            "Mietvertrag bis Dienstag an das Büro Berlin schicken",
            "在周五之前把第三季度的数字发给柏林办公室",
            "Renew the TLS certificate for the staging cluster",
        ] {
            assert_eq!(flaw(good), None, "{good}");
        }
    }

    #[test]
    fn a25_short_and_generic_titles_are_told_apart() {
        for short in [
            "",
            "Send the lease",
            "Follow up with Anna tomorrow",
            "Reply to Q3 mail now",
        ] {
            assert!(
                flaw(short).is_some_and(|why| why.contains("fewer than six")),
                "{short}"
            );
        }
        for generic in [
            "Follow up on the request that was made",
            "Please send the document to the team soon",
            "Look into the thing that they have mentioned",
            "Reply to the message about the meeting details please now",
        ] {
            let why = flaw(generic);
            // "meeting" alone names too little.
            assert!(
                why.is_some_and(|why| why.contains("generic")),
                "{generic}: {why:?}"
            );
        }
    }
}
