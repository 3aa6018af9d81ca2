//! `proactive serve --dev`: the service with a token and commands to paste, for
//! whoever tries it. `docs/probing.md` has the same commands.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::app::{self, reachable};
use crate::config::Config;
use crate::embedded::{self, Embedded};
use crate::stand_in::{self, StandIn};
use crate::world::World;

const USER: &str = "dev-user";
/// Half of a token's life: the one in the file is always good for as long again.
const RENEWAL: Duration = Duration::from_secs(30 * 60);
/// A whole JPEG of one grey pixel: the smallest that decoders take.
const JPEG: &str = "/9j/2wBDAAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB\
                    AQEBAQEBAQEBAQEBAQH/wAALCAABAAEBAREA/8QAJgABAAAAAAAAAAAAAAAAAAAAABABAAAAAAAAAAAA\
                    AAAAAAAAAP/aAAgBAQAAPwA//9k=";
const SERVICE: &str = "proactive.v1.ProactiveAI";

/// Why it could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The service could not start.
    #[error(transparent)]
    Service(#[from] embedded::Error),
    /// Choose another file.
    #[error("--dev-token-file: cannot write {}: {cause}", path.display())]
    TokenFile {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        cause: io::Error,
    },
}

/// A service to be tried.
pub struct Trial {
    service: Embedded,
    stand_in: bool,
    token_file: Option<PathBuf>,
}

impl Trial {
    /// Starts it, with a stand-in for the model or without. Takes streams when
    /// this returns.
    ///
    /// # Errors
    /// Why that is not possible.
    pub async fn start(
        mut config: Config,
        stand_in: bool,
        token_file: Option<PathBuf>,
    ) -> Result<Self, Error> {
        tracing::warn!(
            "--dev: TOKENS ARE SIGNED WITH A KEY OF THIS PROCESS, and whoever has one is a user; \
             NEVER IN PRODUCTION"
        );
        let address = config.grpc.address.ip();
        if !address.is_loopback() {
            tracing::warn!(
                %address,
                "--dev: BIND_ADDRESS LETS OTHER MACHINES CONNECT, and without TLS"
            );
        }
        config.http.page = true;
        let world = World::real();
        let model = stand_in.then(|| StandIn::new(stand_in::Options::default(), world.clone()));
        let service = Embedded::start(config, model, world).await?;
        service.ready().await;
        if let Some(path) = &token_file {
            write_token(path, &service.token_with_devices(USER)).map_err(|cause| {
                Error::TokenFile {
                    path: path.clone(),
                    cause,
                }
            })?;
        }
        Ok(Self {
            service,
            stand_in,
            token_file,
        })
    }

    /// What to print for the person who tries it.
    pub fn page(&self) -> impl fmt::Display {
        Page {
            grpc: reachable(self.service.grpc_addr()),
            http: reachable(self.service.server.http_addr()),
            admin: reachable(self.service.server.admin_addr()),
            token: self.service.token_with_devices(USER),
            stand_in: self.stand_in,
        }
    }

    /// Keeps the token in the file fresh; ends only if a part of the server fails.
    pub async fn failed(&mut self) -> app::Error {
        loop {
            tokio::select! {
                error = self.service.server.failed() => return error,
                () = tokio::time::sleep(RENEWAL) => {}
            }
            let Some(path) = &self.token_file else {
                continue;
            };
            if let Err(error) = write_token(path, &self.service.token_with_devices(USER)) {
                tracing::warn!(%error, "the token in --dev-token-file could not be renewed");
            }
        }
    }

    /// Stops everything in good order.
    pub async fn stop(self) {
        self.service.stop().await;
    }
}

