//! The table: what was measured, what it may be, and whether it is.

use std::process::ExitCode;

/// A median with the least and the most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let [least, .., most] = values[..] else {
            let only = values.first().copied().unwrap_or(f64::NAN);
            return Self {
                least: only,
                median: only,
                most: only,
            };
        };
        let median = values[values.len() / 2];
        Self {
            least,
            median,
            most,
        }
    }

    pub(crate) fn with(self, unit: &str) -> String {
        let digits = if unit.is_empty() { 2 } else { 1 };
        let number = |value: f64| format!("{value:.digits$}");
        let spread = if self.least == self.most {
            String::new()
        } else {
            format!("({} to {})", number(self.least), number(self.most))
        };
        format!("{:>9} {unit:2} {spread}", number(self.median))
    }
}

/// How the program of this name ends.
pub(crate) fn exit(name: &str, done: super::Result<ExitCode>) -> ExitCode {
    done.unwrap_or_else(|error| {
        eprintln!("{name}: {error}");
        ExitCode::FAILURE
    })
}

/// Prints as it goes, and remembers whether a bound was broken.
#[derive(Default)]
pub(crate) struct Report {
    broken: usize,
}

impl Report {
    pub(crate) fn heading(&self, text: &str) {
        println!("\n{text}");
    }

    pub(crate) fn fact(&self, name: &str, value: String) {
        println!("  {name:36} {value}");
    }

    /// `most` is the largest median allowed.
    pub(crate) fn bound(&mut self, name: &str, value: Spread, most: f64) {
        // A value that is no number is not within the bound.
        let within = value.median <= most;
        self.broken += usize::from(!within);
        let verdict = if within { "PASS" } else { "FAIL" };
        let value = value.with("");
        println!("  {name:36} {value:32} at most {most:4.2}  {verdict}");
    }

    pub(crate) fn verdict(&self) -> ExitCode {
        println!();
        match self.broken {
            0 => {
                println!("All bounds hold.");
                ExitCode::SUCCESS
            }
            broken => {
                println!("{broken} bounds are broken.");
                ExitCode::FAILURE
            }
        }
    }
}
