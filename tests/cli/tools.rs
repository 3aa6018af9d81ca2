//! Tools as users and operators meet them: listed, executed by another desk of the user,
//! by a command, and by the Python worker.

use std::fs;

use serde_json::Value;

use crate::dev::Dev;
use crate::process::{Running, proactive, run};
use crate::support::tools::python_with_worker;

const REQUEST: &str = "Hi, can you send the Berlin office the signed lease before Tuesday?";

fn lines(output: &str) -> Vec<Value> {
    let lines = output.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_demo_lets_the_model_have_the_python_workers_date_resolver() {
    let Some(python) = python_with_worker() else {
        return;
    };
    let worker = format!("{} -m proactive_worker.examples.dates", python.display());
    let ended = run(proactive(&["demo", "--worker", &worker], &[]));
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let told = "Tools that workers executed: resolve_date (answered: 1).";
    assert!(ended.stdout.contains(told), "{}", ended.stdout);
    assert!(ended.stdout.contains("1 EXTRACT_TASK"), "{}", ended.stdout);
    // Between the first frame's searches and its decision.
    let asked = "     worker           resolve_date {\"phrase\":\"friday\"}\n";
    let places = [
        "1/3  new-request",
        asked,
        "-> {\"date\":\"",
        "<- EXTRACT_TASK",
        "2/3",
    ];
    let places = places.map(|text| ended.stdout.find(text));
    let in_order = places.iter().all(Option::is_some) && places.is_sorted();
    assert!(in_order, "{places:?} in {}", ended.stdout);

    // Where the server is replaced each has a worker, and both are waited for.
    let second = ["demo", "--deploy", "--json", "--worker", &worker];
    let ended = run(proactive(&second, &[]));
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let steps = lines(&ended.stdout);
    let place = |event| steps.iter().position(|step| step["event"] == event);
    assert!(place("worker_call") < place("outcome"), "{steps:?}");
    let call = &steps[place("worker_call").unwrap()];
    assert_eq!(call["frame_id"], "new-request");
    assert_eq!(call["tool_name"], "resolve_date");
    assert_eq!(call["arguments"]["phrase"], "friday");
    assert_eq!(
        (&call["status"], &call["error"]),
        (&"answered".into(), &"".into())
    );
    assert_eq!(call["result"]["weekday"], "Friday");

    let unused = ["demo", "--ocr", "fn main() {}", "--worker", &worker];
    let ended = run(proactive(&unused, &[]));
    let told = "Tools that workers executed: none (offered: resolve_date).";
    assert!(ended.stdout.contains(told), "{}", ended.stdout);
}

#[test]
fn a_worker_of_the_demo_that_cannot_be_run_is_told_before_anything_is_shown() {
    let told = "the command cannot be run: \"/no/such/program\" is no file";
    for (command, told) in [("/no/such/program", told), ("", "names no program")] {
        let ended = run(proactive(&["demo", "--worker", command], &[]));
        assert_eq!(ended.code, Some(64), "{}", ended.stderr);
        assert_eq!(ended.stderr, format!("proactive: --worker: {told}\n"));
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn a_worker_of_the_demo_that_ends_before_it_has_connected_ends_the_demo_with_its_last_words() {
    let words = "for i in 1 2 3 4 5 6 7 8 9 10 11; do echo word $i >&2; done; exit 3";
    let worker = format!("sh -c '{words}'");
    let ended = run(proactive(
        &["demo", "--worker", &worker],
        &[("PATH", "/bin:/usr/bin")],
    ));
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let told: Vec<_> = ended.stderr.lines().collect();
    let [how, words @ ..] = &told[..] else {
        panic!("nothing was told");
    };
    assert_eq!(
        *how,
        "proactive: --worker: it ended before it connected (exit status: 3)"
    );
    let expected: Vec<_> = (2..=11).map(|i| format!("proactive:   word {i}")).collect();
    assert_eq!(words, expected);
    assert_eq!(ended.stdout, "");
}

#[test]
fn tools_are_listed_with_who_executes_them_or_with_what_to_do() {
    let declared = run(proactive(&["tools", "--declared"], &[]));
    assert_eq!(declared.code, Some(0), "{}", declared.stderr);
    assert!(declared.stdout.contains("resolve_date     server"));
    let nobody = ["tools", "--admin", "127.0.0.1:1"];
    let nobody = run(proactive(&nobody, &[]));
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.stderr.contains("--declared"), "{}", nobody.stderr);
    assert!(
        nobody.stderr.contains("nobody answers"),
        "{}",
        nobody.stderr
    );
}

#[test]
fn tools_are_listed_by_the_operators_port_alone_and_another_is_told_from_none() {
    let server = Dev::start(&[]);
    let refused = run(proactive(&["tools", "--admin", server.address()], &[]));
    assert_eq!(refused.code, Some(1));
    let told = "answers at";
    assert!(refused.stderr.contains(told), "{}", refused.stderr);
    assert!(!refused.stderr.contains("nobody"), "{}", refused.stderr);
    let with_tls = server.admin().replace("http:", "https:");
    let refused = run(proactive(&["tools", "--admin", &with_tls], &[]));
    assert!(refused.stderr.contains("with TLS"), "{}", refused.stderr);
    let listed = ["tools", "--json", "--admin", server.admin()];
    let listed = run(proactive(&listed, &[])).stdout;
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let own = listed.iter().find(|tool| tool["name"] == "list_devices");
    let own = own.unwrap();
    assert_eq!(
        (&own["workers"], &own["by_server"]),
        (&0.into(), &true.into())
    );
}

#[test]
fn a_desk_is_told_of_tools_that_no_server_has_or_that_this_one_does_not_know() {
    let server = Dev::start(&[]);
    let token = format!("cat '{}'", server.token_file().display());
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("tasks.db").display().to_string();
    let desk = |executes: &str| {
        let address = [
            "desk",
            "--addr",
            server.address(),
            "--token-command",
            &token,
        ];
        let rest = ["--store", &store, "--ocr", "x", "--executes", executes];
        let environment = [("PATH", "/usr/bin:/bin")];
        run(proactive(&[&address[..], &rest].concat(), &environment))
    };
    for (executes, told) in [
        ("foo=", "foo= has no command"),
        ("a-b=cat", "\"a-b\" is no tool's name"),
    ] {
        let refused = desk(executes);
        assert_eq!(refused.code, Some(64), "{}", refused.stdout);
        assert!(refused.stderr.contains(told), "{}", refused.stderr);
    }
    let warned = lines(&desk("foo=cat").stdout);
    let warned = warned
        .iter()
        .find(|line| line["event"] == "warning")
        .unwrap();
    assert_eq!(warned["code"], "UNKNOWN_TOOL");
    assert!(
        warned["message"].as_str().unwrap().contains(": foo."),
        "{warned}"
    );
}

/// D4, D9: two desks of one user, of which one is a page in a browser.
#[test]
fn d04_a_web_sessions_call_runs_on_the_users_desktop() {
    let mut server = Dev::start(&[]);
    let token = format!("cat '{}'", server.token_file().display());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(path("shots")).unwrap();
    let address = server.address().to_owned();
    let common = [
        "desk",
        "--addr",
        &address,
        "--token-command",
        &token,
        "--store",
    ];
    let (laptop_store, web_store, shots) = (path("laptop.db"), path("web.db"), path("shots"));
    let environment = [("PATH", "/usr/bin:/bin")];
    let laptop = ["--watch", &shots, "--device-id", "laptop-of-ada"];
    let laptop = [&common[..], &[&laptop_store], &laptop].concat();
    let mut laptop = Running::start(proactive(&laptop, &environment));
    laptop.said("session_ready");
    // As much of its id as of a uid.
    let opened = server.logged("session opened");
    assert!(opened.contains("device.id=\"laptop-o\""), "{opened}");
    let host_port = server.admin().trim_start_matches("http://");
    let listed = ["tools", "--admin", host_port];
    let listed = run(proactive(&listed, &[]));
    let similar = listed
        .stdout
        .lines()
        .find(|line| line.starts_with("search_similar"));
    assert!(similar.unwrap().ends_with("1 device"), "{}", listed.stdout);
    let web = [&common[..], &[&web_store, "--web", "--ocr", REQUEST]].concat();
    let web = run(proactive(&web, &environment));
    assert_eq!(web.code, Some(0), "{}{}", web.stdout, web.stderr);
    let web = lines(&web.stdout);
    let asked = web.iter().any(|line| line["event"] == "tool_call_request");
    assert!(!asked, "{web:?}");
    assert!(
        web.iter().any(|line| line["outcome"] == "EXTRACT_TASK"),
        "{web:?}"
    );
    let asked = lines(&laptop.said("tool_call_request"));
    let asked = asked.last().unwrap();
    assert_eq!(asked["session_id"].as_str().unwrap().len(), 36);
    assert_eq!(asked["tool_kind"], "SEARCH_SIMILAR");
}
