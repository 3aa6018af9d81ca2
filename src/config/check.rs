//! From settings to a configuration: everything wrong is collected, nothing
//! stops at the first mistake.

use std::fmt::Display;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::{Config, Mistakes, Settings};
use crate::tools::workers;
use crate::transport::{Keepalive, Origins, grpc, http};
use crate::{analysis, auth, session};

/// Up to this much of the suggested reconnect delay is by chance.
const RECONNECT_SPREAD: Duration = Duration::from_secs(5);

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

impl Settings {
    /// The configuration these settings make.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn check(&self) -> Result<Config, Mistakes> {
        let mut wrong = Vec::new();
        let w = &mut wrong;
        let bind = given(&self.bind_address).unwrap_or("0.0.0.0");
        let bind = address(w, "BIND_ADDRESS", bind);
        let grpc_port = port(w, "GRPC_PORT", &self.grpc_port);
        let http_port = port(w, "HTTP_PORT", &self.http_port);
        let admin_port = port(w, "ADMIN_PORT", &self.admin_port);
        must_differ(
            w,
            [
                ("GRPC_PORT", grpc_port),
                ("HTTP_PORT", http_port),
                ("ADMIN_PORT", admin_port),
            ],
        );
        let tls = self.tls(w);
        let drain_grace = duration(
            w,
            "DRAIN_GRACE",
            &self.drain_grace,
            Duration::ZERO..=10 * MINUTE,
        );
        let drain_spread = duration(
            w,
            "DRAIN_SPREAD",
            &self.drain_spread,
            Duration::ZERO..=5 * MINUTE,
        );
        let session = session::Options {
            drain_grace,
            // So that what was accepted until then can still be finished.
            drain_spread: drain_spread.min(drain_grace / 2),
            ..self.session(w)
        };
        let limits = self.limits(w);
        let (catalogue, routing) = self.tools.check(w);
        let config = Config {
            limits,
            catalogue,
            routing,
            analysis: self.analysis(w, session.resume_grace),
            session,
            grpc: grpc::Options {
                address: SocketAddr::new(bind, grpc_port),
                tls: tls.clone(),
                keepalive: Keepalive::USUAL,
            },
            http: http::Options {
                address: SocketAddr::new(bind, http_port),
                tls,
                keepalive: Keepalive::USUAL,
                origins: self.origins(w),
                page: false,
            },
            max_connections: self.max_connections(w, limits.sessions),
            admin: SocketAddr::new(bind, admin_port),
            jobs: self.jobs(w, session.frames_at_once),
            workers: workers::Options::default(),
            service_tokens: self.service_tokens(w),
            local_workers: self.local_workers(w),
            gemini: self.gemini(w),
            events: self.events.check(w),
            auth: self.auth(w),
            drain_grace,
        };
        must_nest(
            w,
            ("FRAME_TIMEOUT", config.analysis.frame_timeout),
            [
                ("MODEL_TIMEOUT", config.gemini.call_timeout),
                ("TOOL_TIMEOUT", config.analysis.tool_timeout),
            ],
        );
        if wrong.is_empty() {
            Ok(config)
        } else {
            Err(Mistakes(wrong))
        }
    }

    fn origins(&self, wrong: &mut Vec<String>) -> Origins {
        let text = given(&self.http_allowed_origins).unwrap_or_default();
        let origins = Origins::parse(text);
        take(wrong, "HTTP_ALLOWED_ORIGINS", origins).unwrap_or_default()
    }

    fn auth(&self, wrong: &mut Vec<String>) -> auth::Options {
        let skew = Duration::ZERO..=auth::MAX_CLOCK_SKEW;
        let stale = Duration::ZERO..=24 * HOUR;
        auth::Options {
            project_id: self.project(wrong),
            keys_url: url(wrong, "FIREBASE_KEYS_URL", &self.firebase_keys_url),
            emulator: given(&self.firebase_auth_emulator_host).is_some(),
            clock_skew: duration(wrong, "TOKEN_CLOCK_SKEW", &self.token_clock_skew, skew),
            max_stale: duration(
                wrong,
                "FIREBASE_KEYS_MAX_STALE",
                &self.firebase_keys_max_stale,
                stale,
            ),
        }
    }

    fn session(&self, wrong: &mut Vec<String>) -> session::Options {
        let frames: u32 = number(
            wrong,
            "FRAMES_PER_SESSION",
            &self.frames_per_session,
            1..=16,
        );
        session::Options {
            frames_at_once: frames as usize,
            heartbeat_interval: duration(
                wrong,
                "HEARTBEAT_INTERVAL",
                &self.heartbeat_interval,
                SECOND..=5 * MINUTE,
            ),
            slow_client_limit: duration(
                wrong,
                "SLOW_CLIENT_TIMEOUT",
                &self.slow_client_timeout,
                SECOND..=5 * MINUTE,
            ),
            hello_timeout: duration(
                wrong,
                "HELLO_TIMEOUT",
                &self.hello_timeout,
                SECOND..=5 * MINUTE,
            ),
            max_age: duration(
                wrong,
                "STREAM_MAX_AGE",
                &self.stream_max_age,
                MINUTE..=24 * 60 * MINUTE,
            ),
            token_leeway: duration(
                wrong,
                "TOKEN_LEEWAY",
                &self.token_leeway,
                Duration::ZERO..=60 * MINUTE,
            ),
            resume_grace: duration(
                wrong,
                "RESUME_GRACE",
                &self.resume_grace,
                Duration::ZERO..=10 * MINUTE,
            ),
            reconnect_spread: RECONNECT_SPREAD,
            log_no_task: self.log_no_task(wrong),
            ..session::Options::default()
        }
    }

    fn analysis(&self, wrong: &mut Vec<String>, longest_pause: Duration) -> analysis::Options {
        let (tool, frame) = (100 * MS..=5 * MINUTE, SECOND..=10 * MINUTE);
        analysis::Options {
            max_iterations: number(
                wrong,
                "MAX_MODEL_ITERATIONS",
                &self.max_model_iterations,
                2..=20,
            ),
            tool_timeout: duration(wrong, "TOOL_TIMEOUT", &self.tool_timeout, tool),
            frame_timeout: duration(wrong, "FRAME_TIMEOUT", &self.frame_timeout, frame),
            longest_pause,
        }
    }
}

