//! What `serve` makes of its environment before it does anything else.

use std::net::TcpListener;

use crate::process::{proactive, run};

const KEY: &str = "AIza-a-key-that-nobody-may-see";
const ACCOUNT: &str = r#"{"project_id": "from-account", "private_key": "MIIE-nobody-may-see"}"#;

/// Every setting and its default; empty if it has none.
const SETTINGS: &[(&str, &str)] = &[
    ("GEMINI_API_KEY", ""),
    ("GOOGLE_API_KEY", ""),
    ("GEMINI_MODEL", "gemini-3.5-flash-lite"),
    ("GEMINI_FALLBACK_MODEL", ""),
    (
        "GOOGLE_GEMINI_BASE_URL",
        "https://generativelanguage.googleapis.com",
    ),
    ("GEMINI_API_VERSION", ""),
    ("GOOGLE_GENAI_USE_VERTEXAI", ""),
    ("GOOGLE_CLOUD_LOCATION", ""),
    ("GOOGLE_VERTEX_BASE_URL", ""),
    ("GOOGLE_APPLICATION_CREDENTIALS", ""),
    ("GCE_METADATA_HOST", ""),
    ("GEMINI_THINKING_LEVEL", "default"),
    ("GEMINI_MEDIA_RESOLUTION", "medium"),
    ("GEMINI_MAX_OUTPUT_TOKENS", "4096"),
    (
        "GEMINI_PRICES",
        "gemini-3.5-flash-lite=0.30/2.50/0.03,gemini-3.8-flash=0.75/3.75/0.075",
    ),
    ("MODEL_TIMEOUT", "30s"),
    ("MODEL_CALLS_AT_ONCE", "400"),
    ("MODEL_CIRCUIT_FAILURES", "5"),
    ("MODEL_CIRCUIT_WINDOW", "60s"),
    ("MODEL_CIRCUIT_OPEN", "30s"),
    ("TOOL_TIMEOUT", "10s"),
    ("FRAME_TIMEOUT", "60s"),
    ("MAX_MODEL_ITERATIONS", "5"),
    ("FRAMES_PER_SESSION", "2"),
    ("HEARTBEAT_INTERVAL", "20s"),
    ("SLOW_CLIENT_TIMEOUT", "10s"),
    ("HELLO_TIMEOUT", "10s"),
    ("STREAM_MAX_AGE", "2h"),
    ("TOKEN_LEEWAY", "5m"),
    ("RESUME_GRACE", "30s"),
    ("MAX_SESSIONS_PER_USER", "20"),
    ("FRAMES_PER_MINUTE", "300"),
    ("MAX_BYTES_IN_FLIGHT_PER_USER", "32MiB"),
    ("MAX_SESSIONS", "10000"),
    ("MEMORY_CEILING", ""),
    ("MAX_CONNECTIONS", ""),
    ("DRAIN_GRACE", "25s"),
    ("DRAIN_SPREAD", "5s"),
    ("DATA_DIR", ""),
    ("LOG_RETENTION", "24h"),
    ("LOG_ENTRIES_PER_USER", "1000"),
    ("LOG_MEMORY", "64MiB"),
    ("FIREBASE_PROJECT_ID", ""),
    ("GOOGLE_CLOUD_PROJECT", ""),
    ("SERVICE_ACCOUNT_JSON", ""),
    ("FIREBASE_AUTH_EMULATOR_HOST", ""),
    (
        "FIREBASE_KEYS_URL",
        "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com",
    ),
    ("TOKEN_CLOCK_SKEW", "10s"),
    ("FIREBASE_KEYS_MAX_STALE", "6h"),
    ("BIND_ADDRESS", "0.0.0.0"),
    ("GRPC_PORT", "50051"),
    ("HTTP_PORT", "8080"),
    ("HTTP_ALLOWED_ORIGINS", ""),
    ("ADMIN_PORT", "9464"),
    ("TLS_CERT_FILE", ""),
    ("TLS_KEY_FILE", ""),
    ("RUST_LOG", ""),
    ("LOG_FORMAT", "text"),
    ("NO_COLOR", ""),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ("OTEL_SERVICE_NAME", "proactive"),
    ("OTEL_SDK_DISABLED", ""),
    ("MAX_JOBS_PER_USER", "20"),
    ("MAX_JOBS", "1000"),
    ("JOB_DESKTOP_WAIT", "30s"),
    ("LOG_NO_TASK_FOUND", ""),
    ("SERVICE_TOKENS", ""),
    ("SERVICE_TOKENS_FILE", ""),
    ("LOCAL_WORKERS", ""),
    ("TOOLS_FILE", ""),
    ("DEVICE_GATEWAY", "true"),
    ("DEVICE_PERMISSION", "claim"),
    ("TOOLS_ON_DESKTOP", "local"),
    ("TOOLS_ON_WEB", "local"),
];

