//! The store: what is kept, what is found, and what survives.

use super::*;

fn store(descriptions: &[&str]) -> Store {
    let tasks = serde_json::to_string(descriptions).unwrap();
    let tasks = tasks.replace("\",\"", "\"},{\"description\":\"");
    let tasks = tasks
        .replacen('[', "[{\"description\":", 1)
        .replace(']', "}]");
    Store::load(TaskFile::read(&tasks).unwrap()).unwrap()
}

fn bundled() -> Store {
    let file = TaskFile::read(include_str!("../../../examples/tasks.json")).unwrap();
    Store::load(file).unwrap()
}

fn extracted(title: &str) -> AnalysisOutcome {
    AnalysisOutcome {
        outcome_kind: OutcomeKind::ExtractTask as i32,
        task: Some(ExtractedTask {
            title: title.into(),
            priority: TaskPriority::PriorityHigh as i32,
            ..ExtractedTask::default()
        }),
        ..AnalysisOutcome::default()
    }
}

const LEASE: &str = "Hi, can you send the Berlin office the signed lease before Tuesday?";

#[test]
fn a_task_of_that_meaning_is_found_by_a_request_and_others_are_not() {
    let store = store(&[
        "Order new badges for the Lisbon team",
        "Send signed lease to the Berlin office",
        "Review the spring budget",
    ]);
    let hits = store.search_similar(LEASE).unwrap();
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0].task_id, 2);
    assert_eq!(hits[0].status(), TaskStatus::Active);
    assert_eq!(hits[0].match_type(), MatchType::Vector);
    assert!(hits[0].similarity >= 0.6, "{}", hits[0].similarity);
}

#[test]
fn the_bundled_tasks_hold_nothing_like_the_requests_of_the_demo() {
    for request in [
        LEASE,
        "Could you send the Q3 figures to the Berlin office by Friday?",
    ] {
        for hit in bundled().search_keywords(request).unwrap() {
            assert!(hit.similarity < 0.4, "{hit:?}");
        }
        let near = bundled().search_similar(request).unwrap();
        assert!(near.iter().all(|hit| hit.similarity < 0.4), "{near:?}");
    }
    let tracked = bundled()
        .search_similar("please renew the staging TLS certificate")
        .unwrap();
    assert_eq!(tracked[0].task_id, 5);
    assert!(tracked[0].similarity >= 0.6);
}

#[test]
fn keywords_find_any_word_in_any_form_best_match_first() {
    let mut store = store(&[
        "Figures for Oslo",
        "Q3 figures for Berlin",
        "Call the dentist",
    ]);
    let hits = store.search_keywords("figure AND berlin").unwrap();
    let ids: Vec<_> = hits.iter().map(|hit| hit.task_id).collect();
    assert_eq!(ids, [2, 1]);
    assert_eq!(hits[0].match_type(), MatchType::Fts);
    assert!(hits[0].similarity > hits[1].similarity);
}

#[test]
fn scripts_without_spaces_and_texts_without_words_are_searched_too() {
    let mut store = store(&[
        "把合同发给柏林办公室",
        "Party 🎉 for Bo",
        "Zürich Öffnungszeiten",
    ]);
    assert_eq!(store.search_keywords("柏林").unwrap()[0].task_id, 1);
    assert_eq!(store.search_keywords("🎉").unwrap()[0].task_id, 2);
    assert_eq!(store.search_keywords("zurich").unwrap()[0].task_id, 3);
    assert_eq!(store.search_keywords("").unwrap(), []);
    assert_eq!(store.search_keywords("  ").unwrap(), []);
}

#[test]
fn hostile_queries_never_fail() {
    let mut store = bundled();
    let long = "lease AND ".repeat(10_000);
    for query in [
        "\"",
        "'",
        "\"\"\"",
        "a\"b",
        "x OR",
        "AND",
        "NOT NOT",
        "NEAR(a b, 5)",
        "words:x",
        "^a*",
        "(((",
        "-1",
        "{a b}: c",
        "a + b",
        "'; DROP TABLE tasks; --",
        "%",
        "_",
        "\0",
        "a\0b",
        "א\"ב",
        "👩‍👩‍👧",
        "\u{202e}x",
        "ﬁ",
        "１２３",
        "the of to",
        &long,
    ] {
        let found = store.search_keywords(query).unwrap();
        assert!(found.len() <= MOST_HITS, "{query}");
        let found = store.search_similar(query).unwrap();
        assert!(found.len() <= MOST_HITS, "{query}");
    }
    assert_eq!(store.count().unwrap(), 11);
}