pub(super) fn secret(value: &Option<SecretString>) -> Option<&str> {
    let value = value.as_ref().map(|value| value.expose_secret().trim());
    value.filter(|value| !value.is_empty())
}

/// A value that says something: variables without a default that are set but
/// empty count as not set.
pub(super) fn given(value: &Option<String>) -> Option<&str> {
    value
        .as_deref()
        .map(str::trim)
        .filter(|value| !value.is_empty())
}

pub(super) fn take<T>(
    wrong: &mut Vec<String>,
    name: &str,
    value: Result<T, impl Display>,
) -> Option<T> {
    value
        .map_err(|why| wrong.push(format!("{name}: {why}")))
        .ok()
}

fn address(wrong: &mut Vec<String>, name: &str, text: &str) -> IpAddr {
    let value = text
        .trim()
        .parse()
        .map_err(|_| format!("\"{text}\" is not an IP address"));
    take(wrong, name, value).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

fn port(wrong: &mut Vec<String>, name: &str, text: &str) -> u16 {
    let value = text
        .trim()
        .parse()
        .map_err(|_| format!("\"{text}\" is not a port (0 to 65535)"));
    take(wrong, name, value).unwrap_or(0)
}

/// Each port is for one listener; 0 is another one each time.
fn must_differ(wrong: &mut Vec<String>, ports: [(&str, u16); 3]) {
    for (at, (name, port)) in ports.iter().enumerate() {
        let same = ports[..at].iter().find(|(_, other)| other == port);
        if let Some((other, _)) = same.filter(|_| *port != 0) {
            wrong.push(format!("{name}: is the same as {other}"));
        }
    }
}

pub(super) fn number(
    wrong: &mut Vec<String>,
    name: &str,
    text: &str,
    range: RangeInclusive<u32>,
) -> u32 {
    let (least, most) = (*range.start(), *range.end());
    let value = text
        .trim()
        .parse()
        .ok()
        .filter(|number| range.contains(number));
    let value =
        value.ok_or_else(|| format!("\"{text}\" is not a whole number from {least} to {most}"));
    take(wrong, name, value).unwrap_or(least)
}

pub(super) fn duration(
    wrong: &mut Vec<String>,
    name: &str,
    text: &str,
    range: RangeInclusive<Duration>,
) -> Duration {
    let value = humantime::parse_duration(text.trim())
        .ok()
        .filter(|span| range.contains(span));
    let value = value.ok_or_else(|| {
        let [least, most] =
            [range.start(), range.end()].map(|span| humantime::format_duration(*span));
        format!("\"{text}\" is not a duration from {least} to {most}, such as \"30s\"")
    });
    take(wrong, name, value).unwrap_or(*range.end())
}

/// Whether nothing was wrong with that variable.
pub(super) fn is_sound(wrong: &[String], name: &str) -> bool {
    let told = |mistake: &String| mistake.split(": ").next() == Some(name);
    !wrong.iter().any(told)
}

/// The outer time must be longer than one of each inner one, as far as they are
/// known.
fn must_nest(
    wrong: &mut Vec<String>,
    (name, outer): (&str, Duration),
    inner: [(&str, Duration); 2],
) {
    let known = inner.iter().filter(|(name, _)| is_sound(wrong, name));
    let known: Vec<_> = known.collect();
    let sum: Duration = known.iter().map(|(_, span)| *span).sum();
    if is_sound(wrong, name) && outer <= sum {
        let told = |(name, span): &&(&str, Duration)| {
            format!("one {name} ({})", humantime::format_duration(*span))
        };
        wrong.push(format!(
            "{name}: {} does not hold {}; it must be longer than {}",
            humantime::format_duration(outer),
            known.iter().map(told).collect::<Vec<_>>().join(" and "),
            humantime::format_duration(sum)
        ));
    }
}

pub(super) fn url(wrong: &mut Vec<String>, name: &str, text: &str) -> String {
    let text = text.trim();
    // Never shown here: a part that is refused may be a secret.
    match reqwest::Url::parse(text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") || !url.has_host() => {
            wrong.push(format!("{name}: does not begin with https:// or http://"));
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            wrong.push(format!("{name}: has a user or password in it; take it out"));
        }
        Ok(_) => {}
        Err(_) if !text.contains("://") => {
            wrong.push(format!("{name}: does not begin with https:// or http://"));
        }
        Err(why) => wrong.push(format!("{name}: is not a URL: {why}")),
    }
    text.to_owned()
}

