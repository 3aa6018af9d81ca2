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
}

#[test]
fn a_worker_of_the_demo_that_cannot_be_run_is_told_before_anything_is_shown() {
    let ended = run(proactive(&["demo", "--worker", "/no/such/program"], &[]));
    assert_eq!(ended.code, Some(64), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("/no/such/program"),
        "{}",
        ended.stderr
    );
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