#[test]
fn the_context_lists_what_matters_first_and_its_version_changes_with_the_tasks() {
    let mut store = bundled();
    let before = store.version().unwrap();
    let lease = "Send the signed lease to the Berlin office";
    let id = store.keep("one", &extracted(lease)).unwrap().unwrap();
    assert_ne!(store.version().unwrap(), before);
    let context = store.context().unwrap();
    assert_eq!(context.active_tasks[0].task_id, 5);
    let last = context.active_tasks.last().unwrap();
    assert_eq!(
        (last.task_id, last.staged, &*last.priority),
        (id, true, "high")
    );
    let ids = |tasks: &[HistoricalTask]| tasks.iter().map(|t| t.task_id).collect::<Vec<_>>();
    assert_eq!(ids(&context.completed_tasks), [8, 3, 2]);
    assert_eq!(ids(&context.deleted_tasks), [4, 1]);
    assert_eq!(context.goals.len(), 2);
    assert!(store.search_similar(LEASE).unwrap()[0].similarity >= 0.6);
}

#[test]
fn two_tasks_with_one_id_are_refused_and_unnumbered_ones_get_a_free_one() {
    let read = |json| Store::load(TaskFile::read(json).unwrap());
    let twice = r#"[{"id": 3, "description": "a"}, {"id": 3, "description": "b"}]"#;
    assert!(matches!(read(twice), Err(Error::SameId(3))));
    let mixed = r#"[{"description": "a"}, {"id": 1, "description": "b"}]"#;
    assert_eq!(read(mixed).unwrap().count().unwrap(), 2);
}

#[test]
fn a_frame_that_is_answered_twice_is_kept_once() {
    let mut store = bundled();
    let before = store.count().unwrap();
    let first = store
        .keep("one", &extracted("Call Bo about the signed lease"))
        .unwrap();
    assert!(first.is_some());
    let version = store.version().unwrap();
    let again = store
        .keep("one", &extracted("Call Bo about the signed lease"))
        .unwrap();
    assert_eq!(again, None);
    store.give_up("one", "INVALID_FRAME").unwrap();
    assert_eq!(store.count().unwrap(), before + 1);
    assert_eq!(
        store.version().unwrap(),
        version,
        "nothing to tell the server"
    );
}

#[test]
fn a_file_survives_reopening_with_tasks_index_and_answered_frames() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasks.db");
    {
        let mut store = Store::open(&path).unwrap();
        assert_eq!(store.count().unwrap(), 0);
        assert_eq!(store.frame_of("a.jpg 1 1", "f1").unwrap().unwrap(), "f1");
        assert_eq!(store.frame_of("b.jpg 1 1", "f2").unwrap().unwrap(), "f2");
        store
            .keep("f1", &extracted("Call Bo about the signed lease"))
            .unwrap();
        assert_eq!(store.search_keywords("\"lease").unwrap().len(), 1);
    }
    let mut store = Store::open(&path).unwrap();
    assert_eq!(store.count().unwrap(), 1);
    assert_eq!(store.search_keywords("lease*").unwrap()[0].task_id, 1);
    assert_eq!(store.frame_of("a.jpg 1 1", "f3").unwrap(), None, "answered");
    let kept = store.frame_of("b.jpg 1 1", "f4").unwrap();
    assert_eq!(kept.unwrap(), "f2", "the same frame as before");
    use std::os::unix::fs::PermissionsExt;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o77, 0, "others may read it");
    }
}

#[test]
fn what_another_program_writes_is_noticed_and_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasks.db");
    let mut store = Store::open(&path).unwrap();
    let before = store.version().unwrap();
    let other = Connection::open(&path).unwrap();
    let write = |sql: &str| other.execute(sql, []).unwrap();
    write("INSERT INTO tasks (description) VALUES ('Water the ficus 🌱 in the lobby')");
    assert_ne!(store.version().unwrap(), before);
    assert_eq!(store.search_keywords("ficus").unwrap().len(), 1);
    write("UPDATE tasks SET description = 'Water the fern', status = 'completed'");
    assert_eq!(store.search_keywords("ficus").unwrap(), []);
    let found = store.search_keywords("(fern OR").unwrap();
    assert_eq!(found[0].status(), TaskStatus::Completed);
    assert_eq!(store.context().unwrap().completed_tasks.len(), 1);
    write("DELETE FROM tasks");
    assert_eq!(store.search_keywords("fern").unwrap(), []);
    assert!(
        other
            .execute(
                "INSERT INTO tasks (description, status) VALUES ('x', 'done')",
                []
            )
            .is_err()
    );
}

