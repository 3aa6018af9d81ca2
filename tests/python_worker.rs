//! The package for tools in Python, `workers/python`: its own tests, its types, its
//! style. Against the real server it is tested with the other workers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/tools.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "shared by test binaries that each use a part of it"
)]
mod tools;

use std::path::Path;
use std::process::{Command, Stdio};

use tools::{passed, python_with_worker};

/// What the package is tested in: one Python, where `.ci/setup` has installed it.
fn module(name: &str) -> Option<Command> {
    let mut command = Command::new(python_with_worker()?);
    command
        // No cache directories in the source tree.
        .args(["-B", "-m", name])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("workers/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // A worker's own settings are the tests' to make.
        .env_remove("PROACTIVE_ADDR")
        .env_remove("PROACTIVE_SERVICE_TOKEN")
        .env_remove("PROACTIVE_CA")
        .stdin(Stdio::null());
    Some(command)
}

#[test]
fn the_python_workers_own_tests_pass_and_its_stubs_are_those_of_the_contract() {
    let Some(mut pytest) = module("pytest") else {
        return;
    };
    let told = passed(&pytest.arg("--quiet").output().unwrap());
    let all = told.contains(" passed") && !told.contains("skipped");
    assert!(all, "{told}");
}

#[test]
fn the_python_workers_types_and_style_are_as_they_should_be() {
    let Some(mut mypy) = module("mypy") else {
        return;
    };
    passed(&mypy.args(["--cache-dir", "/dev/null"]).output().unwrap());
    for check in [
        &["check", "--no-cache"][..],
        &["format", "--check", "--no-cache"],
    ] {
        let mut ruff = module("ruff").unwrap();
        passed(&ruff.args(check).arg(".").output().unwrap());
    }
}