/// The page for the terminal. Commands, and nothing else, are indented by four.
struct Page {
    grpc: SocketAddr,
    http: SocketAddr,
    admin: SocketAddr,
    token: String,
    stand_in: bool,
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            grpc,
            http,
            admin,
            token,
            stand_in,
        } = self;
        let model = match stand_in {
            true => {
                "a stand-in that decides by simple rules; set GEMINI_API_KEY to ask the real one"
            }
            false => "Gemini, as the environment says; frames cost what they cost",
        };
        let call = r#"grpcurl -plaintext -H "authorization: Bearer $TOKEN""#;
        let session = format!("{grpc} {SERVICE}/Session");
        let hello = r#"{"client_hello": {"protocol_version": "1.1", "session_context": {}}}"#;
        let code = format!(
            r#"{{"frame_event": {{"screenshot_id": "shot-1", "ocr_text": "fn main() {{}}", "jpeg_bytes": "{JPEG}"}}}}"#
        );
        let request = r#"{"frame_event": {"screenshot_id": "shot-2", "ocr_text": "Hi, can you send the Berlin office the signed lease before Tuesday?"}}"#;
        let answer = r#"{"tool_result": {"request_id": "%s", "result": {}}}"#;
        write!(
            f,
            r#"
ProactiveAI, to be tried and not for production: gRPC at {grpc}, HTTP at http://{http},
state at http://{admin}/readyz.
The model is {model}.
Ctrl-C ends it.

To see it work in a browser, open this. Browsers send nobody what stands behind the #:

  http://{http}/#token={token}

Paste into another terminal (sh, bash or zsh). A token of the user dev-user, good for an hour:

    TOKEN='{token}'

What is served, and whether streams are taken:

    grpcurl -plaintext {grpc} list
    grpcurl -plaintext -d '{{"service": "{SERVICE}"}}' {grpc} grpc.health.v1.Health/Check

The handshake; SessionReady comes back:

    {call} \
      -d '{hello}' \
      {session}

A screen without a request; NO_TASK_FOUND comes back, without a search:

    {call} \
      -d '{hello}
          {code}' \
      {session}

A screen with a request. The server asks for searches, and each is answered on grpcurl's standard
input, as a desktop does from its tasks; these answers say that nothing was found, so that a new
task comes back:

    last= pipe=$(mktemp -u) && mkfifo -m 600 "$pipe" && exec 9<> "$pipe" && rm "$pipe"
    {{
      printf '%s\n' '{hello}'
      printf '%s\n' '{request}'
      sleep 1; printf '%s\n' '{{"heartbeat": {{}}}}'
      while IFS= read -r answer <&9 && test -n "$answer"; do printf '%s\n' "$answer"; done
    }} |
    {call} -d @ \
      {session} | {{
      while IFS= read -r line && printf '%s\n' "$line" >&2; do
        case $line in
          *'"requestId"'*) id=${{line#*: \"}} && printf '{answer}\n' "${{id%%\"*}}" ;;
          *'"analysisOutcome"'* | *'"serverError"'*) last=yes ;;
          '}}') test -z "$last" || break ;;
        esac
      done
      echo
    }} >&9; exec 9>&-

"#
        )
    }
}

/// Writes the token to a file of nobody else's, whole: no reader finds half of
/// one. It stays when the server ends, and is worth nothing then.
fn write_token(path: &Path, token: &str) -> io::Result<()> {
    let mut next = path.as_os_str().to_owned();
    next.push(".new");
    // Left by a process that was killed; its mode is not known.
    let _ = fs::remove_file(&next);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&next)?;
    writeln!(file, "{token}")?;
    fs::rename(&next, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::config::Settings;
    use crate::domain::Image;

    #[test]
    fn the_pasted_picture_is_a_whole_jpeg() {
        let jpeg = STANDARD.decode(JPEG).unwrap();
        assert!(Image::jpeg(jpeg.into()).is_ok());
    }

    #[tokio::test]
    async fn the_token_file_is_for_its_owner_alone_and_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let mut settings = Settings::defaults().dev();
        settings.grpc_port = "0".into();
        settings.admin_port = "0".into();
        let config = settings.check().unwrap();
        let trial = Trial::start(config, true, Some(path.clone())).await;
        let mut trial = trial.unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&path, "expired").unwrap();
        tokio::time::pause();
        tokio::select! {
            error = trial.failed() => panic!("{error}"),
            () = tokio::time::sleep(RENEWAL * 3 / 2) => {}
        }
        let token = fs::read_to_string(&path).unwrap();
        assert!(token.starts_with("eyJ") && token.ends_with('\n'), "{token}");
        trial.stop().await;
    }
}
