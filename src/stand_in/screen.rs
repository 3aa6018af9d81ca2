//! Finds, in the text on a screen, what somebody asks of the user.
//!
//! A request is a sentence with one of the phrases in `CUES`, unless it is code,
//! was said by the user, is a program's own text ("Please sign in"), or only
//! sounds like a request ("how can you tell"). The first one counts.

use unicode_segmentation::UnicodeSegmentation;

use super::text::{content_words, lower};

/// Lines read of one screen; a screen shows fewer.
const MAX_LINES: usize = 2_000;
/// Bytes read of one screen. Keeps the work on a hostile one small.
const MAX_SCREEN: usize = 100_000;
/// Longest sentence, in bytes; text without stops is read in pieces of it.
const MAX_SENTENCE: usize = 600;

/// Phrases that ask somebody to do something.
const CUES: &[&str] = &[
    "can you",
    "can u",
    "could you",
    "would you",
    "will you",
    "are you able to",
    "need you to",
    "want you to",
    "like you to",
    "expect you to",
    "asking you to",
    "please",
    "pls",
    "plz",
    "kindly",
    "don't forget to",
    "do not forget to",
    "remember to",
    "make sure to",
    "make sure you",
    "make sure that you",
    "be sure to",
    "remind you to",
    "bitte",
    "kannst du",
    "könntest du",
    "können sie",
    "könnten sie",
    "würdest du",
    "würden sie",
    "vergiss nicht",
    "denk daran",
    "denk dran",
    "denken sie daran",
];

/// Words between a phrase and what it asks for.
const FILLERS: &[&str] = &[
    "please", "pls", "plz", "kindly", "also", "just", "maybe", "perhaps", "possibly", "quickly",
    "then", "so", "bitte", "mal", "noch", "auch", "bis", "to",
];

/// After a phrase, these ask for nothing.
const NOTHING_AFTER: &[&str] = &[
    "believe",
    "imagine",
    "hear",
    "see",
    "guess",
    "like",
    "rather",
    "tell",
    "find",
    "note",
    "ignore",
    "disregard",
    "wait",
    "sehr",
    "schön",
    "beachten",
];

/// Before a phrase, these make it a question about something else.
const QUESTION_BEFORE: &[&str] = &[
    "how", "what", "where", "why", "when", "which", "who", "whether", "wie", "was", "wo", "warum",
    "wann",
];

/// After "please", these are a program's own words, unless somebody said them.
const PROGRAM_AFTER: &[&str] = &[
    "accept",
    "allow",
    "choose",
    "click",
    "contact",
    "enable",
    "enter",
    "log",
    "press",
    "rate",
    "refer",
    "refresh",
    "reload",
    "restart",
    "select",
    "subscribe",
    "tap",
    "try",
    "type",
    "visit",
    "wählen",
    "geben",
    "klicken",
    "melden",
];

/// Likewise, if they are followed by one of the second words.
const PROGRAM_PAIRS: (&[&str], &[&str]) = (
    &[
        "sign", "check", "verify", "confirm", "update", "fill", "provide", "save", "read",
    ],
    &["in", "up", "out", "your", "a", "this", "our"],
);

/// What stands before a colon without being a name.
const LABELS: &[&str] = &[
    "attention",
    "betreff",
    "description",
    "due",
    "error",
    "fw",
    "fwd",
    "hinweis",
    "important",
    "info",
    "note",
    "notiz",
    "p.s",
    "ps",
    "re",
    "reminder",
    "status",
    "subject",
    "task",
    "title",
    "todo",
    "warning",
    "wichtig",
];

/// Something asked of the user.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The whole sentence.
    pub(super) sentence: String,
    /// What is to be done, as far as the sentence says it.
    pub(super) action: String,
    /// Who asked, if the screen shows it.
    pub(super) sender: Option<String>,
    /// It was put as a reminder.
    pub(super) reminder: bool,
}

/// The first request on a screen.
pub(super) fn request(screen: &str) -> Option<Request> {
    statements(&screen[..screen.floor_char_boundary(MAX_SCREEN)])
        .into_iter()
        .filter(|statement| statement.speaker != Some(Speaker::User))
        .find_map(|statement| {
            let sentences = sentences(&statement.text).into_iter();
            let named = statement.speaker.is_some();
            let (sentence, action, reminder) = sentences
                .filter_map(|sentence| {
                    let (action, reminder) = asked(sentence, named)?;
                    Some((sentence, action, reminder))
                })
                .next()?;
            Some(Request {
                sentence: sentence.to_owned(),
                action: action.to_owned(),
                sender: match statement.speaker {
                    Some(Speaker::Named(name)) => Some(name),
                    Some(Speaker::User) | None => None,
                },
                reminder,
            })
        })
}

#[derive(Clone, Debug, PartialEq)]
enum Speaker {
    User,
    Named(String),
}

/// Lines that belong together, and who said them.
struct Statement {
    speaker: Option<Speaker>,
    text: String,
}

