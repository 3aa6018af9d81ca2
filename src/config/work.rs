//! The settings of what outlives a stream: jobs, the user's log, and who may send
//! messages.

use std::fs;
use std::time::Duration;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::check::{MINUTE, duration, given, number, take};
use super::{LocalWorkerSettings, Settings};
use crate::auth::{SHORTEST_TOKEN, ServiceTokens};
use crate::jobs;

/// More could hardly be exchanged one by one.
const MOST_TOKENS: usize = 16;

/// The settings of jobs, logs and messages, not yet checked.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Jobs and messages")]
pub struct WorkSettings {
    /// Jobs of one user that have not ended (1 to 10000); more are refused.
    #[arg(
        long,
        env = "MAX_JOBS_PER_USER",
        default_value = "20",
        value_name = "COUNT"
    )]
    pub max_jobs_per_user: String,
    /// Jobs of all users that have not ended (1 to 1000000); more are refused.
    #[arg(long, env = "MAX_JOBS", default_value = "1000", value_name = "COUNT")]
    pub max_jobs: String,
    /// How long a job that has to search waits for a desktop of its user to be
    /// connected, all in all (0s to 10m). At most RESUME_GRACE of that is added to its
    /// FRAME_TIMEOUT.
    #[arg(
        long,
        env = "JOB_DESKTOP_WAIT",
        default_value = "30s",
        value_name = "DURATION"
    )]
    pub job_desktop_wait: String,
    /// true or 1: a session's frames without a task stand in the user's log, too.
    #[arg(long, env = "LOG_NO_TASK_FOUND", value_name = "BOOL")]
    pub log_no_task_found: Option<String>,
    /// Tokens of the programs that may send messages to users and execute tools, with
    /// commas between them: at least 32 characters each, at most 16 tokens. Without any,
    /// no program is let in.
    #[arg(
        long,
        env = "SERVICE_TOKENS",
        hide_env_values = true,
        value_name = "TOKEN,…"
    )]
    pub service_tokens: Option<SecretString>,
    /// File with more such tokens, one a line. Read at the start.
    #[arg(long, env = "SERVICE_TOKENS_FILE", value_name = "FILE")]
    pub service_tokens_file: Option<String>,
    /// Programs that are started with the server.
    #[command(flatten)]
    pub local: LocalWorkerSettings,
}

impl Settings {
    pub(super) fn jobs(&self, wrong: &mut Vec<String>, at_once: usize) -> jobs::Options {
        let work = &self.work;
        let per_user = &work.max_jobs_per_user;
        let wait = Duration::ZERO..=10 * MINUTE;
        jobs::Options {
            at_once,
            per_user: number(wrong, "MAX_JOBS_PER_USER", per_user, 1..=10_000) as usize,
            at_all: number(wrong, "MAX_JOBS", &work.max_jobs, 1..=1_000_000) as usize,
            desktop_wait: duration(wrong, "JOB_DESKTOP_WAIT", &work.job_desktop_wait, wait),
        }
    }

    pub(super) fn log_no_task(&self, wrong: &mut Vec<String>) -> bool {
        let said = &self.work.log_no_task_found;
        truth(wrong, "LOG_NO_TASK_FOUND", said, false)
    }

    pub(super) fn service_tokens(&self, wrong: &mut Vec<String>) -> ServiceTokens {
        let said = self.work.service_tokens.as_ref();
        let said = said.map_or("", |tokens| tokens.expose_secret());
        let mut tokens = read(wrong, "SERVICE_TOKENS", said.split(','));
        if let Some(path) = given(&self.work.service_tokens_file) {
            const NAME: &str = "SERVICE_TOKENS_FILE";
            let text = fs::read_to_string(path).map_err(|why| format!("{path}: {why}"));
            let text = SecretString::from(take(wrong, NAME, text).unwrap_or_default());
            tokens.extend(read(wrong, NAME, text.expose_secret().lines()));
        }
        if tokens.len() > MOST_TOKENS {
            let count = tokens.len();
            wrong.push(format!(
                "SERVICE_TOKENS: there are {count}; at most {MOST_TOKENS} may be valid at once"
            ));
        }
        ServiceTokens::new(tokens)
    }
}

/// The tokens of a list, told by their place in it if something is wrong with one.
fn read<'a>(
    wrong: &mut Vec<String>,
    name: &str,
    said: impl Iterator<Item = &'a str>,
) -> Vec<SecretString> {
    let tokens = said.map(str::trim).filter(|token| !token.is_empty());
    let judged = tokens.enumerate().map(|(at, token)| {
        let place = at + 1;
        if token.len() < SHORTEST_TOKEN {
            return Err(format!(
                "number {place} has {} characters; it needs at least {SHORTEST_TOKEN}",
                token.len()
            ));
        }
        match token.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(SecretString::from(token)),
            false => Err(format!(
                "number {place} has a space or a character that no header may have"
            )),
        }
    });
    let taken = judged.filter_map(|token| take(wrong, name, token));
    taken.collect()
}

/// What is true or false, and what it is if nothing is said.
pub(super) fn truth(
    wrong: &mut Vec<String>,
    name: &str,
    said: &Option<String>,
    usual: bool,
) -> bool {
    let Some(said) = given(said) else {
        return usual;
    };
    let value = match said.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("\"{said}\" is neither true nor false")),
    };
    take(wrong, name, value).unwrap_or(usual)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn embedded(change: impl FnOnce(&mut WorkSettings)) -> Settings {
        let mut settings = Settings::defaults().embedded();
        change(&mut settings.work);
        settings
    }

    #[test]
    fn e04_service_tokens_come_from_the_environment_and_from_a_file() {
        let [one, two, three] = ["1", "2", "3"].map(|digit| digit.repeat(SHORTEST_TOKEN));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{two}\n\n  {three}").unwrap();
        let settings = embedded(|work| {
            work.service_tokens = Some(format!("{one}, ").into());
            work.service_tokens_file = Some(file.path().display().to_string());
        });
        let tokens = settings.check().unwrap().service_tokens;
        for token in [one, two, three] {
            tokens.admit(Some(&format!("Bearer {token}"))).unwrap();
        }
    }

    #[test]
    fn a_token_that_cannot_be_used_is_told_by_its_place_and_never_shown() {
        let wrong = embedded(|work| {
            let spaced = "with spaces in it, for a token";
            work.service_tokens = Some(format!("hunter2,{spaced}").into());
            work.service_tokens_file = Some("/nowhere/tokens".to_owned());
        });
        let told = wrong.mistakes().to_string();
        assert!(told.contains("number 1 has 7 characters"), "{told}");
        assert!(told.contains("/nowhere/tokens"), "{told}");
        assert!(
            !told.contains("hunter2") && !told.contains("spaces in"),
            "{told}"
        );
    }

    #[test]
    fn what_is_no_count_time_or_truth_is_a_mistake() {
        let wrong = embedded(|work| {
            work.max_jobs = "0".into();
            work.max_jobs_per_user = "all".into();
            work.job_desktop_wait = "1d".into();
            work.log_no_task_found = Some("perhaps".into());
        });
        let expected = [
            "JOB_DESKTOP_WAIT",
            "LOG_NO_TASK_FOUND",
            "MAX_JOBS",
            "MAX_JOBS_PER_USER",
        ];
        assert_eq!(wrong.mistakes().names(), expected);
    }
}
