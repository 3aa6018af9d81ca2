//! How the model is asked: what a client is made of.

use std::str::FromStr;
use std::time::Duration;

use super::{Access, CircuitOptions, Prices};

/// How the model is asked.
#[derive(Clone, Debug)]
pub struct Options {
    /// Scheme and host, without a path at the end.
    pub base_url: String,
    /// The API's version, such as "v1beta".
    pub version: String,
    /// The model's name, without "models/".
    pub model: String,
    /// The model that is asked in its place when it is out of order, at the same
    /// address.
    pub fallback: Option<String>,
    /// Which API this is, and who asks it.
    pub access: Access,
    /// For one HTTP call.
    pub call_timeout: Duration,
    /// Calls under way at once in this process; at least 1. Beyond it users take
    /// turns.
    pub calls_at_once: u32,
    /// When this model is not asked at all.
    pub circuit: CircuitOptions,
    /// `None` leaves it to the model.
    pub thinking: Option<ThinkingLevel>,
    /// How closely the model looks at the screenshot.
    pub media_resolution: MediaResolution,
    /// Upper bound of one answer, thinking included.
    pub max_output_tokens: u32,
    /// For the bill.
    pub prices: Prices,
}

impl Options {
    /// Where the model is asked.
    pub fn url(&self) -> String {
        self.url_of(&self.model)
    }

    /// Where that model is asked.
    pub(super) fn url_of(&self, model: &str) -> String {
        let Self {
            base_url,
            version,
            access,
            ..
        } = self;
        let (base_url, path) = (base_url.trim_end_matches('/'), access.path());
        format!("{base_url}/{version}/{path}models/{model}:generateContent")
    }

    /// What may be meant and is more likely a mistake, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let fallback = self.fallback.as_deref();
        let fallback = fallback.map(|model| ("GEMINI_FALLBACK_MODEL", model));
        for (name, model) in [("GEMINI_MODEL", &*self.model)].into_iter().chain(fallback) {
            // Behind a proxy a model may have any name.
            if !model.starts_with("gemini-") {
                warnings.push(format!(
                    "{name}: \"{model}\" is no name of Gemini's (gemini-…); it is asked as it is, \
                     and Google answers such names with 404"
                ));
            }
            if self.prices.of(model, model).is_none() {
                warnings.push(format!(
                    "GEMINI_PRICES: has no price of {model}, so its calls are billed as 0; name it there"
                ));
            }
        }
        warnings
    }
}

macro_rules! setting {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal / $wire:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            pub(super) fn wire(self) -> &'static str {
                match self { $(Self::$variant => $wire),+ }
            }

            /// The word that names it in the configuration.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("write one of: {}", [$($word),+].join(", "))),
                }
            }
        }
    };
}

setting! {
    /// How much the model thinks before it answers.
    ThinkingLevel {
        /// As little as it can.
        Minimal = "minimal" / "MINIMAL",
        /// A little.
        Low = "low" / "LOW",
        /// Somewhat.
        Medium = "medium" / "MEDIUM",
        /// A lot.
        High = "high" / "HIGH",
    }
}

setting! {
    /// How closely the model looks at an image; a 1280x800 screenshot costs
    /// 280, 560 or 1,120 tokens.
    MediaResolution {
        /// 280 tokens.
        Low = "low" / "MEDIA_RESOLUTION_LOW",
        /// 560 tokens.
        Medium = "medium" / "MEDIA_RESOLUTION_MEDIUM",
        /// 1,120 tokens.
        High = "high" / "MEDIA_RESOLUTION_HIGH",
    }
}

#[cfg(test)]
impl Options {
    /// Of a server that nobody asks.
    pub(super) fn of(model: &str) -> Self {
        Self {
            base_url: "http://127.0.0.1:1".into(),
            version: "v1beta".into(),
            model: model.into(),
            fallback: None,
            access: Access::Key("key".into()),
            call_timeout: Duration::from_secs(1),
            calls_at_once: 1,
            circuit: CircuitOptions::default(),
            thinking: None,
            media_resolution: MediaResolution::Low,
            max_output_tokens: 256,
            prices: Prices::DEFAULT.parse().unwrap(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_without_a_price_is_doubted() {
        let told = Options::of("gemini-3.5-flash").warnings();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("GEMINI_PRICES: has no price of gemini-3.5-flash,"));
        assert_eq!(Options::of("gemini-3.5-flash-lite-001").warnings(), [""; 0]);
    }

    #[test]
    fn a_fallback_is_doubted_like_the_model_it_stands_in_for() {
        let mut options = Options::of("gemini-3.5-flash-lite");
        options.fallback = Some("gpt-4".into());
        let told = options.warnings();
        assert!(
            told[0].starts_with("GEMINI_FALLBACK_MODEL: \"gpt-4\" is no"),
            "{told:?}"
        );
        assert!(
            told[1].starts_with("GEMINI_PRICES: has no price of gpt-4,"),
            "{told:?}"
        );
        assert_eq!(told.len(), 2);
    }

    #[test]
    fn a_model_that_is_not_gemini_is_doubted() {
        let told = Options::of("gpt-4").warnings();
        assert!(
            told[0].contains("GEMINI_MODEL: \"gpt-4\" is no name"),
            "{told:?}"
        );
    }
}
