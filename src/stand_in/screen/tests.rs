//! Screens, and the requests found on them.

use super::*;

fn action(screen: &str) -> Option<String> {
    request(screen).map(|request| request.action)
}

#[test]
fn what_somebody_asks_is_found_in_many_wordings() {
    for (screen, expected) in [
        (
            "Hi, can you send the Berlin office the signed lease before Tuesday?",
            "send the Berlin office the signed lease before Tuesday",
        ),
        ("Could you please review PR 42 today?", "review PR 42 today"),
        ("I need you to call the landlord.", "call the landlord"),
        ("Don’t forget to water the plants!", "water the plants"),
        (
            "Hi Tom, send me the Q3 report, please. Thanks!",
            "send me the Q3 report",
        ),
        (
            "Please sign the lease and send it back, thanks",
            "sign the lease and send it back",
        ),
        (
            "All good? Make sure to book Dr. Weber for Friday.",
            "book Dr. Weber for Friday",
        ),
        ("Kannst du bitte den Vertrag prüfen?", "den Vertrag prüfen"),
        (
            "Bitte schicken Sie das Angebot bis Freitag.",
            "schicken Sie das Angebot bis Freitag",
        ),
        (
            "Inbox\nDrafts\nCan you send the\nsigned lease to Berlin?",
            "send the signed lease to Berlin",
        ),
    ] {
        assert_eq!(action(screen).as_deref(), Some(expected), "{screen}");
    }
}

#[test]
fn what_asks_nothing_of_the_user_is_no_request() {
    for screen in [
        "",
        "fn main() {}",
        "fn main() {\n    println!(\"can you send the lease?\");\n}",
        "// please fix this before the release",
        "# remember to run make",
        "Please sign in to continue",
        "Please enter your password.",
        "Please wait…",
        "Would you like to save your changes?",
        "How can you tell?",
        "Can you believe it?",
        "Please let me know if you have any questions.",
        "Remember me",
        "Thanks, please!",
        "Weather: sunny, 21 degrees",
        "You: can you send me the lease?",
        "You 10:42\nCan you send me the lease?",
        "From: Me\nTo: Anna\nCould you send the lease?",
        "To: please@example.com",
    ] {
        assert_eq!(request(screen), None, "{screen}");
    }
}

#[test]
fn the_sender_is_read_from_headings_and_prefixes() {
    for (screen, sender) in [
        (
            "Anna Keller 10:42 AM\nCan you call the landlord?",
            Some("Anna Keller"),
        ),
        (
            "Anna Keller Yesterday at 10:42\nCan you call the landlord?",
            Some("Anna Keller"),
        ),
        ("[10:42] Anna: can you call the landlord?", Some("Anna")),
        (
            "From: Anna Keller <anna@example.com>\nTo: Tom\n\nCan you call the landlord?",
            Some("Anna Keller"),
        ),
        (
            "You: hello\nJonas von Berg: can you call the landlord?",
            Some("Jonas von Berg"),
        ),
        ("Reminder: can you call the landlord?", None),
        ("You: ok\n\nCan you call the landlord?", None),
    ] {
        let found = request(screen).unwrap_or_else(|| panic!("{screen}"));
        assert_eq!(found.sender.as_deref(), sender, "{screen}");
        assert_eq!(found.action, "call the landlord");
    }
    // Somebody who is named may say what a program would.
    assert!(request("Anna: please sign in to the bank portal").is_some());
}

#[test]
fn reminders_are_told_from_requests() {
    assert!(request("Remember to renew the passport").is_some_and(|request| request.reminder));
    assert!(request("Please renew the passport").is_some_and(|request| !request.reminder));
}

#[test]
fn text_without_stops_is_read_to_its_end_in_pieces() {
    let long = format!("{} please call Anna about the lease", "grün ".repeat(2_000));
    assert_eq!(action(&long).as_deref(), Some("call Anna about the lease"));
    let long = format!("please call Anna about the lease {}", "grün ".repeat(2_000));
    let action = action(&long).unwrap();
    assert!(action.starts_with("call Anna about the lease grün"));
    assert!(action.len() <= MAX_SENTENCE && action.ends_with("grün"));
    assert!(request(&"ü".repeat(5_000)).is_none());
}

#[test]
fn a_hostile_screen_is_read_in_bounded_time() {
    let before = std::time::Instant::now();
    for part in [
        "please ",
        "please the ",
        "a.",
        "Anna: please\n",
        "the ",
        "⟦please⟧ ",
    ] {
        let full = MAX_SCREEN / part.len();
        assert!(request(&part.repeat(full)).is_none(), "{part}");
        // Far over the limit: the end is not read, and may be half a word.
        request(&part.repeat(1 << 20));
    }
    // Seconds in a debug build; when each stop was read back from the last one
    // it was four minutes.
    assert!(before.elapsed().as_secs() < 60);
}

#[test]
fn a_day_and_a_time_are_nobodys_name() {
    for heading in ["Today, 14:26", "Yesterday at 9:05", "heute um 8:00"] {
        let found = request(&format!(
            "{heading}\nCan you send the Q3 figures to Berlin?"
        ));
        assert_eq!(found.unwrap().sender, None, "{heading}");
    }
}
