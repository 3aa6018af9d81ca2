//! The log: to standard error, filtered as `RUST_LOG` says. Panics are in it too.

use std::error::Error;
use std::fmt;
use std::panic::{self, PanicHookInfo};
use std::str::FromStr;
use std::thread;

use tracing::field::{Field, Visit};
use tracing::{Level, Subscriber};
pub use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::{RecordFields, VisitOutput};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::{DefaultVisitor, FormatFields, Writer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, registry};

use super::Traces;

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

/// Starts the log of this process, and its traces if it has any; a second call
/// changes nothing. From then on a panic is a line of the log.
pub fn init(format: LogFormat, filter: EnvFilter, colour: bool, traces: Option<&Traces>) {
    let lines = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(colour).fmt_fields(ForPeople).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let started = match traces {
        None => registry().with(lines).with(filter).try_init(),
        // What is logged and what is traced are two questions.
        Some(traces) => registry()
            .with(lines.with_filter(filter))
            .with(spans(traces))
            .try_init(),
    };
    match started {
        Ok(()) => panic::set_hook(Box::new(panicked)),
        Err(_) => tracing::debug!("the log was already started"),
    }
}

/// As the default, but without what is said for traces alone.
struct ForPeople;

impl<'w> FormatFields<'w> for ForPeople {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = DefaultVisitor::new(writer, true);
        fields.record(&mut WithoutTraces(&mut line));
        line.finish()
    }
}

struct WithoutTraces<'a, 'w>(&'a mut DefaultVisitor<'w>);

impl Visit for WithoutTraces<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if !field.name().starts_with("otel.") {
            self.0.record_debug(field, value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if !field.name().starts_with("otel.") {
            self.0.record_str(field, value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.0.record_error(field, value);
    }
}

/// Our own spans, and what they have of INFO; with others' (HTTP's) a collector would
/// be told of itself.
fn spans<S>(traces: &Traces) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    tracing_opentelemetry::layer()
        .with_tracer(traces.tracer())
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(|what| {
            let crate_name = what.target().split("::").next();
            let is_told = what.is_span() || *what.level() <= Level::INFO;
            is_told && crate_name == Some(env!("CARGO_PKG_NAME"))
        }))
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
        init(LogFormat::Text, EnvFilter::new("info"), false, None);
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
