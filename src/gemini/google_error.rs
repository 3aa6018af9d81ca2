//! Reading Google's error bodies: what kind of refusal, and how long to wait.

use std::time::Duration;

use serde_json::Value;

use super::Error;

/// What an HTTP status other than 200 means. `retry_after` is the header's
/// value, if a proxy added one.
pub(super) fn classify(status: u16, body: &[u8], retry_after: Option<&str>) -> Error {
    match status {
        429 if daily_quota(body) => Error::DailyQuota,
        429 => Error::RateLimited {
            retry_after: retry_delay(body).max(retry_after.and_then(seconds)),
        },
        408 | 500 | 502 | 503 | 504 => Error::Unavailable { status },
        _ => Error::Rejected { status },
    }
}

/// Google's own identifier for the error, for the log: never its message, which
/// may repeat what we sent.
pub(super) fn reason(body: &[u8]) -> String {
    let known = |value: &Value| {
        let text = value.as_str()?;
        let plain = text.len() <= 64 && text.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        plain.then(|| text.to_owned())
    };
    let parts = details(body)
        .iter()
        .filter_map(|detail| known(&detail["reason"]))
        .chain(known(&error(body)["status"]))
        .collect::<Vec<_>>();
    parts.join(" ")
}

/// The error object, also out of a one-element array.
fn error(body: &[u8]) -> Value {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let inner = body.get(0).unwrap_or(&body);
    inner["error"].clone()
}

fn details(body: &[u8]) -> Vec<Value> {
    let details = error(body)["details"].as_array().cloned();
    details.unwrap_or_default()
}

fn typed(detail: &Value, name: &str) -> bool {
    detail["@type"]
        .as_str()
        .is_some_and(|kind| kind.ends_with(name))
}

/// google.rpc.RetryInfo: a Duration with a fraction, such as "45.837s".
fn retry_delay(body: &[u8]) -> Option<Duration> {
    let details = details(body);
    let info = details
        .iter()
        .find(|detail| typed(detail, "google.rpc.RetryInfo"))?;
    seconds(info["retryDelay"].as_str()?.strip_suffix('s')?)
}

/// google.rpc.QuotaFailure that names a quota per day.
fn daily_quota(body: &[u8]) -> bool {
    let details = details(body);
    let failures = details
        .iter()
        .filter(|detail| typed(detail, "google.rpc.QuotaFailure"));
    failures
        .filter_map(|failure| failure["violations"].as_array())
        .flatten()
        .any(|violation| {
            ["quotaId", "quotaMetric", "subject", "description"]
                .iter()
                .filter_map(|name| violation[name].as_str())
                .any(|text| {
                    text.to_ascii_lowercase()
                        .replace([' ', '_', '-'], "")
                        .contains("perday")
                })
        })
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn limited(details: &Value) -> Vec<u8> {
        let error = json!({ "code": 429, "status": "RESOURCE_EXHAUSTED", "details": details });
        json!({ "error": error }).to_string().into_bytes()
    }

    #[test]
    fn the_wait_comes_from_retry_info_and_the_longer_of_two_wins() {
        let info =
            json!([{ "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "45.5s" }]);
        let wait = |retry_after| Error::RateLimited { retry_after };
        let told = Duration::from_millis(45_500);
        assert_eq!(classify(429, &limited(&info), None), wait(Some(told)));
        assert_eq!(
            classify(429, &limited(&info), Some("60")),
            wait(Some(Duration::from_secs(60)))
        );
        assert_eq!(classify(429, b"", Some("Wed, 21 Oct")), wait(None));
        let wrapped = [b"[", &limited(&info)[..], b"]"].concat();
        assert_eq!(classify(429, &wrapped, None), wait(Some(told)));
    }

    #[test]
    fn a_quota_per_day_is_told_apart() {
        let failure = |id: &str| json!([{ "@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{ "quotaId": id }] }]);
        let day = limited(&failure(
            "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
        ));
        let minute = limited(&failure("GenerateRequestsPerMinutePerProject"));
        assert_eq!(classify(429, &day, None), Error::DailyQuota);
        assert_eq!(
            classify(429, &minute, None),
            Error::RateLimited { retry_after: None }
        );
    }

    #[test]
    fn a18_statuses_are_retryable_as_they_really_are() {
        for status in [408, 500, 502, 503, 504] {
            assert!(classify(status, b"<html>", None).retryable());
        }
        for status in [400, 401, 402, 403, 404, 418] {
            let error = classify(status, b"", None);
            assert!(!error.retryable());
            assert_eq!(error.worth_retries(), 0);
        }
    }

    #[test]
    fn an_error_of_another_form_is_read_for_its_status() {
        let bodies = [
            r#"{"error": 429}"#,
            r#"{"error": "slow down"}"#,
            r#"{"error": ["slow down"]}"#,
            r#"{"error": {"details": "none"}}"#,
            r#"["slow down"]"#,
            "[]",
            "429",
            "null",
        ];
        for body in bodies {
            let limited = Error::RateLimited { retry_after: None };
            assert_eq!(classify(429, body.as_bytes(), None), limited, "{body}");
            assert_eq!(reason(body.as_bytes()), "", "{body}");
        }
    }

    #[test]
    fn a24_the_reason_for_the_log_holds_identifiers_only() {
        let body = json!({ "error": { "status": "INVALID_ARGUMENT", "message": "key AIza… is bad",
            "details": [{ "reason": "API_KEY_INVALID" }, { "reason": "AIzaSecret key" }] } });
        assert_eq!(
            reason(body.to_string().as_bytes()),
            "API_KEY_INVALID INVALID_ARGUMENT"
        );
        assert_eq!(reason(b"nonsense"), "");
    }
}
