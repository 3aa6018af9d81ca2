//! Holds the code to the tables in docs/ARCHITECTURE.md: who imports whom, which
//! crates have one home, why each dependency is there, and how long a file is.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const MOST_LINES: usize = 500;

struct Part {
    may_import: BTreeSet<String>,
    homes: Vec<String>,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The rows of the table under this heading, as trimmed cells.
fn table(heading: &str) -> Vec<Vec<String>> {
    let page = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let (_, section) = page.split_once(&format!("## {heading}\n")).unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    let cells = |row: &str| {
        row.trim_matches('|')
            .split('|')
            .map(|c| c.trim().to_owned())
            .collect()
    };
    rows.map(cells).collect()
}

fn list(cell: &str) -> impl Iterator<Item = String> {
    cell.split(',')
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
}

fn parts() -> BTreeMap<String, Part> {
    let rows = table("Who may import whom").into_iter();
    let part = |row: Vec<String>| {
        let may_import = list(&row[1]).collect();
        (
            row[0].clone(),
            Part {
                may_import,
                homes: list(&row[2]).collect(),
            },
        )
    };
    rows.map(part).collect()
}

fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The sources that make the product: unit tests in files of their own are not.
fn product() -> impl Iterator<Item = PathBuf> {
    let is_test = |path: &PathBuf| {
        let inside = path.strip_prefix(root()).unwrap();
        inside
            .components()
            .any(|part| ["tests", "tests.rs"].iter().any(|t| part.as_os_str() == *t))
    };
    sources("src")
        .into_iter()
        .filter(move |path| !is_test(path))
}

/// The part a source file belongs to.
fn part_of(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let first = inside
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The code of a file, without comments and without its unit tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The names that stand behind `prefix::`, groups in braces included.
fn behind(code: &str, prefix: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let start = |text: &str| {
        text.trim_start()
            .split(|c| !word(c))
            .next()
            .unwrap()
            .to_owned()
    };
    let mut names = BTreeSet::new();
    for (at, found) in code.match_indices(&format!("{prefix}::")) {
        // Part of a longer name, or of a longer path.
        if code[..at].ends_with(word) || code[..at].ends_with("::") {
            continue;
        }
        let rest = &code[at + found.len()..];
        match rest.strip_prefix('{') {
            None => names.extend([start(rest)]),
            Some(group) => {
                let mut depth = 0;
                let mut item = String::new();
                for c in group.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => names.extend([start(&std::mem::take(&mut item))]),
                        c => item.push(c),
                    }
                }
                names.extend([start(&item)]);
            }
        }
    }
    names.remove("");
    names
}

#[test]
fn every_part_imports_only_what_the_table_allows() {
    let parts = parts();
    let mut seen = BTreeSet::new();
    for path in product() {
        let part = part_of(&path);
        if part == "lib" {
            continue;
        }
        let row = parts
            .get(&part)
            .unwrap_or_else(|| panic!("{part} is not in the table"));
        let code = code(&path);
        // Modules only: `crate::name!` and re-exports at the root do not exist.
        let mut imports = behind(&code, "crate");
        if part == "main" {
            imports.extend(behind(&code, "proactive"));
        }
        for import in imports {
            let allowed = import == part || row.may_import.contains(&import);
            assert!(
                allowed,
                "{}: {part} may not import {import}",
                path.display()
            );
        }
        seen.insert(part);
    }
    let listed: BTreeSet<_> = parts.into_keys().collect();
    assert_eq!(seen, listed, "the parts there are, and those in the table");
}

