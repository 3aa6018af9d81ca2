//! The page of `serve --dev`, in a real browser; and that no other server has one.
//! With PAGE_PICTURE=FILE the browser leaves a picture of it there: docs/dev-page.png
//! is one.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, Stdio};

use reqwest::{Response, Url};

use crate::process::{Running, proactive};
use crate::support::tools::{chromium, node_with, passed, variable};
use crate::support::{App, PATIENCE, TestApp};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A server to be tried, and the address that it printed for a browser.
fn serve(http_port: &str) -> (Running, Url) {
    let ports = [
        ("GRPC_PORT", "0"),
        ("HTTP_PORT", http_port),
        ("ADMIN_PORT", "0"),
    ];
    let mut server = Running::start(proactive(&["serve", "--dev"], &ports));
    let printed = server.said("/#token=");
    let address = printed.lines().last().unwrap().trim();
    (server, address.parse().unwrap())
}

/// Says a line to the browser's driver.
fn say(driver: &mut ChildStdin, line: &str) {
    writeln!(driver, "{line}").unwrap();
}

#[test]
fn in_a_browser_the_page_sees_a_frame_through_and_outlives_its_server() {
    let (Some(chromium), Some(mut node)) = (chromium(), node_with(&["playwright-core"])) else {
        return;
    };
    let (server, address) = serve("0");
    let port = address.port().unwrap().to_string();
    let inside = |path: &str| Path::new(ROOT).join(path);
    node.arg(inside("tests/node/dev_page.mjs"))
        .arg(address.as_str())
        .arg(chromium)
        .arg(inside("examples/frames/new-request.jpg"))
        .arg(inside("examples/frames/new-request.txt"))
        .args(variable("PAGE_PICTURE"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut driver = node.spawn().unwrap();
    let mut hear = driver.stdin.take().unwrap();
    let said = BufReader::new(driver.stdout.take().unwrap());
    let (mut server, mut said_all) = (Some(server), Vec::new());
    // Every wait of the driver ends.
    for line in said.lines() {
        let line = line.unwrap();
        match line.as_str() {
            "kill" => {
                // With SIGKILL.
                drop(server.take());
                say(&mut hear, "");
            }
            "start" => {
                let (next, address) = serve(&port);
                server = Some(next);
                say(&mut hear, address.as_str());
            }
            _ => {}
        }
        said_all.push(line);
    }
    passed(&driver.wait_with_output().unwrap());
    assert_eq!(said_all, ["kill", "start", "done"]);
}

#[tokio::test]
async fn the_page_runs_nothing_of_others_and_brings_no_token() {
    let (_server, address) = serve("0");
    let token = address.fragment().unwrap().strip_prefix("token=").unwrap();
    for (path, kind) in [
        ("/", "text/html"),
        ("/page.css", "text/css"),
        ("/page.js", "text/javascript"),
        ("/picture.js", "text/javascript"),
        ("/tasks.js", "text/javascript"),
    ] {
        let file = get(address.join(path).unwrap()).await;
        assert_eq!(file.status(), 200, "{path}");
        let header = |name: &str| file.headers()[name].to_str().unwrap();
        assert_eq!(header("content-type"), format!("{kind}; charset=utf-8"));
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
        let policy = header("content-security-policy");
        for rule in [
            "default-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(rule), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(!file.text().await.unwrap().contains(token));
    }
}

#[tokio::test]
async fn a_server_that_is_not_to_be_tried_has_no_page() {
    let app: App = TestApp::new().start().await;
    let base = format!("http://{}", app.service.server.http_addr());
    for path in ["", "/page.js"] {
        let answer = get(format!("{base}{path}").parse().unwrap()).await;
        assert_eq!(answer.status(), 404, "{path}");
    }
}

async fn get(url: Url) -> Response {
    let client = reqwest::Client::new();
    client.get(url).timeout(PATIENCE).send().await.unwrap()
}
