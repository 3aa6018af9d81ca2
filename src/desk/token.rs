//! Where the token of each connection comes from.

use std::process::Stdio;
use std::time::Duration;

use secrecy::SecretString;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::group::{Group, shell};

/// A command that takes longer than this hangs.
const DEADLINE: Duration = Duration::from_secs(30);
/// Far more bytes than a token has.
const MOST_BYTES: u64 = 16 * 1024;

/// A token, or the command that prints a new one.
pub enum TokenSource {
    /// The same for every connection.
    Fixed(SecretString),
    /// A shell command, run again for each connection.
    Command(String),
}

/// There is no token to connect with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The shell does not start.
    #[error("the token command cannot be run: {0}")]
    Unrunnable(#[from] std::io::Error),
    /// It failed; its standard error says why.
    #[error("the token command failed: {0}")]
    Failed(std::process::ExitStatus),
    /// It runs for too long.
    #[error(
        "the token command did not end within {}",
        humantime::format_duration(DEADLINE)
    )]
    TooSlow,
    /// It printed something that is no token.
    #[error("the token command printed no token: one line of text is wanted")]
    NoToken,
}

impl TokenSource {
    /// Whether the next token may be another one.
    pub fn is_renewed(&self) -> bool {
        matches!(self, Self::Command(_))
    }

    /// The token for a new connection.
    ///
    /// # Errors
    /// Why the command did not give one.
    pub async fn token(&self) -> Result<SecretString, Error> {
        match self {
            Self::Fixed(token) => Ok(token.clone()),
            Self::Command(command) => {
                let printed = timeout(DEADLINE, printed_by(command));
                printed.await.map_err(|_| Error::TooSlow)?
            }
        }
    }
}

async fn printed_by(command: &str) -> Result<SecretString, Error> {
    let mut shell = shell(command).stdin(Stdio::null()).spawn()?;
    // The shell leads it. It is dropped before the shell is, and reaped.
    let mut group = Group::led_by(shell.id());
    let output = shell.stdout.take().expect("it was asked for");
    let mut printed = Vec::new();
    output.take(MOST_BYTES).read_to_end(&mut printed).await?;
    // One that prints more would wait for us to read on.
    if printed.len() as u64 == MOST_BYTES {
        return Err(Error::NoToken);
    }
    let status = shell.wait().await?;
    // What it has left behind on purpose, such as an agent, may stay.
    group.dissolve();
    if !status.success() {
        return Err(Error::Failed(status));
    }
    let token = String::from_utf8(printed).map_err(|_| Error::NoToken)?;
    let token = token.trim();
    let fit = !token.is_empty() && token.chars().all(|c| c.is_ascii_graphic());
    if fit {
        Ok(token.into())
    } else {
        Err(Error::NoToken)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufRead, BufReader, Read};

    use secrecy::ExposeSecret;
    use tokio::task::spawn_blocking;

    use super::*;

    async fn of(command: &str) -> Result<String, Error> {
        let source = TokenSource::Command(command.to_owned());
        let token = source.token().await?;
        Ok(token.expose_secret().to_owned())
    }

    #[tokio::test]
    async fn the_command_is_run_again_for_each_token() {
        let folder = tempfile::tempdir().unwrap();
        let count = folder.path().join("count");
        let command = format!("echo x >> '{0}'; wc -l < '{0}'", count.display());
        assert_eq!(of(&command).await.unwrap(), "1");
        assert_eq!(of(&command).await.unwrap(), "2");
    }

    #[tokio::test]
    async fn what_is_no_token_is_told_without_a_byte_of_it() {
        for (command, told) in [
            ("echo secret; exit 3", "failed: exit status: 3"),
            ("true", "printed no token"),
            ("echo two secrets", "printed no token"),
            ("yes secret", "printed no token"),
            ("/no/such/program 2>/dev/null", "failed: exit status: 127"),
        ] {
            let error = of(command).await.unwrap_err().to_string();
            assert!(error.contains(told), "{command}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_command_that_is_no_longer_waited_for_leaves_no_process() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let pipe_of = pipe.clone();
        let name = pipe.display();
        assert_eq!(of(&format!("mkfifo '{name}'; echo t")).await.unwrap(), "t");
        let mut reading = spawn_blocking(move || {
            let mut pipe = BufReader::new(File::open(pipe_of).unwrap());
            let mut line = String::new();
            pipe.read_line(&mut line).unwrap();
            (line, pipe)
        });
        let hanging = format!("(echo up; sleep 600; true) > '{name}' & wait");
        let (line, mut pipe) = tokio::select! {
            ended = of(&hanging) => panic!("{ended:?}"),
            read = &mut reading => read.unwrap(),
        };
        assert_eq!(line, "up\n");
        // It ends when nobody can write into it any more.
        let rest = spawn_blocking(move || pipe.read_to_end(&mut Vec::new()));
        let rest = timeout(2 * DEADLINE, rest).await;
        assert_eq!(rest.unwrap().unwrap().unwrap(), 0);
    }
}
