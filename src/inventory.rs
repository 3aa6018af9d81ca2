//! `proactive tools`: which tools there are, and who could execute them now.

use std::fmt::Write;
use std::time::Duration;

use crate::app;
use crate::config::{Mistakes, Settings};
use crate::tools::{Entry, Router};

const PATIENCE: Duration = Duration::from_secs(5);

/// Whose tools are listed. What it is for, the program says where it lists it.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The operators' address of the server that is asked.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9464")]
    admin: String,
    /// Asks no server: the tools that are declared, those of TOOLS_FILE included.
    #[arg(long, conflicts_with = "admin")]
    declared: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// The tools cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Start the server, or name its address.
    #[error(
        "no server tells its tools at {0}: start one, name its ADMIN_PORT with --admin, or list \
         what is declared with --declared"
    )]
    NoServer(String),
    /// Correct the settings.
    #[error("{}", .0.0.join("\n"))]
    Settings(#[from] Mistakes),
}

impl Args {
    /// The page that is to be printed.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn page(self) -> Result<String, Error> {
        let tools = match self.declared {
            true => declared()?,
            false => asked(&self.admin).await?,
        };
        Ok(match self.json {
            true => serde_json::to_string_pretty(&tools).unwrap_or_default() + "\n",
            false => table(&tools, !self.declared),
        })
    }
}

fn declared() -> Result<Vec<Entry>, Error> {
    let config = Settings::from_environment()?.embedded().check()?;
    Ok(Router::new(config.catalogue, config.routing, None).inventory())
}

async fn asked(admin: &str) -> Result<Vec<Entry>, Error> {
    let url = format!("{}/tools", admin.trim_end_matches('/'));
    let no_server = |_| Error::NoServer(admin.to_owned());
    let client = app::http_client(&url).map_err(no_server)?;
    let answer = client.get(&url).timeout(PATIENCE).send().await;
    let answer = answer.and_then(reqwest::Response::error_for_status);
    let body = answer
        .map_err(no_server)?
        .bytes()
        .await
        .map_err(no_server)?;
    serde_json::from_slice(&body).map_err(|_| Error::NoServer(admin.to_owned()))
}

fn table(tools: &[Entry], is_live: bool) -> String {
    let longest = tools.iter().map(|tool| tool.name.len()).max();
    let width = longest.unwrap_or_default().max("tool".len());
    let mut page = format!("{:width$}  {:14}  now\n", "tool", "executed by");
    for tool in tools {
        let by = match &tool.executors[..] {
            [] => "ends a frame".to_owned(),
            executors => executors.join(", "),
        };
        let now = match (&tool.executors[..], is_live) {
            ([], _) => String::new(),
            (_, false) => "(no server was asked)".to_owned(),
            (_, true) => who(tool),
        };
        let line = format!("{:width$}  {by:14}  {now}", tool.name);
        let _ = writeln!(page, "{}", line.trim_end());
    }
    page
}

fn who(tool: &Entry) -> String {
    let is_executed_by = |who: &str| tool.executors.iter().any(|executor| executor == who);
    let mut parts = Vec::new();
    if is_executed_by("client") {
        parts.push(counted(tool.devices, "device"));
    }
    if tool.offered == "without_device" {
        parts.push("the server itself".to_owned());
    } else if is_executed_by("server") {
        parts.push(counted(tool.workers, "worker"));
    }
    if tool.of_workers {
        parts.push("declared by workers alone".to_owned());
    }
    parts.join(", ")
}

fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}"),
        1 => format!("1 {what}"),
        many => format!("{many} {what}s"),
    }
}
