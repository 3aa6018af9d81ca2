//! Finds the day by which something is wanted, in English or German.

use jiff::ToSpan;
use jiff::civil::{Date, Weekday};

const WEEKDAYS: [(Weekday, &[&str]); 7] = [
    (Weekday::Monday, &["monday", "mon", "montag"]),
    (Weekday::Tuesday, &["tuesday", "tue", "tues", "dienstag"]),
    (Weekday::Wednesday, &["wednesday", "wed", "mittwoch"]),
    (
        Weekday::Thursday,
        &["thursday", "thu", "thurs", "donnerstag"],
    ),
    (Weekday::Friday, &["friday", "fri", "freitag"]),
    // "sat" and "sun" are words of their own.
    (Weekday::Saturday, &["saturday", "samstag", "sonnabend"]),
    (Weekday::Sunday, &["sunday", "sonntag"]),
];

const MONTHS: [&[&str]; 12] = [
    &["january", "jan", "januar"],
    &["february", "feb", "februar"],
    // "march" and "may" are verbs too; a number must stand beside them.
    &["march", "mar", "märz"],
    &["april", "apr"],
    &["may", "mai"],
    &["june", "jun", "juni"],
    &["july", "jul", "juli"],
    &["august", "aug"],
    &["september", "sep", "sept"],
    &["october", "oct", "oktober", "okt"],
    &["november", "nov"],
    &["december", "dec", "dezember", "dez"],
];

/// The first day that the text names, counted from today. A weekday is the
/// next one after today; a day of a month without a year is the next one.
pub(super) fn deadline(text: &str, today: Date) -> Option<Date> {
    let words = words(text);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    (0..words.len()).find_map(|at| day(&words, at, today))
}

/// The words that name that day, unless they spell it out as a date.
pub(super) fn phrase(text: &str, today: Date) -> Option<String> {
    let words = words(text);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let at = (0..words.len()).find(|at| day(&words, *at, today).is_some())?;
    if iso(words[at]).is_some() {
        return None;
    }
    let before = at.checked_sub(1).map_or("", |at| plain(&words, at));
    let belongs = is_next(before)
        || matches!(before, "after" | "the" | "this")
        || day_number(before).is_some();
    let from = if belongs { at - 1 } else { at };
    let to = match plain(&words, at) {
        "in" | "within" | "innerhalb" | "day" => at + 3,
        "end" | "ende" => at + 4,
        _ if !belongs && of_month(&words, at, today).is_some() => at + 2,
        _ => at + 1,
    };
    let words = words[from..to.min(words.len())].iter();
    let words: Vec<_> = words.map(|word| word.trim_matches('.')).collect();
    Some(words.join(" "))
}

fn words(text: &str) -> Vec<String> {
    let outer = |c: char| !c.is_alphanumeric() && c != '.';
    let words = text.split_whitespace();
    words
        .map(|word| word.trim_matches(outer).to_lowercase())
        .collect()
}

fn day(words: &[&str], at: usize, today: Date) -> Option<Date> {
    let numeric = words[at];
    if let Some(date) = iso(numeric).or_else(|| german(numeric, today)) {
        return Some(date);
    }
    let word = plain(words, at);
    let before = at.checked_sub(1).map_or("", |at| plain(words, at));
    match word {
        "today" | "tonight" | "eod" | "heute" => return Some(today),
        "tomorrow" if before == "after" => return today.checked_add(2.days()).ok(),
        "übermorgen" => return today.checked_add(2.days()).ok(),
        "morgen" if matches!(before, "guten" | "jeden") => return None,
        "tomorrow" | "morgen" => return today.tomorrow().ok(),
        "day" if before == "the" && plain(words, at + 1) == "after" => {
            return today.checked_add(2.days()).ok();
        }
        "in" | "within" | "innerhalb" => {
            if let Some(date) = distance(words, at, today) {
                return Some(date);
            }
        }
        "end" | "ende" | "eow" | "eom" => return end_of(words, at, today),
        "week" | "woche" if is_next(before) => return friday(next_monday(today)?),
        _ => {}
    }
    let known = WEEKDAYS.iter().find(|(_, names)| names.contains(&word));
    if let Some((weekday, _)) = known {
        return match before {
            "last" | "letzten" | "since" | "every" => None,
            _ if is_next(before) => {
                let monday = next_monday(today)?;
                let offset = i64::from(weekday.to_monday_zero_offset());
                monday.checked_add(offset.days()).ok()
            }
            _ => today.nth_weekday(1, *weekday).ok(),
        };
    }
    of_month(words, at, today)
}

/// The word at a place without the dots around it; empty beyond the end.
fn plain<'a>(words: &[&'a str], at: usize) -> &'a str {
    words.get(at).map_or("", |word| word.trim_matches('.'))
}

fn is_next(word: &str) -> bool {
    matches!(
        word,
        "next" | "nächste" | "nächsten" | "nächster" | "kommende" | "kommenden"
    )
}

fn next_monday(today: Date) -> Option<Date> {
    today.nth_weekday(1, Weekday::Monday).ok()
}

fn friday(monday: Date) -> Option<Date> {
    monday.checked_add(4.days()).ok()
}

/// "2026-11-25".
fn iso(word: &str) -> Option<Date> {
    let word = word.trim_matches(|c: char| !c.is_ascii_digit());
    // Shorter or longer forms are versions, times and numbers.
    (word.len() == 10).then(|| word.parse().ok()).flatten()
}

