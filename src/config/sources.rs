//! Where settings come from: the environment, their defaults, or what a server
//! is for.

use clap::{Command, CommandFactory, FromArgMatches, Parser};

use super::check::{given, secret};
use super::{LocalWorkerSettings, Mistakes, Settings, TlsSettings, WorkSettings};

/// Wrapped, because settings alone are not a command.
#[derive(Debug, Parser)]
struct Alone {
    #[command(flatten)]
    settings: Settings,
}

impl Settings {
    /// What the environment says, and defaults for the rest.
    ///
    /// # Errors
    /// Values that are not text.
    pub fn from_environment() -> Result<Self, Mistakes> {
        Self::parse(Alone::command())
    }

    /// The defaults, whatever the environment says.
    pub fn defaults() -> Self {
        let deaf = Alone::command().mut_args(|arg| arg.env(None::<&'static str>));
        Self::parse(deaf).expect("every default is text")
    }

    /// For a server inside this process, reached over loopback only: free
    /// ports, no TLS, a project and keys of its own, and a placeholder key if
    /// there is none, for a stand-in does not need one.
    #[must_use]
    pub fn embedded(mut self) -> Self {
        self.bind_address = Some("127.0.0.1".to_owned());
        self.grpc_port = "0".to_owned();
        self.http_port = "0".to_owned();
        self.admin_port = "0".to_owned();
        self.tls = TlsSettings::default();
        self.firebase_project_id = Some("demo-proactive".to_owned());
        self.firebase_auth_emulator_host = None;
        // It leaves nothing behind, and others like it may run beside it.
        self.events.data_dir = None;
        self.work.local = LocalWorkerSettings::default();
        // There is nobody to spread.
        self.drain_spread = "0s".to_owned();
        if !self.has_model() {
            self.gemini_api_key = Some("no-key".into());
        }
        self
    }

    /// For `serve --dev`: embedded, but on the ports that are asked for, and on
    /// another address than loopback if that is given. Its logs are kept where they are
    /// to be, and local workers are started.
    #[must_use]
    pub fn dev(self) -> Self {
        let address = given(&self.bind_address).map(str::to_owned);
        let Self {
            grpc_port,
            http_port,
            admin_port,
            events,
            work: WorkSettings { local, .. },
            ..
        } = self.clone();
        let embedded = self.embedded();
        Self {
            bind_address: address.or(embedded.bind_address.clone()),
            grpc_port,
            http_port,
            admin_port,
            events,
            work: WorkSettings {
                local,
                ..embedded.work
            },
            ..embedded
        }
    }

    /// Whether they name a model to ask: by a Gemini key, or on Vertex AI.
    pub fn has_model(&self) -> bool {
        let keys = [&self.google_api_key, &self.gemini_api_key];
        self.on_vertex() || keys.into_iter().any(|key| secret(key).is_some())
    }

    fn parse(command: Command) -> Result<Self, Mistakes> {
        let matches = command.try_get_matches_from(["proactive"]);
        let alone = matches.and_then(|matches| Alone::from_arg_matches(&matches));
        alone
            .map(|alone| alone.settings)
            .map_err(|error| Mistakes(vec![error.to_string()]))
    }
}
