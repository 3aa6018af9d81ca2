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
    /// The operators' address of the server that is asked; a URL where it is behind a
    /// proxy.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9464")]
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
        "nobody answers at {admin}{how}: start a server, name its ADMIN_PORT with --admin, or list what \
         is declared with --declared"
    )]
    NoServer {
        /// Where it was looked for.
        admin: String,
        /// With TLS, perhaps.
        how: &'static str,
    },
    /// Name the right port, or the right scheme.
    #[error(
        "whoever answers at {0} tells no tools: with --admin name the server's ADMIN_PORT, \
         which speaks plain HTTP (9464, if it was not set), or list what is declared with \
         --declared"
    )]
    NoTools(String),
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
    let scheme = match admin.contains("://") {
        true => "",
        false => "http://",
    };
    let url = format!("{scheme}{}/tools", admin.trim_end_matches('/'));
    let body = match fetched(&url).await {
        Ok(body) => body,
        Err(error) if error.is_connect() || error.is_builder() => {
            let admin = admin.to_owned();
            let how = match url.starts_with("https:") {
                _ if error.is_builder() => ", which is no address",
                true => " with TLS, which ADMIN_PORT has not",
                false => "",
            };
            return Err(Error::NoServer { admin, how });
        }
        Err(_) => return Err(Error::NoTools(admin.to_owned())),
    };
    serde_json::from_slice(&body).map_err(|_| Error::NoTools(admin.to_owned()))
}

async fn fetched(url: &str) -> reqwest::Result<bytes::Bytes> {
    let client = app::http_client(url)?;
    let answer = client.get(url).timeout(PATIENCE).send().await?;
    answer.error_for_status()?.bytes().await
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
    if tool.by_server {
        parts.push("the server itself".to_owned());
    } else if is_executed_by("server") {
        parts.push(counted(tool.workers, "worker"));
    }
    if tool.of_workers {
        parts.push("not in TOOLS_FILE".to_owned());
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
