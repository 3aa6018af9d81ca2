//! The configuration: every setting with its variable, unit and default, checked
//! as a whole before anything binds. The only part that reads the environment.

mod check;
mod events;
mod limits;
mod local_workers;
mod machine;
mod model;
mod project;
mod settings;
mod show;
mod sources;
mod tls;
mod tools;
mod traces;
mod work;

use std::fmt;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::time::Duration;

use crate::telemetry::{EnvFilter, LogFormat};
use crate::tools::workers;
use crate::transport::{grpc, http};
use crate::{analysis, auth, gemini, jobs, session};

pub use events::EventSettings;
pub use local_workers::{LocalWorkerSettings, worker_commands};
pub use settings::Settings;
pub use tls::TlsSettings;
pub use tools::ToolSettings;
pub use traces::TraceSettings;
pub use work::WorkSettings;

/// The exit code for a configuration that cannot be used (EX_USAGE).
pub const EXIT_USAGE: u8 = 64;

/// A configuration that was checked: each part's options.
#[derive(Clone, Debug)]
pub struct Config {
    /// The gRPC door.
    pub grpc: grpc::Options,
    /// The HTTP door.
    pub http: http::Options,
    /// Connections to both doors at once; more are closed as they come.
    pub max_connections: usize,
    /// Where operators look; port 0 means any free one.
    pub admin: SocketAddr,
    /// The model.
    pub gemini: gemini::Options,
    /// Tokens.
    pub auth: auth::Options,
    /// Each session.
    pub session: session::Options,
    /// Users, and everybody together.
    pub limits: session::Limits,
    /// Each frame.
    pub analysis: analysis::Options,
    /// Users' logs.
    pub events: crate::events::Options,
    /// What outlives its call.
    pub jobs: jobs::Options,
    /// The tools that are declared.
    pub catalogue: crate::tools::Catalogue,
    /// Who executes them where.
    pub routing: crate::tools::Settings,
    /// Workers that execute tools.
    pub workers: workers::Options,
    /// Who may send messages to users, and execute tools.
    pub service_tokens: auth::ServiceTokens,
    /// Programs that are started with the server.
    pub local_workers: crate::local_workers::Options,
    /// How long accepted frames may take to finish after the order to stop.
    pub drain_grace: Duration,
}

impl Config {
    /// What may be meant and is more likely a mistake, one sentence each. The log
    /// says the same at the start.
    pub fn warnings(&self) -> Vec<String> {
        self.gemini.warnings()
    }
}

/// Everything that is wrong with a configuration, one sentence each, told by
/// the variable's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

#[cfg(test)]
impl Settings {
    /// What is wrong with them; nothing, if they make a configuration.
    fn mistakes(&self) -> Mistakes {
        let checked = self.check();
        checked.err().unwrap_or_else(|| Mistakes(vec![]))
    }
}

#[cfg(test)]
impl Mistakes {
    /// The variables they are told by, in order of the alphabet.
    fn names(&self) -> Vec<&str> {
        let names = self.0.iter().filter_map(|told| told.split(": ").next());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names
    }
}

/// How this process logs.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Log")]
pub struct LogSettings {
    /// What is logged: a level (error, warn, info, debug, trace), or directives
    /// such as "info,proactive::session=debug". Without it: info for servers,
    /// error for the demo and the desk.
    #[arg(long, env = "RUST_LOG", value_name = "FILTER")]
    rust_log: Option<String>,
    /// text for people, json for log collectors.
    #[arg(
        long,
        env = "LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    log_format: String,
    /// Any value: no colours.
    #[arg(
        long,
        env = "NO_COLOR",
        value_name = "ANY",
        num_args = 0..=1,
        default_missing_value = "1"
    )]
    no_color: Option<String>,
}

impl LogSettings {
    /// The format and filter; `usual` is the filter if none is set.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self, usual: &str) -> Result<(LogFormat, EnvFilter), Mistakes> {
        let format = self
            .log_format
            .parse()
            .map_err(|why| format!("LOG_FORMAT: {why}"));
        let filter = EnvFilter::try_new(self.filter().unwrap_or(usual)).map_err(|_| {
            "RUST_LOG: not a list of levels and directives such as \"info\"".to_owned()
        });
        match (format, filter) {
            (Ok(format), Ok(filter)) => Ok((format, filter)),
            (format, filter) => Err(Mistakes(
                [format.err(), filter.err()].into_iter().flatten().collect(),
            )),
        }
    }

    /// One `NAME=value` a line, as [`check`](Self::check) with the same `usual`
    /// takes them.
    pub fn show(&self, usual: &str) -> String {
        let filter = self.filter().unwrap_or(usual);
        let no_color = if self.is_colourless() {
            "set"
        } else {
            "not set"
        };
        let format = &self.log_format;
        format!("RUST_LOG={filter}\nLOG_FORMAT={format}\nNO_COLOR={no_color}\n")
    }

    /// The filter, if one is set.
    fn filter(&self) -> Option<&str> {
        let filter = self.rust_log.as_deref();
        filter.filter(|filter| !filter.trim().is_empty())
    }

    /// Whether colours may be written to this terminal.
    pub fn colour(&self, terminal: &impl IsTerminal) -> bool {
        !self.is_colourless() && terminal.is_terminal()
    }

    fn is_colourless(&self) -> bool {
        !self.no_color.as_deref().unwrap_or_default().is_empty()
    }
}
