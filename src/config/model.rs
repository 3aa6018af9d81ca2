//! The model's part of the configuration: the Gemini API by key, or Vertex AI by
//! Application Default Credentials.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::Settings;
use super::check::{
    MINUTE, MS, SECOND, duration, file, given, number, path_segment, secret, take, url,
};
use crate::gemini::{self, Access, CircuitOptions, Credentials, MediaResolution, Vertex};

const CREDENTIALS: &str = "GOOGLE_APPLICATION_CREDENTIALS";

impl Settings {
    pub(super) fn gemini(&self, wrong: &mut Vec<String>) -> gemini::Options {
        let asked = given(&self.google_genai_use_vertexai).unwrap_or("false");
        if !is_one_of(asked, &["true", "1", "false", "0"]) {
            wrong.push("GOOGLE_GENAI_USE_VERTEXAI: write true or false".to_owned());
        }
        let access = match self.on_vertex() {
            true => Access::Vertex(self.vertex(wrong)),
            false => Access::Key(self.api_key(wrong)),
        };
        let version = match given(&self.gemini_api_version) {
            Some(version) => path_segment(wrong, "GEMINI_API_VERSION", version),
            None => access.usual_version().to_owned(),
        };
        let (name, base) = match &access {
            Access::Key(_) => {
                let base = self.google_gemini_base_url.clone();
                ("GOOGLE_GEMINI_BASE_URL", base)
            }
            Access::Vertex(vertex) => {
                let base = given(&self.google_vertex_base_url).map(str::to_owned);
                let base = base.unwrap_or_else(|| gemini::vertex_url(&vertex.location));
                ("GOOGLE_VERTEX_BASE_URL", base)
            }
        };
        let model = model_name(wrong, "GEMINI_MODEL", &self.gemini_model);
        let fallback = given(&self.gemini_fallback_model)
            .map(|fallback| model_name(wrong, "GEMINI_FALLBACK_MODEL", fallback));
        if fallback.as_ref() == Some(&model) {
            wrong.push(
                "GEMINI_FALLBACK_MODEL: is the same as GEMINI_MODEL; name another one, or none"
                    .to_owned(),
            );
        }
        gemini::Options {
            base_url: base_url(wrong, name, &base, &version),
            version,
            model,
            fallback,
            access,
            call_timeout: duration(
                wrong,
                "MODEL_TIMEOUT",
                &self.model_timeout,
                SECOND..=5 * MINUTE,
            ),
            calls_at_once: number(
                wrong,
                "MODEL_CALLS_AT_ONCE",
                &self.model_calls_at_once,
                1..=10_000,
            ),
            circuit: CircuitOptions {
                failures: number(
                    wrong,
                    "MODEL_CIRCUIT_FAILURES",
                    &self.model_circuit_failures,
                    0..=10_000,
                ),
                window: duration(
                    wrong,
                    "MODEL_CIRCUIT_WINDOW",
                    &self.model_circuit_window,
                    SECOND..=10 * MINUTE,
                ),
                open: duration(
                    wrong,
                    "MODEL_CIRCUIT_OPEN",
                    &self.model_circuit_open,
                    100 * MS..=10 * MINUTE,
                ),
            },
            thinking: match self.gemini_thinking_level.trim() {
                "default" => None,
                level => take(wrong, "GEMINI_THINKING_LEVEL", level.parse()),
            },
            media_resolution: take(
                wrong,
                "GEMINI_MEDIA_RESOLUTION",
                self.gemini_media_resolution.trim().parse(),
            )
            .unwrap_or(MediaResolution::Medium),
            max_output_tokens: number(
                wrong,
                "GEMINI_MAX_OUTPUT_TOKENS",
                &self.gemini_max_output_tokens,
                256..=65_536,
            ),
            prices: take(wrong, "GEMINI_PRICES", self.gemini_prices.parse()).unwrap_or_default(),
        }
    }

    /// Whether Vertex AI is asked: a key does not count then, as in Google's own
    /// clients.
    pub(super) fn on_vertex(&self) -> bool {
        given(&self.google_genai_use_vertexai).is_some_and(|asked| is_one_of(asked, &["true", "1"]))
    }

