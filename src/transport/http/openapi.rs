//! The description of this door, for people and for what generates clients:
//! `openapi.json`, written by hand. `tests/service/openapi` holds the code to it.

use std::sync::LazyLock;

use http::HeaderName;
use http::header::CONTENT_TYPE;

const WRITTEN: &str = include_str!("openapi.json");
/// What stands there for the version of this program.
const VERSION: &str = r#""version": "0.0.0""#;

static SERVED: LazyLock<String> = LazyLock::new(|| {
    let version = concat!("\"version\": \"", env!("CARGO_PKG_VERSION"), "\"");
    WRITTEN.replacen(VERSION, version, 1)
});

/// For everybody: it holds nothing that is not public.
pub(super) async fn document() -> ([(HeaderName, &'static str); 1], &'static str) {
    ([(CONTENT_TYPE, "application/json")], &SERVED)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::transport::http::api::{PAGES, STREAMS};

    #[test]
    fn the_paths_described_are_those_served() {
        let document: serde_json::Value = serde_json::from_str(&SERVED).unwrap();
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let described = document["paths"].as_object().unwrap();
        let described: BTreeSet<_> = described.keys().map(String::as_str).collect();
        let served: BTreeSet<_> = [PAGES, STREAMS].concat().iter().map(|it| it.0).collect();
        assert_eq!(described, served);
    }
}
