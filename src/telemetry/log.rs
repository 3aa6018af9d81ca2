//! The log: to standard error, filtered as `RUST_LOG` says. Panics are in it too.

use std::panic::{self, PanicHookInfo};
use std::str::FromStr;
use std::thread;

pub use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for log collectors.
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("write text or json"),
        }
    }
}

/// Starts the log of this process; a second call changes nothing. From then on
/// a panic is a line of the log.
pub fn init(format: LogFormat, filter: EnvFilter, colour: bool) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::NONE)
        .with_target(false)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.with_ansi(colour).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    match started {
        Ok(()) => panic::set_hook(Box::new(panicked)),
        Err(_) => tracing::debug!("the log was already started"),
    }
}

/// Says where, and never what: a panic's message can quote the text that it was
/// about.
fn panicked(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    tracing::error!(
        location = place.unwrap_or_default(),
        thread = thread::current().name().unwrap_or_default(),
        "a fault of the server: a task panicked; its message is not logged, it may quote a user's text"
    );
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const SCREEN: &str = "Åsa's private screen";

    /// The hook belongs to a whole process: this one is started by the test below.
    #[test]
    #[ignore = "needs a process of its own: the next test starts it there, and runs it"]
    fn the_process_that_panics() {
        init(LogFormat::Text, EnvFilter::new("info"), false);
        let thread = thread::Builder::new().name("analyst".to_owned());
        let fault = || SCREEN[..1].len();
        let fault = thread.spawn(fault).unwrap().join().unwrap_err();
        assert!(fault.downcast_ref::<String>().unwrap().contains(SCREEN));
    }

    #[test]
    fn a24_a_panic_is_logged_by_its_place_and_without_its_message() {
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["telemetry::log::tests::the_process_that_panics", "--exact"])
            .args(["--ignored", "--nocapture"])
            .output()
            .unwrap();
        let said = String::from_utf8(process.stderr).unwrap();
        assert!(process.status.success(), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("ERROR") && said.contains("log.rs:"), "{said}");
        assert!(
            said.contains("analyst") && !said.contains("private"),
            "{said}"
        );
    }
}
