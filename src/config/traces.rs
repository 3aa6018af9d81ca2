//! Where this process's traces go.

use super::Mistakes;
use super::check::{given, url};
use super::show::without_query;
use crate::telemetry::TraceOptions;

/// Whether and where spans are exported. The SDK reads further variables of its
/// specification itself: `OTEL_EXPORTER_OTLP_HEADERS` and `…_TIMEOUT`,
/// `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER` and `…_ARG`, `OTEL_BSP_…`.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Traces")]
pub struct TraceSettings {
    /// The collector that spans are sent to, by OTLP over gRPC, such as
    /// http://localhost:4317; without it there are no traces. Of the others that
    /// OpenTelemetry specifies, OTEL_EXPORTER_OTLP_HEADERS and …_TIMEOUT,
    /// OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER and …_ARG, and OTEL_BSP_…
    /// are honoured.
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        hide_env_values = true,
        value_name = "URL"
    )]
    otel_exporter_otlp_endpoint: Option<String>,
    /// grpc is the one there is.
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_PROTOCOL",
        default_value = "grpc",
        value_name = "PROTOCOL"
    )]
    otel_exporter_otlp_protocol: String,
    /// What this service is called in traces.
    #[arg(
        long,
        env = "OTEL_SERVICE_NAME",
        default_value = "proactive",
        value_name = "NAME"
    )]
    otel_service_name: String,
    /// true: no traces, whatever else is set.
    #[arg(long, env = "OTEL_SDK_DISABLED", value_name = "BOOL")]
    otel_sdk_disabled: Option<String>,
}

impl TraceSettings {
    /// `None` if there are to be no traces.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self) -> Result<Option<TraceOptions>, Mistakes> {
        let Some(endpoint) = self.endpoint() else {
            return Ok(None);
        };
        let mut wrong = Vec::new();
        let endpoint = url(&mut wrong, "OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        // The one for gRPC is stricter: no blanks, for example.
        if wrong.is_empty() && endpoint.parse::<http::Uri>().is_err() {
            wrong.push("OTEL_EXPORTER_OTLP_ENDPOINT: has characters that no URI has".to_owned());
        }
        let protocol = self.otel_exporter_otlp_protocol.trim();
        if protocol != "grpc" {
            wrong.push(format!(
                "OTEL_EXPORTER_OTLP_PROTOCOL: \"{protocol}\" is not supported; use grpc, usually on the \
                 collector's port 4317"
            ));
        }
        let service = self.otel_service_name.trim().to_owned();
        match wrong.is_empty() {
            true => Ok(Some(TraceOptions { endpoint, service })),
            false => Err(Mistakes(wrong)),
        }
    }

    /// One `NAME=value` a line, as [`check`](Self::check) takes them.
    pub fn show(&self) -> String {
        let endpoint = self.endpoint().map(without_query);
        format!(
            "OTEL_EXPORTER_OTLP_ENDPOINT={}\nOTEL_EXPORTER_OTLP_PROTOCOL={}\nOTEL_SERVICE_NAME={}\nOTEL_SDK_DISABLED={}\n",
            endpoint.as_deref().unwrap_or("not set: no traces"),
            self.otel_exporter_otlp_protocol.trim(),
            self.otel_service_name.trim(),
            self.is_disabled(),
        )
    }

    fn is_disabled(&self) -> bool {
        given(&self.otel_sdk_disabled).is_some_and(|said| said.eq_ignore_ascii_case("true"))
    }

    fn endpoint(&self) -> Option<&str> {
        if self.is_disabled() {
            return None;
        }
        given(&self.otel_exporter_otlp_endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(endpoint: &str, protocol: &str, disabled: Option<&str>) -> TraceSettings {
        TraceSettings {
            otel_exporter_otlp_endpoint: Some(endpoint.to_owned()),
            otel_exporter_otlp_protocol: protocol.to_owned(),
            otel_service_name: "proactive".to_owned(),
            otel_sdk_disabled: disabled.map(str::to_owned),
        }
    }

    #[test]
    fn there_are_traces_if_a_collector_is_named_and_the_sdk_is_not_disabled() {
        let there = |endpoint, disabled| settings(endpoint, "grpc", disabled).check();
        let options = there("http://collector:4317", None).unwrap().unwrap();
        assert_eq!(options.endpoint, "http://collector:4317");
        assert_eq!(there(" ", None), Ok(None));
        assert_eq!(there("http://collector:4317", Some("True")), Ok(None));
    }

    #[test]
    fn mistakes_are_told_together_and_the_endpoint_is_not_repeated() {
        let wrong = settings("collector?key=s3cret", "http/protobuf", None).check();
        let Mistakes(wrong) = wrong.unwrap_err();
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(
            wrong[0].starts_with("OTEL_EXPORTER_OTLP_ENDPOINT: ") && !wrong[0].contains("s3cret")
        );
        assert!(wrong[1].contains("\"http/protobuf\" is not supported; use grpc"));
    }
}