/// The lines of `serve --check-config`, which must be content.
fn checked(environment: &[(&str, &str)]) -> Vec<String> {
    let ended = run(proactive(&["serve", "--check-config"], environment));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stderr, "");
    ended.stdout.lines().map(str::to_owned).collect()
}

fn has(lines: &[String], line: &str) {
    assert!(lines.iter().any(|said| said == line), "{line}: {lines:#?}");
}

#[test]
fn a21_no_start_without_a_key_one_clear_line_and_a_code_that_is_not_0() {
    no_start_with(&[]);
}

#[test]
fn gone_an_empty_key_accepted() {
    let empty = [("GEMINI_API_KEY", ""), ("GOOGLE_API_KEY", " \t")];
    for keys in [&empty[..1], &empty[1..], &empty] {
        no_start_with(keys);
    }
}

fn no_start_with(keys: &[(&str, &str)]) {
    let project = [("FIREBASE_PROJECT_ID", "p")];
    let ended = run(proactive(&["serve"], &[&project, keys].concat()));
    assert_eq!(ended.code, Some(64), "{keys:?}");
    let lines: Vec<_> = ended.stderr.lines().collect();
    let [line] = lines[..] else {
        panic!("{keys:?}: {lines:?}");
    };
    assert!(
        line.starts_with("proactive: GEMINI_API_KEY: is not set"),
        "{line}"
    );
    assert_eq!(ended.stdout, "");
}

#[test]
fn every_mistake_is_told_at_once_before_anything_binds() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let wrong = [
        ("GEMINI_API_KEY", "a key-with-a-blank"),
        ("GEMINI_MODEL", "../../files"),
        ("GEMINI_FALLBACK_MODEL", "a model"),
        (
            "GOOGLE_GEMINI_BASE_URL",
            "generativelanguage.googleapis.com",
        ),
        ("GEMINI_API_VERSION", "v1/beta"),
        ("GOOGLE_GENAI_USE_VERTEXAI", "perhaps"),
        ("GEMINI_THINKING_LEVEL", "deep"),
        ("GEMINI_MEDIA_RESOLUTION", "4k"),
        ("GEMINI_MAX_OUTPUT_TOKENS", "-1"),
        ("GEMINI_PRICES", "cheap"),
        ("MODEL_TIMEOUT", "30"),
        ("MODEL_CALLS_AT_ONCE", "0"),
        ("MODEL_CIRCUIT_FAILURES", "-1"),
        ("MODEL_CIRCUIT_WINDOW", "1h"),
        ("MODEL_CIRCUIT_OPEN", "0s"),
        ("TOOL_TIMEOUT", "1ms"),
        ("FRAME_TIMEOUT", "soon"),
        ("MAX_MODEL_ITERATIONS", "1"),
        ("FRAMES_PER_SESSION", "0"),
        ("HEARTBEAT_INTERVAL", "1h"),
        ("SLOW_CLIENT_TIMEOUT", "0s"),
        ("HELLO_TIMEOUT", "0s"),
        ("STREAM_MAX_AGE", "30s"),
        ("TOKEN_LEEWAY", "2h"),
        ("RESUME_GRACE", "1h"),
        ("MAX_SESSIONS_PER_USER", "0"),
        ("FRAMES_PER_MINUTE", "many"),
        ("MAX_BYTES_IN_FLIGHT_PER_USER", "1 KiB"),
        ("MAX_SESSIONS", "0"),
        ("MEMORY_CEILING", "32"),
        ("MAX_CONNECTIONS", "0"),
        ("DRAIN_GRACE", "-25s"),
        ("DRAIN_SPREAD", "1h"),
        ("LOCAL_WORKERS", "no-such-program nobody-may-see"),
        ("LOG_RETENTION", "59s"),
        ("LOG_ENTRIES_PER_USER", "0"),
        ("LOG_MEMORY", "1KiB"),
        ("SERVICE_ACCOUNT_JSON", "{private_key: nobody-may-see}"),
        ("FIREBASE_KEYS_URL", "ftp://example.com"),
        ("TOKEN_CLOCK_SKEW", "61s"),
        ("FIREBASE_KEYS_MAX_STALE", "2d"),
        ("HTTP_PORT", "-1"),
        ("HTTP_ALLOWED_ORIGINS", "example.com/app"),
        ("ADMIN_PORT", "65536"),
        ("TLS_CERT_FILE", "/no/such/file.pem"),
        ("RUST_LOG", "proactive=loud"),
        ("LOG_FORMAT", "xml"),
    ];
    let usable = [("BIND_ADDRESS", "127.0.0.1"), ("GRPC_PORT", &port)];
    let ended = run(proactive(&["serve"], &[&usable[..], &wrong].concat()));
    assert_eq!(ended.code, Some(64));
    // Missing, because the other one is there.
    let missing = ["TLS_KEY_FILE"];
    let names: Vec<_> = wrong.iter().map(|(name, _)| *name).collect();
    for name in names.iter().chain(&missing) {
        let told = format!("proactive: {name}: ");
        let times = ended.stderr.lines().filter(|line| line.starts_with(&told));
        assert_eq!(times.count(), 1, "{name} in\n{}", ended.stderr);
    }
    assert_eq!(
        ended.stderr.lines().count(),
        wrong.len() + missing.len(),
        "{}",
        ended.stderr
    );
    for hidden in ["with-a-blank", "nobody-may-see", "cannot listen"] {
        assert!(!ended.stderr.contains(hidden), "{}", ended.stderr);
    }
}

