//! The effective configuration as text, secrets masked.

use std::fmt::Write;
use std::time::Duration;

use super::Config;

impl Config {
    /// One `NAME=value` a line, as the service will use it.
    pub fn show(&self) -> String {
        let Self {
            grpc,
            admin,
            gemini,
            auth,
            session,
            analysis,
            drain_grace,
        } = self;
        let mut page = String::new();
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(page, "{name}={value}");
        };
        let span = |span: Duration| humantime::format_duration(span).to_string();
        line("BIND_ADDRESS", &grpc.address.ip());
        line("GRPC_PORT", &grpc.address.port());
        line("ADMIN_PORT", &admin.port());
        let tls = match grpc.tls {
            Some(_) => "******** (set)",
            None => "not set: plaintext, for a balancer that ends TLS",
        };
        line("TLS_CERT_FILE", &tls);
        line("TLS_KEY_FILE", &tls);
        line("GEMINI_API_KEY", &"******** (set)");
        line("GOOGLE_GENAI_USE_VERTEXAI", &"not set");
        line("GEMINI_MODEL", &gemini.model);
        line("GOOGLE_GEMINI_BASE_URL", &gemini.base_url);
        line("GEMINI_API_VERSION", &gemini.version);
        line(
            "GEMINI_THINKING_LEVEL",
            &gemini.thinking.map_or("default", |level| level.as_str()),
        );
        line("GEMINI_MEDIA_RESOLUTION", &gemini.media_resolution.as_str());
        line("GEMINI_MAX_OUTPUT_TOKENS", &gemini.max_output_tokens);
        line("GEMINI_PRICES", &gemini.prices);
        line("MODEL_TIMEOUT", &span(gemini.call_timeout));
        line("TOOL_TIMEOUT", &span(analysis.tool_timeout));
        line("FRAME_TIMEOUT", &span(analysis.frame_timeout));
        line("MAX_MODEL_ITERATIONS", &analysis.max_iterations);
        line("FRAMES_PER_SESSION", &session.frames_at_once);
        line("HEARTBEAT_INTERVAL", &span(session.heartbeat_interval));
        line("SLOW_CLIENT_TIMEOUT", &span(session.slow_client_limit));
        line("DRAIN_GRACE", &span(*drain_grace));
        line("FIREBASE_PROJECT_ID", &auth.project_id);
        line(
            "FIREBASE_AUTH_EMULATOR_HOST",
            &if auth.emulator {
                "set: UNSIGNED TOKENS ARE ACCEPTED"
            } else {
                "not set"
            },
        );
        // A signed URL has its signature in the query.
        let (keys_url, query) = match auth.keys_url.split_once('?') {
            Some((keys_url, _)) => (keys_url, "?********"),
            None => (auth.keys_url.as_str(), ""),
        };
        line("FIREBASE_KEYS_URL", &format!("{keys_url}{query}"));
        line("TOKEN_CLOCK_SKEW", &span(auth.clock_skew));
        line("FIREBASE_KEYS_MAX_STALE", &span(auth.max_stale));
        page
    }
}
