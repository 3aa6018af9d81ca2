//! The effective configuration as text, secrets masked.

use std::fmt::{Display, Write};
use std::time::Duration;

use secrecy::SecretString;

use super::check::{given, secret};
use super::{Config, Settings};
use crate::gemini::Access;

const SET: &str = "******** (set)";
const NOT_SET: &str = "not set";

impl Config {
    /// One `NAME=value` a line, as the service will use it. `settings` are those it
    /// was made of.
    pub fn show(&self, settings: &Settings) -> String {
        let Self {
            grpc,
            http,
            max_connections,
            admin,
            gemini,
            auth,
            session,
            limits,
            analysis,
            events,
            jobs,
            catalogue,
            routing,
            // No setting reaches them.
            workers: _,
            service_tokens,
            local_workers,
            drain_grace,
        } = self;
        let mut page = String::new();
        let mut line = |name: &str, value: &dyn Display| {
            let _ = writeln!(page, "{name}={value}");
        };
        let span = |span: Duration| humantime::format_duration(span).to_string();
        line("BIND_ADDRESS", &grpc.address.ip());
        line("GRPC_PORT", &grpc.address.port());
        line("HTTP_PORT", &http.address.port());
        let origins = http.origins.to_string();
        let origins = match &*origins {
            "" => "not set: pages of this host alone",
            origins => origins,
        };
        line("HTTP_ALLOWED_ORIGINS", &origins);
        line("ADMIN_PORT", &admin.port());
        let tls = match grpc.tls {
            Some(_) => SET,
            None => "not set: plaintext, for a balancer that ends TLS",
        };
        line("TLS_CERT_FILE", &tls);
        line("TLS_KEY_FILE", &tls);
        line("GEMINI_API_KEY", &masked(&settings.gemini_api_key));
        line("GOOGLE_API_KEY", &masked(&settings.google_api_key));
        line("GEMINI_MODEL", &gemini.model);
        let fallback = gemini.fallback.as_deref();
        line("GEMINI_FALLBACK_MODEL", &fallback.unwrap_or(NOT_SET));
        let unused = "not used: Vertex AI is asked";
        let no_vertex = "not used: the Gemini API is asked";
        let project = given(&settings.google_cloud_project).unwrap_or(NOT_SET);
        line("GOOGLE_CLOUD_PROJECT", &project);
        match &gemini.access {
            Access::Key(_) => {
                line("GOOGLE_GEMINI_BASE_URL", &gemini.base_url);
                line("GOOGLE_GENAI_USE_VERTEXAI", &"false");
                for name in [
                    "GOOGLE_CLOUD_LOCATION",
                    "GOOGLE_VERTEX_BASE_URL",
                    "GOOGLE_APPLICATION_CREDENTIALS",
                    "GCE_METADATA_HOST",
                ] {
                    line(name, &no_vertex);
                }
            }
            Access::Vertex(vertex) => {
                line("GOOGLE_GEMINI_BASE_URL", &unused);
                line("GOOGLE_GENAI_USE_VERTEXAI", &"true");
                line("GOOGLE_CLOUD_LOCATION", &vertex.location);
                line("GOOGLE_VERTEX_BASE_URL", &gemini.base_url);
                line(
                    "GOOGLE_APPLICATION_CREDENTIALS",
                    &match given(&settings.google_application_credentials) {
                        Some(path) => format!("{path} ({})", vertex.credentials),
                        None => format!("not set: {}", vertex.credentials),
                    },
                );
                let host = given(&settings.gce_metadata_host);
                line("GCE_METADATA_HOST", &host.unwrap_or(NOT_SET));
            }
        }
        line("GEMINI_API_VERSION", &gemini.version);
        line(
            "GEMINI_THINKING_LEVEL",
            &gemini.thinking.map_or("default", |level| level.as_str()),
        );
        line("GEMINI_MEDIA_RESOLUTION", &gemini.media_resolution.as_str());
        line("GEMINI_MAX_OUTPUT_TOKENS", &gemini.max_output_tokens);
        line("GEMINI_PRICES", &gemini.prices);
        line("MODEL_TIMEOUT", &span(gemini.call_timeout));
        line("MODEL_CALLS_AT_ONCE", &gemini.calls_at_once);
        line("MODEL_CIRCUIT_FAILURES", &gemini.circuit.failures);
        line("MODEL_CIRCUIT_WINDOW", &span(gemini.circuit.window));
        line("MODEL_CIRCUIT_OPEN", &span(gemini.circuit.open));
        line("TOOL_TIMEOUT", &span(analysis.tool_timeout));
        line("FRAME_TIMEOUT", &span(analysis.frame_timeout));
        line("MAX_MODEL_ITERATIONS", &analysis.max_iterations);
        line("FRAMES_PER_SESSION", &session.frames_at_once);
        line("HEARTBEAT_INTERVAL", &span(session.heartbeat_interval));
        line("SLOW_CLIENT_TIMEOUT", &span(session.slow_client_limit));
        line("HELLO_TIMEOUT", &span(session.hello_timeout));
        line("STREAM_MAX_AGE", &span(session.max_age));
        line("TOKEN_LEEWAY", &span(session.token_leeway));
        line("RESUME_GRACE", &span(session.resume_grace));
        line("MAX_SESSIONS_PER_USER", &limits.sessions_per_user);
        line("FRAMES_PER_MINUTE", &limits.frames_per_minute);
        line("MAX_BYTES_IN_FLIGHT_PER_USER", &size(limits.bytes_per_user));
        line("MAX_SESSIONS", &limits.sessions);
        line("MEMORY_CEILING", &size(limits.bytes));
        line("MAX_CONNECTIONS", max_connections);
        line("MAX_JOBS_PER_USER", &jobs.per_user);
        line("MAX_JOBS", &jobs.at_all);
        line("JOB_DESKTOP_WAIT", &span(jobs.desktop_wait));
        line("LOG_NO_TASK_FOUND", &session.log_no_task);
        let work = &settings.work;
        line(
            "SERVICE_TOKENS",
            &match service_tokens.len() {
                0 => "not set: no messages are taken".to_owned(),
                count => format!("******** ({count} valid, those of the file included)"),
            },
        );
        let file = given(&work.service_tokens_file);
        line("SERVICE_TOKENS_FILE", &file.unwrap_or(NOT_SET));
        let tools = &settings.tools;
        let own = given(&tools.tools_file);
        let count = catalogue.tools().len();
        line(
            "TOOLS_FILE",
            &match own {
                Some(path) => format!("{path} ({count} tools with the built-in ones)"),
                None => format!("not set: the {count} built-in tools"),
            },
        );
        line("DEVICE_GATEWAY", &routing.gateway);
        line("DEVICE_PERMISSION", &tools.device_permission.trim());
        line("TOOLS_ON_DESKTOP", &routing.modes.desktop);
        line("TOOLS_ON_WEB", &routing.modes.web);
        let commands = local_workers.commands.iter().map(ToString::to_string);
        let commands = commands.collect::<Vec<_>>().join("; ");
        let commands = Some(commands).filter(|commands| !commands.is_empty());
        line("LOCAL_WORKERS", &commands.as_deref().unwrap_or(NOT_SET));
        line("DRAIN_GRACE", &span(*drain_grace));
        line("DRAIN_SPREAD", &span(session.drain_spread));
        match &events.folder {
            Some(folder) => line("DATA_DIR", &folder.display()),
            None => line("DATA_DIR", &"not set: logs are in memory"),
        }
        line("LOG_RETENTION", &span(events.age));
        line("LOG_ENTRIES_PER_USER", &events.entries_per_user);
        line("LOG_MEMORY", &size(events.memory));
        line("FIREBASE_PROJECT_ID", &auth.project_id);
        line(
            "SERVICE_ACCOUNT_JSON",
            &masked(&settings.service_account_json),
        );
        line(
            "FIREBASE_AUTH_EMULATOR_HOST",
            &if auth.emulator {
                "set: UNSIGNED TOKENS ARE ACCEPTED"
            } else {
                NOT_SET
            },
        );
        line("FIREBASE_KEYS_URL", &without_query(&auth.keys_url));
        line("TOKEN_CLOCK_SKEW", &span(auth.clock_skew));
        line("FIREBASE_KEYS_MAX_STALE", &span(auth.max_stale));
        page
    }
}

/// In the largest unit that leaves nothing over.
fn size(bytes: usize) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = units
        .iter()
        .find(|(bits, _)| bytes.is_multiple_of(1 << bits));
    whole.map_or(format!("{bytes}B"), |(bits, unit)| {
        format!("{}{unit}", bytes >> bits)
    })
}

/// A key, or the signature of a signed URL, stands in the query.
pub(super) fn without_query(url: &str) -> String {
    match url.split_once('?') {
        Some((url, _)) => format!("{url}?********"),
        None => url.to_owned(),
    }
}

fn masked(value: &Option<SecretString>) -> &'static str {
    secret(value).map_or(NOT_SET, |_| SET)
}
