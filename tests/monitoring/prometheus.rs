//! Prometheus itself, with what it would have scraped of pods.

use std::fmt::Write;
use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::PATIENCE;
use crate::support::tools::{passed, prometheus, promtool};

/// What it scrapes every so many seconds.
const STEP: u64 = 30;
/// Each page is scraped for ten minutes.
const SCRAPES: u64 = 20;
/// When the first page is scraped, in Unix seconds: any time does.
const START: u64 = 1_700_000_000;

/// A Prometheus with a history.
pub(crate) struct Prometheus {
    url: String,
    _process: Child,
    _reading: JoinSet<()>,
    _folder: TempDir,
}

/// What the operator's ServiceMonitor makes of a pod.
const PODS: [&str; 2] = [
    r#"job="proactive",namespace="proactive",pod="one",instance="10.0.0.1:9464""#,
    r#"job="proactive",namespace="proactive",pod="two",instance="10.0.0.2:9464""#,
];

/// A line of a page, as scraped of this pod at this time.
fn scraped(line: &str, pod: &str, time: u64) -> String {
    // Behind it may stand an exemplar.
    let line = line.split(" # ").next().unwrap();
    let (series, value) = line.rsplit_once(' ').unwrap();
    let series = match series.split_once('{') {
        Some((name, labels)) => format!("{name}{{{pod},{labels}"),
        None => format!("{series}{{{pod}}}"),
    };
    format!("{series} {value} {time}\n")
}

impl Prometheus {
    /// Two pods showed these pages, one after the other; `None` if a program is
    /// missing.
    pub(crate) async fn with(pages: [&str; 2]) -> Option<Self> {
        let (prometheus, promtool) = (prometheus()?, promtool()?);
        let folder = tempfile::tempdir().unwrap();
        let mut history = String::new();
        for (page, start) in pages.iter().zip([START, START + SCRAPES * STEP]) {
            for line in page.lines().filter(|line| !line.starts_with('#')) {
                for (pod, scrape) in PODS
                    .iter()
                    .flat_map(|pod| (0..SCRAPES).map(move |n| (pod, n)))
                {
                    history += &scraped(line, pod, start + scrape * STEP);
                }
            }
        }
        history += "# EOF\n";
        let [file, config] = ["history", "config.yaml"].map(|name| folder.path().join(name));
        fs::write(&file, history).unwrap();
        fs::write(&config, "").unwrap();
        let data = folder.path().join("data");
        let mut importing = Command::new(promtool);
        importing
            .args(["tsdb", "create-blocks-from", "openmetrics", "--quiet"])
            .args([&file, &data]);
        passed(&importing.output().unwrap());

        let mut process = tokio::process::Command::new(prometheus)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let mut url = None;
        let ready = async {
            while let Some(line) = log.next_line().await.unwrap() {
                if let Some((_, address)) = line.split_once("\"Listening on\" address=") {
                    url = Some(format!("http://{}", address.trim()));
                }
                writeln!(said, "{line}").unwrap();
                if line.contains("Server is ready to receive web requests") {
                    return;
                }
            }
        };
        timeout(PATIENCE, ready).await.unwrap();
        // Read on: a pipe that is full would hold it up.
        let mut reading = JoinSet::new();
        reading.spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Some(Self {
            url: url.unwrap_or_else(|| panic!("it listens nowhere:\n{said}")),
            _process: process,
            _reading: reading,
            _folder: folder,
        })
    }

    /// What a graph of the whole time shows: series with `metric` and `values`.
    pub(crate) async fn graph(&self, query: &str) -> Vec<Value> {
        let end = START + (2 * SCRAPES - 1) * STEP;
        let range = format!("start={START}&end={end}&step={STEP}");
        self.ask("query_range", &format!("query={}&{range}", encoded(query)))
            .await["result"]
            .as_array()
            .unwrap()
            .clone()
    }

    /// The series that a selector finds.
    pub(crate) async fn series(&self, selector: &str) -> Vec<Value> {
        let (end, selector) = (START + 2 * SCRAPES * STEP, encoded(selector));
        let how = format!("start={START}&end={end}&match[]={selector}");
        let found = self.ask("series", &how).await;
        found.as_array().unwrap().clone()
    }

    async fn ask(&self, what: &str, how: &str) -> Value {
        let url = format!("{}/api/v1/{what}?{how}", self.url);
        let answer = reqwest::get(url).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(answer["status"], "success", "{how}: {answer}");
        answer["data"].clone()
    }
}

fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        write!(encoded, "%{byte:02X}").unwrap();
    }
    encoded
}
