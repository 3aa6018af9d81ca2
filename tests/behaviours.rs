//! Every promise in docs/behaviours.md has the tests that it names.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn collect(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            collect_tests(&fs::read_to_string(&path).unwrap(), names);
        }
    }
}

/// Tests that concern one door alone: how its streams end, or its own wire.
const ONE_DOOR: [&str; 6] = [
    "a02_a_stream_without_a_good_token_is_refused_before_any_event_and_echoes_nothing",
    "a_connection_too_many_is_closed_at_once_and_its_place_is_free_again_later",
    "a_half_closed_stream_still_gets_the_answers_to_its_frames",
    "a_search_that_nobody_can_answer_ends_its_frame_at_once_with_the_reason",
    "a_stream_is_refused_as_unavailable_while_no_keys_can_be_had",
    "health_is_not_serving_as_soon_as_a_drain_begins",
];

/// The functions right behind a test attribute, and those that are run once for each
/// door.
fn collect_tests(code: &str, names: &mut BTreeSet<String>) {
    names.extend(at_both_doors(code).map(str::to_owned));
    names.extend(marked(code));
}

fn at_both_doors(code: &str) -> impl Iterator<Item = &str> {
    let (_, list) = code.split_once("both_doors![").unwrap_or_default();
    let (list, _) = list.split_once("];").unwrap_or_default();
    list.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

fn marked(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut marked = false;
    for line in code.lines().map(str::trim) {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| marked) {
            names.insert(rest.split('(').next().unwrap().to_owned());
            marked = false;
        }
    }
    names
}

#[test]
fn b02_every_test_of_a_session_goes_through_both_doors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/service");
    let (mut both, mut one) = (0, BTreeSet::new());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // What stands beside sessions.
        if [
            "connections.rs",
            "doors.rs",
            "http.rs",
            "openapi",
            "upgrade.rs",
            "websocket.rs",
            "websocket_page.rs",
        ]
        .iter()
        .any(|file| path.ends_with(file))
        {
            continue;
        }
        let code = fs::read_to_string(&path).unwrap();
        both += at_both_doors(&code).count();
        one.extend(marked(&code));
    }
    one.retain(|test| !ONE_DOOR.contains(&test.as_str()));
    assert_eq!(one, BTreeSet::new(), "tests of one door");
    assert!(both >= 60, "{both}");
}

#[test]
fn every_promise_has_its_tests() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    collect(&root.join("src"), &mut tests);
    collect(&root.join("tests"), &mut tests);
    let page = fs::read_to_string(root.join("docs/behaviours.md")).unwrap();
    let mut numbers = Vec::new();
    let mut gone = 0;
    let mut missing = Vec::new();
    for row in page.lines().filter(|line| {
        ["| A", "| B", "| C", "| D", "| E", "| gone"]
            .iter()
            .any(|row| line.starts_with(row))
    }) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let prefix = match cells[0].split_at(1) {
            ("A", number) => {
                numbers.push(number.parse::<u32>().unwrap());
                format!("a{number:0>2}_")
            }
            ("B", number) => format!("b{number:0>2}_"),
            ("C", number) => format!("c{number:0>2}_"),
            ("D", number) => format!("d{number:0>2}_"),
            ("E", number) => format!("e{number:0>2}_"),
            _ => {
                gone += 1;
                "gone_".to_owned()
            }
        };
        let named: Vec<_> = cells[2].split(", ").collect();
        let proves = |test: &&str| test.contains(&prefix) || test.starts_with("gone_");
        assert!(
            named.iter().any(proves),
            "no test of {} bears its name",
            cells[0]
        );
        missing.extend(
            named
                .into_iter()
                .filter(|test| !tests.contains(*test))
                .map(str::to_owned),
        );
    }
    assert_eq!(
        missing,
        Vec::<String>::new(),
        "tests that are named and do not exist"
    );
    assert_eq!(numbers, (1..=26).collect::<Vec<_>>());
    assert_eq!(gone, 24);
}