#[test]
fn check_config_prints_every_setting_and_no_secret() {
    let lines = checked(&[
        ("GEMINI_API_KEY", KEY),
        ("SERVICE_ACCOUNT_JSON", ACCOUNT),
        ("MODEL_TIMEOUT", "12s"),
    ]);
    for (name, _) in SETTINGS {
        let lines_of = lines
            .iter()
            .filter(|line| line.starts_with(&format!("{name}=")));
        assert_eq!(lines_of.count(), 1, "{name} in {lines:#?}");
    }
    has(&lines, "FIREBASE_PROJECT_ID=from-account");
    has(&lines, "MODEL_TIMEOUT=12s");
    let text = lines.concat();
    assert!(!text.contains("nobody-may-see"), "{text}");
}

#[test]
fn every_variable_that_deployments_use_is_honoured() {
    let lines = checked(&[
        ("GOOGLE_API_KEY", KEY),
        ("GEMINI_MODEL", "models/gemini-3.8-flash"),
        ("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9"),
        ("GRPC_PORT", "1234"),
        ("HTTP_PORT", "1236"),
        ("HTTP_ALLOWED_ORIGINS", "https://App.example.com/"),
        ("ADMIN_PORT", "1235"),
        (
            "FIREBASE_KEYS_URL",
            "http://127.0.0.1:9/keys?signature=nobody-may-see",
        ),
        ("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099"),
        ("FIREBASE_PROJECT_ID", "first"),
        ("GOOGLE_CLOUD_PROJECT", "second"),
        ("SERVICE_ACCOUNT_JSON", ACCOUNT),
        ("RUST_LOG", "warn,proactive=debug"),
    ]);
    for line in [
        "GEMINI_MODEL=gemini-3.8-flash",
        "GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:9",
        "GRPC_PORT=1234",
        "HTTP_PORT=1236",
        "HTTP_ALLOWED_ORIGINS=https://app.example.com",
        "ADMIN_PORT=1235",
        "FIREBASE_KEYS_URL=http://127.0.0.1:9/keys?********",
        "FIREBASE_PROJECT_ID=first",
        "FIREBASE_AUTH_EMULATOR_HOST=set: UNSIGNED TOKENS ARE ACCEPTED",
        "RUST_LOG=warn,proactive=debug",
    ] {
        has(&lines, line);
    }
    let second = [
        ("GEMINI_API_KEY", KEY),
        ("FIREBASE_PROJECT_ID", ""),
        ("GOOGLE_CLOUD_PROJECT", "second"),
        ("SERVICE_ACCOUNT_JSON", ACCOUNT),
    ];
    has(&checked(&second), "FIREBASE_PROJECT_ID=second");
}

