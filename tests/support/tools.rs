//! The programs of others that some tests run: where they are, and what happens
//! when they are missing. `.ci/setup` installs all of them.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

/// A Python that can import these modules: PROACTIVE_PYTHON, else `python3`.
pub fn python_with(modules: &str) -> Option<OsString> {
    find(
        "PROACTIVE_PYTHON",
        "python3",
        &["-c", &format!("import {modules}")],
    )
}

/// A Python that has the package in `workers/python`, and what its tests need:
/// PROACTIVE_WORKER_PYTHON, else `python3`.
pub fn python_with_worker() -> Option<OsString> {
    let modules = "grpc_tools, hypothesis, mypy, proactive_worker.examples.dates, pytest_asyncio";
    find(
        "PROACTIVE_WORKER_PYTHON",
        "python3",
        &["-c", &format!("import {modules}")],
    )
}

/// grpcurl: GRPCURL, else the one on the PATH.
pub fn grpcurl() -> Option<OsString> {
    find("GRPCURL", "grpcurl", &["-version"])
}

/// buf: BUF, else the one on the PATH.
pub fn buf() -> Option<OsString> {
    find("BUF", "buf", &["--version"])
}

/// Node with the packages that `.ci/setup` installs: PROACTIVE_NODE_PATH says
/// where, else it has them by itself.
pub fn node_with(packages: &[&str]) -> Option<Command> {
    let node = || {
        let mut node = Command::new("node");
        node.envs(variable("PROACTIVE_NODE_PATH").map(|path| ("NODE_PATH", path)));
        node
    };
    let tried = packages
        .iter()
        .map(|package| format!("require('{package}');"));
    let tried: String = tried.collect();
    let output = node().args(["-e", &tried]).output();
    if output.is_ok_and(|output| output.status.success()) {
        return Some(node());
    }
    skip(&format!(
        "`node` does not find {}: run .ci/setup, or name their folder in PROACTIVE_NODE_PATH",
        packages.join(" and ")
    ));
    None
}

/// Node with the WebSocket of browsers, which 20 has behind a flag.
pub fn node_with_websocket() -> Option<OsString> {
    let tried = "process.exit(typeof WebSocket === 'function' ? 0 : 1)";
    find("NODE", "node", &["--experimental-websocket", "-e", tried])
}

/// curl that can send JSON (7.82 or later): CURL, else the one on the PATH.
pub fn curl() -> Option<OsString> {
    find("CURL", "curl", &["--json", "{}", "--version"])
}

/// Prometheus' own judge: PROMTOOL, else the one on the PATH.
pub fn promtool() -> Option<OsString> {
    find("PROMTOOL", "promtool", &["--version"])
}

/// Prometheus: PROMETHEUS, else the one on the PATH.
pub fn prometheus() -> Option<OsString> {
    find("PROMETHEUS", "prometheus", &["--version"])
}

/// nginx: NGINX, else the one on the PATH.
pub fn nginx() -> Option<OsString> {
    find("NGINX", "nginx", &["-v"])
}

/// HAProxy: HAPROXY, else the one on the PATH.
pub fn haproxy() -> Option<OsString> {
    find("HAPROXY", "haproxy", &["-v"])
}

/// Chromium: CHROMIUM, else where the distribution puts it.
pub fn chromium() -> Option<OsString> {
    find("CHROMIUM", "/usr/bin/chromium", &["--version"])
}

/// Envoy: ENVOY, else the one on the PATH.
pub fn envoy() -> Option<OsString> {
    find("ENVOY", "envoy", &["--version"])
}

/// Helm 3 and Helm 4: HELM3 and HELM4.
pub fn helms() -> Option<[OsString; 2]> {
    let helm = |name| find(name, "helm", &["version"]);
    Some([helm("HELM3")?, helm("HELM4")?])
}

/// kubernetes-validate: KUBERNETES_VALIDATE, else the one on the PATH.
pub fn kubernetes_validate() -> Option<OsString> {
    find("KUBERNETES_VALIDATE", "kubernetes-validate", &["--version"])
}

/// checkov: CHECKOV, else the one on the PATH.
pub fn checkov() -> Option<OsString> {
    find("CHECKOV", "checkov", &["--version"])
}

/// hadolint: HADOLINT, else the one on the PATH.
pub fn hadolint() -> Option<OsString> {
    find("HADOLINT", "hadolint", &["--version"])
}

/// A Python that reads YAML: DEPLOY_PYTHON, else `python3`.
pub fn python_with_yaml() -> Option<OsString> {
    find("DEPLOY_PYTHON", "python3", &["-c", "import yaml"])
}

/// The program that the variable names, else that name on the PATH, if it runs
/// with these arguments.
fn find(name: &str, usual: &str, tried: &[&str]) -> Option<OsString> {
    let program = variable(name).unwrap_or_else(|| usual.into());
    let output = Command::new(&program).args(tried).output();
    if output.is_ok_and(|output| output.status.success()) {
        return Some(program);
    }
    let tried = tried.join(" ");
    skip(&format!(
        "`{} {tried}` fails: run .ci/setup, or name the right program in {name}",
        program.display()
    ));
    None
}

/// Says that part of a test is left out; in CI nothing is.
pub fn skip(reason: &str) {
    let in_ci = variable("CI").is_some_and(|ci| ci == "true");
    assert!(!in_ci, "{reason}");
    // Past the test runner, which shows nothing that a passing test prints.
    let told = format!("\n*** SKIPPED: {reason} ***\n");
    std::io::stderr().write_all(told.as_bytes()).unwrap();
}

/// One of `tests/python`, to be run by that Python.
pub fn script(python: &OsStr, name: &str) -> Command {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let mut command = Command::new(python);
    // No cache directories in the source tree.
    command.arg("-B").arg(scripts.join(name));
    command
}

/// Fails with what the program said unless it succeeded; else its output.
pub fn passed(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// A variable that says something.
#[expect(
    clippy::disallowed_methods,
    reason = "the config is the product's; this names a tool of the tests"
)]
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
