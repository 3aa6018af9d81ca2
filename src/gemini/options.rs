//! How the model is asked: what a client is made of.

use std::str::FromStr;
use std::time::Duration;

use super::{Access, Prices};

/// How the model is asked.
#[derive(Clone, Debug)]
pub struct Options {
    /// Scheme and host, without a path at the end.
    pub base_url: String,
    /// The API's version, such as "v1beta".
    pub version: String,
    /// The model's name, without "models/".
    pub model: String,
    /// Which API this is, and who asks it.
    pub access: Access,
    /// For one HTTP call.
    pub call_timeout: Duration,
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
        let Self {
            base_url,
            version,
            model,
            access,
            ..
        } = self;
        let (base_url, path) = (base_url.trim_end_matches('/'), access.path());
        format!("{base_url}/{version}/{path}models/{model}:generateContent")
    }

    /// What may be meant and is more likely a mistake, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let model = &self.model;
        let mut warnings = Vec::new();
        // Behind a proxy a model may have any name.
        if !model.starts_with("gemini-") {
            warnings.push(format!(
                "GEMINI_MODEL: \"{model}\" is no name of Gemini's (gemini-…); it is asked as it is, \
                 and Google answers such names with 404"
            ));
        }
        if self.prices.of(model, model).is_none() {
            warnings.push(format!(
                "GEMINI_PRICES: has no price of {model}, so its calls are billed as 0; name it there"
            ));
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
            access: Access::Key("key".into()),
            call_timeout: Duration::from_secs(1),
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
    fn a_model_that_is_not_gemini_is_doubted() {
        let told = Options::of("gpt-4").warnings();
        assert!(
            told[0].contains("GEMINI_MODEL: \"gpt-4\" is no name"),
            "{told:?}"
        );
    }
}