#[test]
fn a_store_that_another_program_holds_is_opened_and_read_and_says_why_it_keeps_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasks.db");
    drop(Store::open(&path).unwrap());
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut store = Store::open(&path).unwrap();
    assert_eq!(store.count().unwrap(), 0);
    assert!(matches!(
        store.keep("one", &extracted("Call Bo about the signed lease")),
        Err(Error::Held)
    ));
    other.execute_batch("COMMIT").unwrap();
    let kept = store.keep("one", &extracted("Call Bo about the signed lease"));
    assert_eq!(kept.unwrap(), Some(1));
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let found = store.search_keywords("lease").unwrap();
    assert_eq!(found.len(), 1, "what this program keeps is indexed with it");
}

#[test]
fn a_file_of_something_else_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let told = || Store::open(&path).err().unwrap().to_string();
    let text = "not a database, but long enough to be taken for one ".repeat(20);
    std::fs::write(&path, &text).unwrap();
    assert!(told().contains("a file of something else"), "{}", told());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    std::fs::remove_file(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(told().contains("a file of something else"), "{}", told());
    std::fs::remove_file(&path).unwrap();
    drop(Store::open(&path).unwrap());
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 2).unwrap();
    assert!(
        told().contains("version 2, and this program knows 1"),
        "{}",
        told()
    );
    let missing = Store::open(&folder.path().join("no/such/place"))
        .err()
        .unwrap();
    assert!(missing.to_string().contains("No such file"), "{missing}");
}

#[test]
fn no_more_of_a_description_leaves_than_anybody_reads() {
    let mut store = bundled();
    let long = format!("lease {}", "x".repeat(50_000));
    store.keep("one", &extracted(&long)).unwrap();
    let found = store.search_keywords("lease").unwrap();
    let longest = found
        .iter()
        .map(|hit| hit.description.chars().count())
        .max();
    assert_eq!(longest, Some(MOST_TOLD));
}

#[test]
fn odd_texts_are_kept_and_found_in_a_file_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("tasks.db")).unwrap();
    let titles = [
        "Reply to \"Müller & Söhne\" AND sign O'Brien's offer; DROP TABLE tasks",
        "把合同发给柏林办公室",
        "Book 🎂 for Zoë NOT Chloë",
    ];
    for (nth, title) in titles.iter().enumerate() {
        store.keep(&nth.to_string(), &extracted(title)).unwrap();
    }
    for (query, wanted) in [
        ("\"Müller\" OR", 1),
        ("o'brien's -offer*", 1),
        ("NEAR(muller sohne)", 1),
        ("柏林", 2),
        ("🎂", 3),
        ("zoe:", 3),
    ] {
        let found = store.search_keywords(query).unwrap();
        assert_eq!(
            found.first().map(|hit| hit.task_id),
            Some(wanted),
            "{query}"
        );
        assert_eq!(found[0].description, titles[wanted as usize - 1]);
    }
    assert_eq!(store.count().unwrap(), 3);
}

#[test]
fn a_description_that_is_no_utf_8_spoils_no_search() {
    let mut store = store(&["Send the signed lease to Berlin"]);
    let latin_1 =
        "INSERT INTO tasks (description) VALUES (CAST(x'47726FDF6520526563686E756E67' AS TEXT))";
    store.db.execute(latin_1, []).unwrap();
    assert_eq!(store.search_keywords("lease").unwrap().len(), 1);
    let hits = store.search_keywords("Rechnung").unwrap();
    assert_eq!(hits[0].description, "Gro\u{fffd}e Rechnung");
    assert!(!store.search_similar("the signed lease").unwrap().is_empty());
}

#[test]
fn the_same_task_of_two_frames_is_kept_once() {
    let mut store = store(&["Order badges"]);
    let first = store.keep("one", &extracted("Send the lease")).unwrap();
    let second = store.keep("two", &extracted("send the Lease")).unwrap();
    assert_eq!((first, second), (Some(2), Some(2)));
    assert_eq!(store.search_keywords("lease").unwrap().len(), 1);
}