/// "25.11." or "25.11.2026".
fn german(word: &str, today: Date) -> Option<Date> {
    let mut numbers = word.split('.');
    let day = numbers.next()?.parse().ok()?;
    let month = numbers.next()?.parse().ok()?;
    match numbers.next()? {
        "" => coming(month, day, today),
        year => Date::new(year.parse().ok().filter(|year| *year > 2000)?, month, day).ok(),
    }
}

/// "in 3 days", "within two weeks".
fn distance(words: &[&str], at: usize, today: Date) -> Option<Date> {
    let count = match plain(words, at + 1) {
        "a" | "an" | "one" | "einer" | "einem" => 1,
        "two" | "zwei" => 2,
        "three" | "drei" => 3,
        digits => digits.parse::<i64>().ok().filter(|count| *count < 1000)?,
    };
    match plain(words, at + 2) {
        "day" | "days" | "tag" | "tagen" => today.checked_add(count.days()).ok(),
        "week" | "weeks" | "woche" | "wochen" => today.checked_add(count.weeks()).ok(),
        _ => None,
    }
}

/// "end of the week", "Ende des Monats", "EOM".
fn end_of(words: &[&str], at: usize, today: Date) -> Option<Date> {
    let what = match plain(words, at) {
        "eow" => "week",
        "eom" => "month",
        _ => (at + 1..at + 4)
            .map(|at| plain(words, at))
            .find(|word| !matches!(*word, "of" | "the" | "this" | "der" | "des" | "dieser"))?,
    };
    match what {
        "day" | "today" => Some(today),
        "week" | "woche" if today.weekday() == Weekday::Friday => Some(today),
        "week" | "woche" => today.nth_weekday(1, Weekday::Friday).ok(),
        "month" | "monats" => Some(today.last_of_month()),
        _ => None,
    }
}

/// "November 25th", "25 November 2026", "25. November".
fn of_month(words: &[&str], at: usize, today: Date) -> Option<Date> {
    let month = MONTHS
        .iter()
        .position(|names| names.contains(&plain(words, at)))? as i8
        + 1;
    let before = at
        .checked_sub(1)
        .and_then(|at| day_number(plain(words, at)));
    let (day, year_at) = match before {
        Some(day) => (day, at + 1),
        None => (day_number(plain(words, at + 1))?, at + 2),
    };
    match plain(words, year_at).parse::<i16>() {
        Ok(year) if year > 2000 => Date::new(year, month, day).ok(),
        _ => coming(month, day, today),
    }
}

fn day_number(word: &str) -> Option<i8> {
    let digits = ["st", "nd", "rd", "th"]
        .iter()
        .find_map(|ending| word.strip_suffix(ending))
        .unwrap_or(word);
    digits.parse().ok().filter(|day| (1..=31).contains(day))
}

/// The next such day, this year's or the next's.
fn coming(month: i8, day: i8, today: Date) -> Option<Date> {
    let this_year = Date::new(today.year(), month, day).ok();
    this_year
        .filter(|date| *date >= today)
        .or_else(|| Date::new(today.year() + 1, month, day).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_counted_from_today() {
        // A Saturday.
        let today: Date = "2026-11-21".parse().unwrap();
        for (text, expected) in [
            ("send the lease before Tuesday?", "2026-11-24"),
            ("by Fri, please", "2026-11-27"),
            ("next Friday", "2026-11-27"),
            ("by Saturday", "2026-11-28"),
            ("by end of day", "2026-11-21"),
            ("EOD!", "2026-11-21"),
            ("tomorrow.", "2026-11-22"),
            ("the day after tomorrow", "2026-11-23"),
            ("within 3 days", "2026-11-24"),
            ("in two weeks", "2026-12-05"),
            ("by the end of the month", "2026-11-30"),
            ("until end of this week", "2026-11-27"),
            ("next week", "2026-11-27"),
            ("due (2026-12-01).", "2026-12-01"),
            ("by November 25th", "2026-11-25"),
            ("on 3 March", "2027-03-03"),
            ("Dec 1, 2027", "2027-12-01"),
            ("bis Freitag", "2026-11-27"),
            ("bis zum 25.11.", "2026-11-25"),
            ("am 01.02.2027", "2027-02-01"),
            ("bis 25. November", "2026-11-25"),
            ("morgen früh", "2026-11-22"),
        ] {
            let found = deadline(text, today).map(|date| date.to_string());
            assert_eq!(found.as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn the_words_of_a_day_are_told_from_those_around_them() {
        let today: Date = "2026-11-21".parse().unwrap();
        for (text, expected) in [
            ("send the lease before Tuesday?", Some("tuesday")),
            ("the lease by next Friday, please", Some("next friday")),
            ("we need it in two weeks.", Some("in two weeks")),
            ("the day after tomorrow", Some("the day after tomorrow")),
            ("by the end of the month", Some("the end of the month")),
            ("by November 25th", Some("november 25th")),
            ("on 3 March at noon", Some("3 march")),
            ("due 2026-12-01", None),
            ("whenever you like", None),
        ] {
            assert_eq!(phrase(text, today).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_day_is_no_deadline() {
        let today: Date = "2026-11-21".parse().unwrap();
        for text in [
            "",
            "as discussed last Friday",
            "update to 2.5.1 in the branch",
            "Guten Morgen zusammen",
            "you may review it in the end",
            "the cat sat in the sun",
            "call 12345678901234567890 in 99999999999999999999 days",
            "on February 31",
        ] {
            assert_eq!(deadline(text, today), None, "{text}");
        }
    }
}
