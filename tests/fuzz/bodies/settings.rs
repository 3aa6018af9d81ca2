//! Settings of any text into a configuration. Each piece is `NAME=value`; the
//! value of a setting that names a file is that file's content.

use std::cell::OnceCell;
use std::fs;
use std::sync::LazyLock;

use proactive::config::{Mistakes, Settings};
use tempfile::TempDir;

use super::pieces;

static DEFAULTS: LazyLock<Settings> = LazyLock::new(|| {
    // A service account's key is looked at by rustls.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Settings::defaults()
});

thread_local! {
    static SCRATCH: OnceCell<TempDir> = const { OnceCell::new() };
}

pub(crate) fn run(data: &[u8]) {
    let mut settings = DEFAULTS.clone();
    let mut given = Vec::new();
    for piece in pieces(data, 40) {
        let piece = String::from_utf8_lossy(piece);
        if let Some((name, value)) = piece.split_once('=') {
            set(&mut settings, name, value);
            given.push((name.to_owned(), value.to_owned()));
        }
    }
    let said = match settings.check() {
        Ok(config) => {
            let page = config.show(&settings);
            assert!(page.lines().count() > 20, "{page}");
            page + &config.warnings().join("\n")
        }
        Err(Mistakes(wrong)) => {
            assert!(!wrong.is_empty());
            for mistake in &wrong {
                let names = mistake.split(": ").next().unwrap_or_default();
                let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
                let is_known = |name: &str| !name.is_empty() && name.chars().all(is_name);
                assert!(names.split(" and ").all(is_known), "{mistake}");
            }
            wrong.join("\n")
        }
    };
    // A key that nothing else repeats is told nowhere.
    for (name, key) in &given {
        let secret = matches!(&**name, "GEMINI_API_KEY" | "GOOGLE_API_KEY");
        let key = key.trim();
        let others = given.iter().filter(|(other, _)| other != name);
        let alone = !others.into_iter().any(|(_, value)| value.contains(key));
        if secret && key.starts_with("AIza") && key.len() >= 12 && alone {
            assert!(!said.contains(key), "{name} is told");
        }
    }
}

/// The path of a file with that content.
fn file(name: &str, content: &str) -> String {
    SCRATCH.with(|scratch| {
        let folder = scratch.get_or_init(|| TempDir::new().expect("a scratch folder"));
        let path = folder.path().join(name);
        fs::write(&path, content).expect("a scratch file");
        path.to_str().expect("a plain path").to_owned()
    })
}

fn set(settings: &mut Settings, name: &str, value: &str) {
    let text = || value.to_owned();
    match name {
        "GEMINI_API_KEY" => settings.gemini_api_key = Some(value.into()),
        "GOOGLE_API_KEY" => settings.google_api_key = Some(value.into()),
        "GEMINI_MODEL" => settings.gemini_model = text(),
        "GOOGLE_GEMINI_BASE_URL" => settings.google_gemini_base_url = text(),
        "GEMINI_API_VERSION" => settings.gemini_api_version = Some(text()),
        "GEMINI_THINKING_LEVEL" => settings.gemini_thinking_level = text(),
        "GEMINI_MEDIA_RESOLUTION" => settings.gemini_media_resolution = text(),
        "GEMINI_MAX_OUTPUT_TOKENS" => settings.gemini_max_output_tokens = text(),
        "GEMINI_PRICES" => settings.gemini_prices = text(),
        "GOOGLE_GENAI_USE_VERTEXAI" => settings.google_genai_use_vertexai = Some(text()),
        "GOOGLE_CLOUD_PROJECT" => settings.google_cloud_project = Some(text()),
        "GOOGLE_CLOUD_LOCATION" => settings.google_cloud_location = Some(text()),
        "GOOGLE_VERTEX_BASE_URL" => settings.google_vertex_base_url = Some(text()),
        "GOOGLE_APPLICATION_CREDENTIALS" => {
            settings.google_application_credentials = Some(file("credentials.json", value));
        }
        "GCE_METADATA_HOST" => settings.gce_metadata_host = Some(text()),
        "MODEL_TIMEOUT" => settings.model_timeout = text(),
        "TOOL_TIMEOUT" => settings.tool_timeout = text(),
        "FRAME_TIMEOUT" => settings.frame_timeout = text(),
        "MAX_MODEL_ITERATIONS" => settings.max_model_iterations = text(),
        "FRAMES_PER_SESSION" => settings.frames_per_session = text(),
        "HEARTBEAT_INTERVAL" => settings.heartbeat_interval = text(),
        "SLOW_CLIENT_TIMEOUT" => settings.slow_client_timeout = text(),
        "DRAIN_GRACE" => settings.drain_grace = text(),
        "DATA_DIR" => settings.events.data_dir = Some(text()),
        "LOG_RETENTION" => settings.events.log_retention = text(),
        "LOG_ENTRIES_PER_USER" => settings.events.log_entries_per_user = text(),
        "LOG_MEMORY" => settings.events.log_memory = text(),
        "FIREBASE_PROJECT_ID" => settings.firebase_project_id = Some(text()),
        "SERVICE_ACCOUNT_JSON" => settings.service_account_json = Some(value.into()),
        "FIREBASE_AUTH_EMULATOR_HOST" => settings.firebase_auth_emulator_host = Some(text()),
        "FIREBASE_KEYS_URL" => settings.firebase_keys_url = text(),
        "TOKEN_CLOCK_SKEW" => settings.token_clock_skew = text(),
        "FIREBASE_KEYS_MAX_STALE" => settings.firebase_keys_max_stale = text(),
        "BIND_ADDRESS" => settings.bind_address = Some(text()),
        "GRPC_PORT" => settings.grpc_port = text(),
        "HTTP_PORT" => settings.http_port = text(),
        "HTTP_ALLOWED_ORIGINS" => settings.http_allowed_origins = Some(text()),
        "ADMIN_PORT" => settings.admin_port = text(),
        "TLS_CERT_FILE" => settings.tls.tls_cert_file = Some(file("cert.pem", value)),
        "TLS_KEY_FILE" => settings.tls.tls_key_file = Some(file("key.pem", value)),
        _ => {}
    }
}
