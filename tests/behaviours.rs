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

/// The functions right behind a test attribute.
fn collect_tests(code: &str, names: &mut BTreeSet<String>) {
    let mut marked = false;
    for line in code.lines().map(str::trim) {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| marked) {
            names.insert(rest.split('(').next().unwrap().to_owned());
            marked = false;
        }
    }
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
        ["| A", "| B", "| E", "| gone"]
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