pub(super) fn path_segment(wrong: &mut Vec<String>, name: &str, text: &str) -> String {
    let text = text.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.is_empty() || !text.chars().all(plain) {
        wrong.push(format!(
            "{name}: \"{text}\" is not a name of letters, digits, '-', '_' and '.'"
        ));
    }
    text.to_owned()
}

pub(super) fn file(wrong: &mut Vec<String>, name: &str, path: &str) -> Option<String> {
    let content = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    take(wrong, name, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(change: impl FnOnce(&mut Settings)) -> Mistakes {
        let mut settings = Settings::defaults().embedded();
        change(&mut settings);
        settings.mistakes()
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let settings = Settings::defaults();
        assert_eq!(
            [
                &*settings.grpc_port,
                &settings.http_port,
                &settings.admin_port
            ],
            ["50051", "8080", "9464"]
        );
        let config = settings.embedded().check().unwrap();
        assert_eq!(config.analysis.tool_timeout, Duration::from_secs(10));
        assert_eq!(config.gemini.call_timeout, Duration::from_secs(30));
        assert_eq!(config.analysis.frame_timeout, Duration::from_secs(60));
        assert_eq!(config.analysis.max_iterations, 5);
        assert_eq!(config.session.frames_at_once, 2);
        assert_eq!(config.session.heartbeat_interval, Duration::from_secs(20));
        assert_eq!(config.drain_grace, Duration::from_secs(25));
        assert_eq!(config.gemini.model, "gemini-3.5-flash-lite");
    }

    #[test]
    fn gone_a_30_s_wait_that_races_the_30_s_model_call() {
        let Mistakes(wrong) = mistakes(|set| set.frame_timeout = "30s".into());
        assert!(
            wrong.len() == 1 && wrong[0].starts_with("FRAME_TIMEOUT: "),
            "{wrong:?}"
        );
        assert!(
            mistakes(|set| set.frame_timeout = "41s".into())
                .0
                .is_empty()
        );
    }

    #[test]
    fn a_mistake_in_one_inner_time_does_not_hide_that_the_other_does_not_fit() {
        let told = |model: &str, tool: &str, frame: &str| {
            let Mistakes(wrong) = mistakes(|set| {
                set.model_timeout = model.into();
                set.tool_timeout = tool.into();
                set.frame_timeout = frame.into();
            });
            let about_frames = wrong.iter().find(|told| told.starts_with("FRAME_TIMEOUT"));
            (wrong.len(), about_frames.cloned().unwrap_or_default())
        };
        assert_eq!(
            told("30s", "soon", "20s"),
            (
                2,
                "FRAME_TIMEOUT: 20s does not hold one MODEL_TIMEOUT (30s); it must be longer than 30s".into()
            )
        );
        assert_eq!(
            told("1h", "1m", "1m"),
            (
                2,
                "FRAME_TIMEOUT: 1m does not hold one TOOL_TIMEOUT (1m); it must be longer than 1m"
                    .into()
            )
        );
        assert_eq!(told("30s", "soon", "31s"), (1, String::new()));
        assert_eq!(told("1h", "soon", "1s"), (2, String::new()));
        let (count, about_frames) = told("5m", "5m", "soon");
        assert!(
            count == 1 && about_frames.contains("\"soon\""),
            "{about_frames}"
        );
        let both = "FRAME_TIMEOUT: 40s does not hold one MODEL_TIMEOUT (30s) and one TOOL_TIMEOUT (10s); \
             it must be longer than 40s";
        assert_eq!(told("30s", "10s", "40s"), (1, both.into()));
    }

    #[test]
    fn all_mistakes_are_told_at_once_each_by_its_variable() {
        let wrong = mistakes(|set| {
            set.grpc_port = "70000".into();
            set.http_port = "http".into();
            set.http_allowed_origins = Some("*".into());
            set.bind_address = Some("localhost".into());
            set.gemini_model = "a/../b".into();
            set.google_gemini_base_url = "ftp://x".into();
            set.gemini_prices = "free".into();
            set.tls.tls_cert_file = Some("/no/such/file".into());
            set.token_clock_skew = "61s".into();
            set.frames_per_session = "0".into();
            set.gemini_thinking_level = "deep".into();
            set.google_genai_use_vertexai = Some("yes".into());
            set.google_api_key = Some("two words".into());
            set.frame_timeout = "20s".into();
        });
        let names = [
            "BIND_ADDRESS",
            "FRAMES_PER_SESSION",
            "FRAME_TIMEOUT",
            "GEMINI_MODEL",
            "GEMINI_PRICES",
            "GEMINI_THINKING_LEVEL",
            "GOOGLE_API_KEY",
            "GOOGLE_GEMINI_BASE_URL",
            "GOOGLE_GENAI_USE_VERTEXAI",
            "GRPC_PORT",
            "HTTP_ALLOWED_ORIGINS",
            "HTTP_PORT",
            "TLS_CERT_FILE",
            "TLS_KEY_FILE",
            "TOKEN_CLOCK_SKEW",
        ];
        assert_eq!(wrong.names(), names);
    }

    #[test]
    fn two_listeners_do_not_get_one_port() {
        let wrong = mistakes(|set| {
            set.grpc_port = "9464".into();
            set.http_port = "9464".into();
            set.admin_port = "9464".into();
        });
        assert_eq!(wrong.names(), ["ADMIN_PORT", "HTTP_PORT"]);
    }

    #[test]
    fn a24_no_mistake_repeats_a_secret() {
        let secret = "AIza secret";
        let Mistakes(wrong) = mistakes(|set| {
            set.gemini_api_key = Some(secret.into());
            set.firebase_project_id = None;
            set.service_account_json = Some("{\"private_key\": \"s3cret\"".into());
        });
        assert_eq!(wrong.len(), 2);
        assert!(!wrong.concat().contains("secret") && !wrong.concat().contains("s3cret"));
    }
}