/// The modules of a folder, each with those beside it that it imports.
fn neighbours(folder: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let inside = folder.strip_prefix(root().join("src")).unwrap();
    let mut absolute = String::from("crate");
    for part in inside.components() {
        absolute.push_str("::");
        absolute.push_str(part.as_os_str().to_str().unwrap());
    }
    let mut modules: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in product().filter(|path| path.starts_with(folder)) {
        let below = path.strip_prefix(folder).unwrap().with_extension("");
        let names: Vec<_> = below.iter().map(|name| name.to_str().unwrap()).collect();
        // The face of the folder stands above what is in it.
        if names == ["mod"] {
            continue;
        }
        let is_face = *names.last().unwrap() == "mod";
        let up = vec!["super"; names.len() - usize::from(is_face)].join("::");
        let code = code(&path);
        let mut imports = behind(&code, &absolute);
        imports.extend(behind(&code, &up));
        let module = modules.entry(names[0].to_owned()).or_default();
        module.extend(imports.into_iter().filter(|name| name != names[0]));
    }
    let all: BTreeSet<_> = modules.keys().cloned().collect();
    for imports in modules.values_mut() {
        imports.retain(|name| all.contains(name));
    }
    modules
}

#[test]
fn inside_a_part_imports_go_one_way_too() {
    let mut folders: BTreeSet<_> = product()
        .map(|path| path.parent().unwrap().to_path_buf())
        .collect();
    folders.remove(&root().join("src"));
    assert!(folders.len() > 15, "{folders:?}");
    let mut arrows = 0;
    for folder in folders {
        let mut modules = neighbours(&folder);
        arrows += modules.values().map(BTreeSet::len).sum::<usize>();
        // Whoever imports nothing that is left goes; in a circle nobody does.
        loop {
            let ground: Vec<_> = modules
                .iter()
                .filter(|(_, imports)| imports.is_empty())
                .map(|(name, _)| name.clone())
                .collect();
            if ground.is_empty() {
                break;
            }
            for name in ground {
                modules.remove(&name);
                for imports in modules.values_mut() {
                    imports.remove(&name);
                }
            }
        }
        assert!(
            modules.is_empty(),
            "{}: a circle among {modules:?}",
            folder.display()
        );
    }
    assert!(arrows > 100, "{arrows} imports were seen");
}

#[test]
fn crates_that_have_homes_stay_there() {
    let mut all_homes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (home, Part { homes, .. }) in parts() {
        for name in homes {
            all_homes.entry(name).or_default().insert(home.clone());
        }
    }
    for (name, homes) in all_homes {
        let (crate_name, item) = name.split_once("::").unwrap_or((&name, ""));
        let mut used_in = BTreeSet::new();
        for path in product() {
            let code = code(&path);
            let names = behind(&code, crate_name);
            let uses = if item.is_empty() {
                !names.is_empty()
            } else {
                names.contains(item)
            };
            if uses {
                let part = part_of(&path);
                let homes_told = format!("{}: {name} lives in {homes:?}", path.display());
                assert!(homes.contains(&part), "{homes_told}");
                used_in.insert(part);
            }
        }
        assert_eq!(used_in, homes, "homes of {name}; is the table stale?");
    }
}

#[test]
fn no_source_file_is_over_500_lines() {
    for folder in ["src", "tests", "benches"]
        .iter()
        .filter(|folder| root().join(folder).is_dir())
    {
        for path in sources(folder) {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= MOST_LINES, "{}: {lines} lines", path.display());
        }
    }
}

#[test]
fn every_file_begins_by_saying_what_lives_there() {
    for path in sources("src") {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{}", path.display());
    }
}

#[test]
fn every_direct_dependency_has_its_reason() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut direct = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| inside) {
            direct.insert(name.to_owned());
        }
    }
    assert!(
        direct.contains("tokio") && direct.contains("protox"),
        "the manifest was not read"
    );
    let rows = table("Dependencies");
    let names = rows.iter().flat_map(|row| {
        assert!(row[1].len() > 10, "a reason for {}", row[0]);
        list(row[0].split('(').next().unwrap())
    });
    assert_eq!(names.collect::<BTreeSet<_>>(), direct);
}

#[test]
fn the_reader_of_imports_sees_groups_and_paths() {
    let code = "use crate::{a, b::{c, d}, e};\nlet x = crate::f::g(); mycrate::h; crate::i;";
    let names: Vec<_> = behind(code, "crate").into_iter().collect();
    assert_eq!(names, ["a", "b", "e", "f", "i"]);
}