fn statements(screen: &str) -> Vec<Statement> {
    let mut statements: Vec<Statement> = Vec::new();
    // A heading counts until the next one, a name before a colon until the
    // next empty line.
    let mut heading = None;
    let mut prefix = None;
    let mut joinable = false;
    for line in screen.lines().take(MAX_LINES) {
        let line = line.trim().trim_start_matches(['•', '>', '·']).trim_start();
        if line.is_empty() {
            prefix = None;
        }
        if line.is_empty() || is_code(line) || is_envelope(line) {
            joinable = false;
            continue;
        }
        if let Some(speaker) = read_heading(line) {
            (heading, prefix, joinable) = (speaker, None, false);
            continue;
        }
        let mut text = line;
        if let Some((speaker, rest)) = read_prefix(line) {
            (prefix, text, joinable) = (Some(speaker), rest, false);
        }
        match statements.last_mut() {
            Some(last) if joinable && goes_on(&last.text, text) => {
                last.text.push(' ');
                last.text.push_str(text);
            }
            _ => statements.push(Statement {
                speaker: prefix.clone().or_else(|| heading.clone()),
                text: text.to_owned(),
            }),
        }
        joinable = true;
    }
    statements
}

fn is_code(line: &str) -> bool {
    const STARTS: [&str; 22] = [
        "//", "/*", "* ", "#", "<", "$ ", ">>>", "fn ", "let ", "pub ", "use ", "def ", "class ",
        "import ", "from ", "const ", "var ", "return ", "if (", "for (", "while (", "@",
    ];
    const INSIDE: [&str; 8] = ["();", "::", "->", "=>", "==", "&&", "||", "!("];
    // "from ..." and "@..." begin sentences too, but not ones with a stop.
    let sentence = line.ends_with(['?', '.', '!']) && !line.starts_with(['/', '#', '*', '<']);
    line.ends_with(['{', '}', ';', '\\'])
        || INSIDE.iter().any(|mark| line.contains(mark))
        || (!sentence && STARTS.iter().any(|start| line.starts_with(start)))
}

/// The lines of a mail's head that say nothing about who asks for what.
fn is_envelope(line: &str) -> bool {
    let label = line.split_once(':').map(|(label, _)| lower(label));
    let envelope = ["to", "cc", "bcc", "date", "sent", "an", "datum", "gesendet"];
    label.is_some_and(|label| envelope.contains(&label.as_str()))
}

/// A line that says who speaks from here on: "Anna Keller 10:42 AM", "You",
/// "From: Anna Keller". A time alone says that nobody is known.
fn read_heading(line: &str) -> Option<Option<Speaker>> {
    for label in ["From:", "Von:"] {
        if let Some(name) = line.strip_prefix(label) {
            let name = name.split(['<', '(']).next().unwrap_or_default();
            return Some(speaker(name.trim()));
        }
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let time = words.iter().position(|word| is_time(word));
    match time {
        Some(time) if words.len() - time <= 2 => {
            let between = [
                "at",
                "um",
                "today",
                "heute",
                "yesterday",
                "gestern",
                "·",
                "—",
                "-",
            ];
            let names = |word: &&str| {
                let word = word.trim_end_matches(',');
                !word.is_empty() && !between.contains(&lower(word).as_str())
            };
            let end = words[..time]
                .iter()
                .rposition(names)
                .map_or(0, |last| last + 1);
            let name = words[..end].join(" ");
            if name.is_empty() {
                return Some(None);
            }
            speaker(name.trim_end_matches(',')).map(Some)
        }
        Some(_) => None,
        None => (speaker(line) == Some(Speaker::User)).then_some(Some(Speaker::User)),
    }
}

/// "Anna: can you …", with a time before the name or without.
fn read_prefix(line: &str) -> Option<(Speaker, &str)> {
    let mut line = line;
    if let Some((first, rest)) = line.split_once(' ')
        && is_time(first.trim_matches(['[', ']']))
    {
        line = rest.trim_start();
    }
    let (name, rest) = line.split_once(": ")?;
    let label = LABELS.contains(&lower(name).as_str());
    let speaker = (!label).then(|| speaker(name.trim())).flatten()?;
    Some((speaker, rest.trim()))
}

fn speaker(name: &str) -> Option<Speaker> {
    let words: Vec<&str> = name.split_whitespace().collect();
    if matches!(lower(name).as_str(), "you" | "me" | "ich" | "du") || lower(name).ends_with("(you)")
    {
        return Some(Speaker::User);
    }
    let is_name = (1..=4).contains(&words.len())
        && words.iter().all(|word| {
            let particle = matches!(*word, "von" | "van" | "de" | "der" | "del" | "di");
            particle || word.starts_with(char::is_uppercase)
        })
        && name
            .chars()
            .all(|c| c.is_alphabetic() || " -'’.".contains(c));
    is_name.then(|| Speaker::Named(name.to_owned()))
}

fn is_time(word: &str) -> bool {
    let word = word.trim_matches(['(', ')', ',', '[', ']']);
    let Some((hours, minutes)) = word.split_once(':') else {
        return false;
    };
    let short = |part: &str| (1..=2).contains(&part.len());
    let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    let minutes = minutes.trim_end_matches(['a', 'p', 'm', 'A', 'P', 'M']);
    short(hours) && short(minutes) && digits(hours) && digits(minutes)
}

/// Whether a line continues the text above it: the text has not ended, and
/// either the line begins in lower case, or the text is long enough to have
/// been wrapped.
fn goes_on(text: &str, line: &str) -> bool {
    let ended = text.ends_with(['.', '?', '!', ':', '…']);
    let wrapped = text.len() >= 40 || text.ends_with(',');
    !ended && (line.starts_with(|c: char| c.is_lowercase() || c.is_numeric()) || wrapped)
}

/// Splits at stops that end a sentence: those before a space, unless they
/// belong to an abbreviation or an ordinal.
fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut start = 0;
    for (at, stop) in text.match_indices(['.', '?', '!', '…']) {
        let end = at + stop.len();
        // Abbreviations are short: looking further back would cost a screen
        // full of stops the square of its length.
        let nearby = start.max(text.floor_char_boundary(at.saturating_sub(8)));
        let word = text[nearby..at]
            .split_whitespace()
            .next_back()
            .unwrap_or_default();
        let short = word.len() <= 2
            || matches!(lower(word).as_str(), "e.g" | "i.e" | "z.b" | "mrs" | "prof");
        let inside = !text[end..].is_empty() && !text[end..].starts_with(char::is_whitespace);
        if inside || (stop == "." && short && !text[end..].is_empty()) {
            continue;
        }
        push_pieces(&mut sentences, &text[start..end]);
        start = end;
    }
    push_pieces(&mut sentences, &text[start..]);
    sentences
}

