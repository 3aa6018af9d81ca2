//! What tokens cost.

use std::fmt;
use std::str::FromStr;

use crate::domain::Usage;

/// US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// Of a prompt, not cached.
    pub input: f64,
    /// Of an answer or of thinking.
    pub output: f64,
    /// Of a prompt, from the model's cache.
    pub cached: f64,
}

impl Price {
    /// Millionths of a dollar for this much: dollars per million tokens are
    /// micro-dollars per token.
    pub fn micro_usd(&self, usage: Usage) -> f64 {
        let fresh = usage.prompt.saturating_sub(usage.cached) as f64;
        fresh * self.input
            + usage.cached as f64 * self.cached
            + (usage.output as f64 + usage.thinking as f64) * self.output
    }
}

/// Prices by model, written `model=input/output/cached` and separated by commas,
/// in US dollars per million tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices(Vec<(String, Price)>);

impl Prices {
    /// The paid tier's prices of the default models in November 2026
    /// (<https://ai.google.dev/gemini-api/docs/pricing>). Those of
    /// gemini-3.8-flash double on 1 January 2027.
    pub const DEFAULT: &str = "gemini-3.5-flash-lite=0.30/2.50/0.03,\
                               gemini-3.8-flash=0.75/3.75/0.075";

    /// The price of the model that answered, or of the one that was asked if
    /// the first has none. An entry prices the model it names and that model's
    /// versions: what follows "-" begins with a digit, or is "preview",
    /// "latest" or "exp", alone or before another "-". So "gemini-3.8-flash"
    /// prices "gemini-3.8-flash-002", but not "gemini-3.8-flash-lite". Of
    /// several entries the longest counts.
    pub fn of(&self, answered: &str, asked: &str) -> Option<Price> {
        self.longest(answered).or_else(|| self.longest(asked))
    }

    fn longest(&self, model: &str) -> Option<Price> {
        self.0
            .iter()
            .filter(|(name, _)| model.strip_prefix(name.as_str()).is_some_and(is_version))
            .max_by_key(|(name, _)| name.len())
            .map(|(_, price)| *price)
    }
}

/// Whether this, behind a model's name, names that model or a version of it.
fn is_version(rest: &str) -> bool {
    let Some(version) = rest.strip_prefix('-') else {
        return rest.is_empty();
    };
    let word = version.split('-').next().unwrap_or_default();
    version.starts_with(|c: char| c.is_ascii_digit())
        || matches!(word, "preview" | "latest" | "exp")
}

impl fmt::Display for Prices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (
            i,
            (
                model,
                Price {
                    input,
                    output,
                    cached,
                },
            ),
        ) in self.0.iter().enumerate()
        {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{model}={input}/{output}/{cached}")?;
        }
        Ok(())
    }
}

impl FromStr for Prices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let entries = text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        entries.map(entry).collect::<Result<_, _>>().map(Self)
    }
}

fn entry(text: &str) -> Result<(String, Price), String> {
    let wrong =
        || format!("\"{text}\" is not MODEL=INPUT/OUTPUT/CACHED in US dollars per million tokens");
    let (model, figures) = text.split_once('=').ok_or_else(wrong)?;
    let figures: Vec<f64> = figures
        .split('/')
        .map(|figure| {
            figure
                .trim()
                .parse()
                .ok()
                .filter(|f: &f64| f.is_finite() && *f >= 0.0)
        })
        .collect::<Option<_>>()
        .ok_or_else(wrong)?;
    match (model.trim(), figures.as_slice()) {
        (model, &[input, output, cached]) if !model.is_empty() => Ok((
            model.to_owned(),
            Price {
                input,
                output,
                cached,
            },
        )),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bill_follows_the_published_formula() {
        let prices: Prices = Prices::DEFAULT.parse().unwrap();
        let usage = Usage {
            prompt: 5_000,
            cached: 4_096,
            output: 100,
            thinking: 50,
        };
        let price = prices.of("gemini-3.5-flash-lite-001", "x").unwrap();
        let expected = 904.0 * 0.30 + 4_096.0 * 0.03 + 150.0 * 2.50;
        assert!((price.micro_usd(usage) - expected).abs() < 1e-9);
    }

    #[test]
    fn an_unlisted_answering_model_costs_what_the_asked_one_does() {
        let prices: Prices = "a=1/2/3, a-b=4/5/6".parse().unwrap();
        assert_eq!(prices.of("zzz", "a").unwrap().input, 1.0);
        assert_eq!(prices.of("a-b-001", "a").unwrap().input, 4.0);
        assert_eq!(prices.of("ab", "zzz"), None);
    }

    #[test]
    fn an_entry_prices_versions_of_its_model_and_no_other_model() {
        let prices: Prices = "gemini-3.5-flash=1/2/3".parse().unwrap();
        for version in [
            "",
            "-001",
            "-preview-09-2026",
            "-latest",
            "-exp",
            "-exp-0827",
        ] {
            let model = format!("gemini-3.5-flash{version}");
            assert!(prices.of(&model, "x").is_some(), "{model}");
        }
        for other in ["-lite", "-lite-001", "-experts", "-", "8b"] {
            let model = format!("gemini-3.5-flash{other}");
            assert_eq!(prices.of(&model, "x"), None, "{model}");
        }
    }

    #[test]
    fn a_count_that_cannot_be_true_is_billed_without_a_panic() {
        let price = Price {
            input: 1.0,
            output: 1.0,
            cached: 1.0,
        };
        let usage = Usage {
            prompt: u64::MAX,
            cached: u64::MAX,
            output: u64::MAX,
            thinking: u64::MAX,
        };
        assert!(price.micro_usd(usage) > u64::MAX as f64);
    }

    #[test]
    fn a_wrong_price_table_is_told_by_its_entry() {
        for wrong in ["a", "a=1/2", "a=1/2/x", "=1/2/3", "a=1/2/-3", "a=1/2/inf"] {
            assert!(wrong.parse::<Prices>().unwrap_err().contains(wrong));
        }
    }
}