    fn api_key(&self, wrong: &mut Vec<String>) -> SecretString {
        let google = secret(&self.google_api_key).map(|key| ("GOOGLE_API_KEY", key));
        let gemini = secret(&self.gemini_api_key).map(|key| ("GEMINI_API_KEY", key));
        let Some((name, key)) = google.or(gemini) else {
            wrong.push(
                "GEMINI_API_KEY: is not set; set it (or GOOGLE_API_KEY) to the key the model is \
                 asked with, or GOOGLE_GENAI_USE_VERTEXAI to ask it on Vertex AI"
                    .to_owned(),
            );
            return SecretString::default();
        };
        if !key.chars().all(|c| c.is_ascii_graphic()) {
            wrong.push(format!(
                "{name}: has blanks or characters that no key has; paste it again"
            ));
        }
        key.into()
    }

    fn vertex(&self, wrong: &mut Vec<String>) -> Vertex {
        let project = given(&self.google_cloud_project).unwrap_or_else(|| {
            wrong.push(
                "GOOGLE_CLOUD_PROJECT: is not set; set it to the project whose Vertex AI is asked"
                    .to_owned(),
            );
            "none"
        });
        // Older ids begin with a domain and a colon.
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if !project.chars().all(plain) {
            wrong.push(format!(
                "GOOGLE_CLOUD_PROJECT: \"{project}\" is not a project's id or number"
            ));
        }
        Vertex {
            project: project.to_owned(),
            location: self.location(wrong).to_owned(),
            credentials: self.credentials(wrong),
        }
    }

    /// It goes into the name of a host. Google's clients take "global" if there is
    /// none; here somebody has to say where the screens of users may be read.
    fn location(&self, wrong: &mut Vec<String>) -> &str {
        const NAME: &str = "GOOGLE_CLOUD_LOCATION";
        let Some(location) = given(&self.google_cloud_location) else {
            wrong.push(format!(
                "{NAME}: is not set; set it to where the model may read screens: a region such \
                 as europe-west4, us, eu, or global"
            ));
            return "global";
        };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let begins = location.starts_with(|c: char| c.is_ascii_lowercase());
        if !begins || location.ends_with('-') || location.len() > 40 || !location.chars().all(plain)
        {
            wrong.push(format!(
                "{NAME}: \"{location}\" is not a location such as europe-west4, us, eu or global"
            ));
            return "global";
        }
        location
    }

    fn credentials(&self, wrong: &mut Vec<String>) -> Credentials {
        let host = given(&self.gce_metadata_host);
        let machine = Credentials::of_the_machine(host);
        if self.gce_metadata_host.is_some() && host.is_none() {
            // Google's library reads this variable as well.
            wrong.push("GCE_METADATA_HOST: is set but empty; unset it".to_owned());
        }
        if let Some(host) = host
            && !reqwest::Url::parse(&format!("http://{host}/"))
                .is_ok_and(|url| url.path() == "/" && !host.ends_with('/') && !host.contains('@'))
        {
            wrong.push("GCE_METADATA_HOST: is not a host, or a host and a port".to_owned());
        }
        let stored = (host.is_none()).then(stored_by_gcloud).flatten();
        let path = match given(&self.google_application_credentials) {
            Some(path) => path.to_owned(),
            None => match stored {
                Some(path) => path.display().to_string(),
                None => return machine,
            },
        };
        let Some(text) = file(wrong, CREDENTIALS, &path) else {
            return machine;
        };
        let credentials = Credentials::from_json(&text);
        take(
            wrong,
            CREDENTIALS,
            credentials.map_err(|why| format!("{path}: {why}")),
        )
        .unwrap_or(machine)
    }
}

fn model_name(wrong: &mut Vec<String>, name: &str, text: &str) -> String {
    path_segment(wrong, name, text.trim().trim_start_matches("models/"))
}

