//! Which of the server's variables a worker gets: the server's keys stand among them.

/// What a program needs to find its way about.
const NAMES: [&str; 11] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "VIRTUAL_ENV",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];
const BEGINNINGS: [&str; 3] = ["LC_", "PYTHON", "WORKER_"];

/// Whether workers get the server's variable of this name. A list of those that are kept
/// from them would miss the next one that holds a secret.
pub fn passes(name: &str) -> bool {
    NAMES.contains(&name) || BEGINNINGS.iter().any(|begin| name.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c09_no_setting_of_the_server_passes() {
        for name in [
            "GEMINI_API_KEY",
            "SERVICE_TOKENS",
            "SERVICE_ACCOUNT_JSON",
            "LOCAL_WORKERS",
            "PROACTIVE_TOKEN",
            "AWS_SECRET_ACCESS_KEY",
            "path",
            "MY_WORKER_KEY",
            "",
        ] {
            assert!(!passes(name), "{name}");
        }
        for name in ["PATH", "LC_ALL", "PYTHONPATH", "WORKER_DATABASE_URL"] {
            assert!(passes(name), "{name}");
        }
    }
}