#[test]
fn a_url_that_carries_a_secret_is_refused_without_showing_it() {
    let urls = [
        (
            "GOOGLE_GEMINI_BASE_URL",
            "https://someone:nobody-may-see@example.com",
        ),
        (
            "GOOGLE_GEMINI_BASE_URL",
            "https://nobody-may-see@example.com",
        ),
        (
            "GOOGLE_GEMINI_BASE_URL",
            "https://example.com/?key=nobody-may-see",
        ),
        (
            "FIREBASE_KEYS_URL",
            "https://nobody-may-see@example.com/keys",
        ),
    ];
    for (name, url) in urls {
        let environment = [
            ("GEMINI_API_KEY", KEY),
            ("FIREBASE_PROJECT_ID", "p"),
            (name, url),
        ];
        let ended = run(proactive(&["serve", "--check-config"], &environment));
        assert_eq!(ended.code, Some(64), "{url}");
        assert!(ended.stderr.starts_with(&format!("proactive: {name}: ")));
        assert!(!(ended.stderr + &ended.stdout).contains("nobody-may-see"));
    }
}

#[test]
fn a_doubtful_model_is_a_warning_before_and_at_the_start() {
    let environment = [
        ("GEMINI_API_KEY", KEY),
        ("GEMINI_MODEL", "gpt-4"),
        ("FIREBASE_PROJECT_ID", "example.com:older"),
    ];
    let ended = run(proactive(&["serve", "--check-config"], &environment));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("proactive: warning: GEMINI_MODEL: \"gpt-4\""));
    assert!(lines[1].starts_with("proactive: warning: GEMINI_PRICES: has no price of gpt-4"));
    assert!(
        ended
            .stdout
            .contains("FIREBASE_PROJECT_ID=example.com:older\n")
    );
}

#[test]
fn help_names_every_variable_unit_and_default_and_no_secret() {
    let environment = [
        ("GEMINI_API_KEY", KEY),
        ("GOOGLE_API_KEY", KEY),
        ("SERVICE_ACCOUNT_JSON", ACCOUNT),
        (
            "GOOGLE_GEMINI_BASE_URL",
            "https://nobody-may-see@example.com",
        ),
        ("FIREBASE_KEYS_URL", "https://nobody-may-see@example.com"),
    ];
    let ended = run(proactive(&["serve", "--help"], &environment));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(!ended.stdout.contains("nobody-may-see"), "{}", ended.stdout);
    // One paragraph a setting, whatever the width of the lines.
    let settings: Vec<String> = ended
        .stdout
        .split("\n      --")
        .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for (name, default) in SETTINGS {
        let named = |text: &&String| {
            text.contains(&format!("[env: {name}=")) || text.contains(&format!("[env: {name}]"))
        };
        let setting = settings.iter().find(named);
        let setting = setting.unwrap_or_else(|| panic!("{name} in {}", ended.stdout));
        if !default.is_empty() {
            let default = format!("[default: {default}]");
            assert!(setting.contains(&default), "{setting}");
        }
        let measured = [
            "<DURATION>",
            "<TOKENS>",
            "<TURNS>",
            "<FRAMES>",
            "<SESSIONS>",
            "<SIZE>",
            "<CONNECTIONS>",
        ];
        if measured.iter().any(|unit| setting.contains(unit)) {
            assert!(
                setting.contains(" to ") && setting.contains('('),
                "no range: {setting}"
            );
        }
    }
    let named = ended.stdout.matches("[env: ").count();
    assert_eq!(named, SETTINGS.len(), "a setting is missing in this test");
}

#[test]
fn usage_errors_are_told_with_code_64() {
    let cases: [(&[&str], &str); 4] = [
        (&[], "Usage: proactive <COMMAND>"),
        (&["sreve"], "sreve"),
        (&["serve", "--grpc-prot", "1"], "--grpc-prot"),
        (&["stand-in", "--latency", "1"], "--latency"),
    ];
    for (arguments, told) in cases {
        let ended = run(proactive(arguments, &[]));
        assert_eq!(ended.code, Some(64), "{arguments:?}");
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn help_says_what_each_command_is_for() {
    let help = run(proactive(&["--help"], &[])).stdout;
    for (command, purpose) in [
        ("serve", "Serves desktops"),
        ("demo", "Plays frames"),
        ("stand-in", "Serves a stand-in"),
    ] {
        let line = help
            .lines()
            .find(|line| line.trim_start().starts_with(command));
        assert!(line.unwrap().contains(purpose), "{help}");
        let own = run(proactive(&[command, "--help"], &[])).stdout;
        assert!(own.starts_with(purpose), "{own}");
    }
}