fn is_one_of(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Version, project and model are put behind it. A path is the beginning of a
/// proxy's: Google's own hosts have none.
fn base_url(wrong: &mut Vec<String>, name: &str, text: &str, version: &str) -> String {
    let base = url(wrong, name, text);
    let Ok(url) = reqwest::Url::parse(&base) else {
        return base;
    };
    if url.query().is_some() || url.fragment().is_some() {
        wrong.push(format!(
            "{name}: has a query or fragment; give it without, and a key as GEMINI_API_KEY"
        ));
    }
    let path: Vec<_> = url
        .path()
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    let is_google = url
        .host_str()
        .is_some_and(|host| host.ends_with(".googleapis.com"));
    let goes_too_far =
        |part: &&str| ["v1alpha", "v1beta", "v1beta1"].contains(part) || part.contains(':');
    if path.last() == Some(&version) || path.iter().any(goes_too_far) {
        wrong.push(format!(
            "{name}: has the version in its path; leave it out with all that follows: \
             GEMINI_API_VERSION and GEMINI_MODEL are put behind it"
        ));
    } else if is_google && !path.is_empty() {
        wrong.push(format!(
            "{name}: has a path, and Google's own hosts have none; leave it out"
        ));
    }
    base
}

/// What `gcloud auth application-default login` leaves
/// (<https://google.aip.dev/auth/4110>), if it did.
fn stored_by_gcloud() -> Option<PathBuf> {
    let home = std::env::home_dir()?;
    let folder = if cfg!(windows) {
        "AppData/Roaming"
    } else {
        ".config"
    };
    let path = home.join(folder).join("gcloud");
    let path = path.join("application_default_credentials.json");
    Path::exists(&path).then_some(path)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::config::{Config, Mistakes};

    fn vertex(change: impl FnOnce(&mut Settings)) -> Result<Config, Mistakes> {
        let mut settings = Settings::defaults().embedded();
        settings.google_genai_use_vertexai = Some("TRUE".into());
        settings.google_cloud_project = Some("example.com:p-1".into());
        settings.google_cloud_location = Some("europe-west4".into());
        settings.gce_metadata_host = Some("127.0.0.1:1".into());
        change(&mut settings);
        settings.check()
    }

    fn url(location: &str) -> String {
        let config = vertex(|set| set.google_cloud_location = Some(location.into()));
        config.unwrap().gemini.url()
    }

    #[test]
    fn each_location_has_its_host_and_its_path() {
        let urls = [
            (
                "europe-west4",
                "https://europe-west4-aiplatform.googleapis.com",
            ),
            ("global", "https://aiplatform.googleapis.com"),
            ("us", "https://aiplatform.us.rep.googleapis.com"),
            ("eu", "https://aiplatform.eu.rep.googleapis.com"),
        ];
        for (location, host) in urls {
            let path = format!(
                "/v1beta1/projects/example.com:p-1/locations/{location}/publishers/google/models/\
                 gemini-3.5-flash-lite:generateContent"
            );
            assert_eq!(url(location), format!("{host}{path}"));
        }
    }

    #[test]
    fn a_key_has_the_short_path_and_a_version_that_is_set_is_used_on_both() {
        let key = Settings::defaults().embedded().check().unwrap();
        assert_eq!(
            key.gemini.url(),
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-3.5-flash-lite:generateContent"
        );
        let config = vertex(|set| {
            set.gemini_api_version = Some("v1".into());
            set.google_vertex_base_url = Some("https://proxy.example.com/".into());
        });
        let url = config.unwrap().gemini.url();
        assert!(
            url.starts_with("https://proxy.example.com/v1/projects/"),
            "{url}"
        );
    }

    #[test]
    fn a_path_before_the_version_is_a_proxys_and_no_other_can_be_right() {
        let mistakes = |base: &str| {
            let mut settings = Settings::defaults().embedded();
            settings.google_gemini_base_url = base.to_owned();
            settings.mistakes().0
        };
        for right in [
            "https://proxy.example.com/gemini/",
            "https://proxy.example.com/v1/account/models",
            "https://proxy.example.com/v1",
            "https://generativelanguage.googleapis.com/",
            "http://[::1]:8089",
        ] {
            assert_eq!(mistakes(right), [""; 0], "{right}");
        }
        for wrong in [
            "https://proxy.example.com/v1beta",
            "https://proxy.example.com/gemini/v1alpha/models",
            "https://proxy.example.com/models/gemini-3.5-flash-lite:generateContent",
            "https://generativelanguage.googleapis.com/v1beta/",
            "https://generativelanguage.googleapis.com/v1",
            "https://proxy.example.com/?key=s3cret",
            "https://proxy.example.com/#s3cret",
            "https://s3cret@proxy.example.com",
            "https://:s3cret@proxy.example.com",
        ] {
            let told = mistakes(wrong);
            assert_eq!(told.len(), 1, "{wrong}: {told:?}");
            assert!(
                told[0].starts_with("GOOGLE_GEMINI_BASE_URL: has "),
                "{told:?}"
            );
            assert!(!told[0].contains("s3cret"), "{told:?}");
        }
        let Err(Mistakes(wrong)) = vertex(|set| {
            set.google_vertex_base_url = Some("https://proxy.example.com/v1".into());
            set.gemini_api_version = Some("v1".into());
        }) else {
            panic!("content");
        };
        assert!(
            wrong[0].starts_with("GOOGLE_VERTEX_BASE_URL: has the version"),
            "{wrong:?}"
        );
    }

    #[test]
    fn all_mistakes_about_vertex_ai_are_told_at_once() {
        let Err(wrong) = vertex(|set| {
            set.google_cloud_project = Some(" ".into());
            set.google_cloud_location = Some("eu.evil.example/".into());
            set.google_vertex_base_url = Some("https://example.com/?key=s3cret".into());
            set.google_application_credentials = Some("/no/such/file.json".into());
            set.gce_metadata_host = Some("user@host/path".into());
        }) else {
            panic!("content");
        };
        let names = [
            "GCE_METADATA_HOST",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GOOGLE_CLOUD_LOCATION",
            "GOOGLE_CLOUD_PROJECT",
            "GOOGLE_VERTEX_BASE_URL",
        ];
        assert_eq!(wrong.names(), names);
        assert!(!wrong.to_string().contains("s3cret"));
        let Err(Mistakes(wrong)) = vertex(|set| set.google_cloud_location = None) else {
            panic!("content");
        };
        assert!(
            wrong.len() == 1 && wrong[0].starts_with("GOOGLE_CLOUD_LOCATION: is not set"),
            "{wrong:?}"
        );
    }

    #[test]
    fn a_credentials_file_that_is_none_is_told_by_its_variable_without_its_content() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "{{\"private_key\": \"s3cret\"}}").unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let Err(Mistakes(wrong)) = vertex(|set| set.google_application_credentials = Some(path))
        else {
            panic!("content");
        };
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].starts_with("GOOGLE_APPLICATION_CREDENTIALS: /"));
        assert!(!wrong[0].contains("s3cret"), "{wrong:?}");
    }

    #[test]
    fn vertex_ai_wins_over_a_key_and_needs_none() {
        let both = vertex(|set| set.gemini_api_key = Some("the-key".into())).unwrap();
        assert!(matches!(both.gemini.access, Access::Vertex(_)));
        let none = vertex(|set| set.gemini_api_key = None).unwrap();
        assert!(matches!(none.gemini.access, Access::Vertex(_)));
        for no in ["false", "0", "FALSE", " "] {
            let config = vertex(|set| set.google_genai_use_vertexai = Some(no.into())).unwrap();
            assert!(matches!(config.gemini.access, Access::Key(_)), "{no}");
        }
    }

    #[test]
    fn a_fallback_is_another_model_or_none() {
        let checked = |fallback: &str| {
            let mut settings = Settings::defaults().embedded();
            settings.gemini_fallback_model = Some(fallback.into());
            settings.check()
        };
        assert_eq!(checked(" ").unwrap().gemini.fallback, None);
        let other = checked("models/gemini-3.8-flash").unwrap().gemini.fallback;
        assert_eq!(other.as_deref(), Some("gemini-3.8-flash"));
        for (wrong, why) in [
            (
                "models/gemini-3.5-flash-lite",
                "is the same as GEMINI_MODEL",
            ),
            ("a/b", "\"a/b\" is not a name"),
        ] {
            let told = checked(wrong).unwrap_err().to_string();
            assert!(
                told.starts_with(&format!("GEMINI_FALLBACK_MODEL: {why}")),
                "{told}"
            );
        }
    }
}
