//! A page to see the service work in a browser, for `serve --dev` alone: files
//! without secrets. Its visitor brings the token, in the fragment that no server sees.

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use http::HeaderValue;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};

/// Nothing but these files runs, and whatever they know can go nowhere but to the host
/// that they came from; `'self'` has its WebSocket as well. Pictures are the visitor's.
const POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self'; \
                      img-src 'self' blob: data:; connect-src 'self'; object-src 'none'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Its path, what it is, and the file.
const FILES: [(&str, &str, &str); 5] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_str!("page/index.html"),
    ),
    (
        "/page.css",
        "text/css; charset=utf-8",
        include_str!("page/page.css"),
    ),
    (
        "/page.js",
        "text/javascript; charset=utf-8",
        include_str!("page/page.js"),
    ),
    (
        "/picture.js",
        "text/javascript; charset=utf-8",
        include_str!("page/picture.js"),
    ),
    (
        "/tasks.js",
        "text/javascript; charset=utf-8",
        include_str!("page/tasks.js"),
    ),
];

/// The page's files.
pub(super) fn files<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES
        .into_iter()
        .fold(Router::new(), |pages, (path, kind, text)| {
            pages.route(path, get(async move || file(kind, text)))
        })
}

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, HeaderValue); 5] = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        // The next server may have another one.
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_keeps_to_what_its_policy_allows() {
        let [(_, _, html), parts @ ..] = FILES;
        for inline in ["<style", "style=", "javascript:", "onclick", "onload"] {
            assert!(!html.contains(inline), "{inline}");
        }
        assert_eq!(html.matches("<script").count(), 1);
        assert!(html.contains(r#"<script type="module" src="page.js"></script>"#));
        for (path, _, text) in parts {
            for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "eval("] {
                assert!(!text.contains(markup), "{path}: {markup}");
            }
            assert!(!text.contains("https://"), "{path}");
            assert!(text.lines().count() <= 500, "{path}");
        }
    }
}