fn push_pieces<'a>(sentences: &mut Vec<&'a str>, sentence: &'a str) {
    let mut rest = sentence.trim();
    while !rest.is_empty() {
        let (first, after) = piece(rest);
        sentences.push(first);
        rest = after.trim_start();
    }
}

/// Cuts a text after the last whole word within the limit, or else within a
/// word.
fn piece(text: &str) -> (&str, &str) {
    let end = text.floor_char_boundary(MAX_SENTENCE);
    let space = text[..end].rfind(char::is_whitespace);
    let cut = space.filter(|space| *space > 0 && end < text.len());
    text.split_at(cut.unwrap_or(end))
}

/// What a sentence asks for, and whether it reminds; `None` if it asks for
/// nothing.
fn asked(sentence: &str, named: bool) -> Option<(&str, bool)> {
    let words: Vec<(usize, String)> = sentence
        .unicode_word_indices()
        .map(|(at, word)| (at, lower(word)))
        .collect();
    let word = |index: usize| words.get(index).map_or("", |(_, word)| word.as_str());
    (0..words.len()).find_map(|first| {
        let cue = CUES.iter().copied().find(|cue| {
            let mut cue = cue.split(' ').enumerate();
            cue.all(|(offset, part)| word(first + offset) == part)
        })?;
        let mut next = first + cue.split(' ').count();
        while FILLERS.contains(&word(next)) {
            next += 1;
        }
        let question = first > 0 && QUESTION_BEFORE.contains(&word(first - 1));
        let boilerplate = word(next) == "let" && word(next + 2) == "know" && word(next + 3) == "if";
        if question || boilerplate || NOTHING_AFTER.contains(&word(next)) {
            return None;
        }
        let pair =
            PROGRAM_PAIRS.0.contains(&word(next)) && PROGRAM_PAIRS.1.contains(&word(next + 1));
        let asks = ["can", "could", "would", "will"].contains(&word(first));
        if !named && !asks && (pair || PROGRAM_AFTER.contains(&word(next))) {
            return None;
        }
        let rest = words.get(next).map_or("", |(at, _)| &sentence[*at..]);
        // "Send me the report, please."
        let action = if content_words(rest).is_empty() {
            without_greeting(&sentence[..words[first].0])
        } else {
            rest
        };
        let action = trimmed(action);
        let reminds = cue.contains("forget") || cue.contains("rem") || cue.contains("denk");
        (!content_words(action).is_empty())
            .then_some((action, reminds || cue.starts_with("vergiss")))
    })
}

/// "Hi Tom, send it" -> "send it".
fn without_greeting(text: &str) -> &str {
    match text.split_once(',') {
        Some((greeting, rest))
            if greeting.split_whitespace().count() <= 2 && !rest.trim().is_empty() =>
        {
            rest
        }
        _ => text,
    }
}

/// Without the thanks and the stops at the end.
fn trimmed(action: &str) -> &str {
    let mut action = action.trim();
    loop {
        let before = action;
        action = action.trim_end_matches(|c: char| !c.is_alphanumeric() && !")\"%€$".contains(c));
        for thanks in ["please", "thanks", "thank you", "bitte", "danke"] {
            let cut = action.len().saturating_sub(thanks.len());
            if let Some(end) = action.get(cut..)
                && end.eq_ignore_ascii_case(thanks)
                && action[..cut].ends_with([' ', ','])
            {
                action = &action[..cut];
            }
        }
        if action == before {
            return action.trim_start_matches([',', ' ']);
        }
    }
}

#[cfg(test)]
mod tests;
