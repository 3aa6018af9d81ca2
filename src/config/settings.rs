//! Every setting as it is written: in the environment, or as a flag that wins
//! over it.

use clap::Args;
use secrecy::SecretString;

use super::{EventSettings, TlsSettings, ToolSettings, WorkSettings};

/// The settings of `proactive serve`, not yet checked. All of them may come
/// from the environment alone.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// The Gemini API key. GOOGLE_API_KEY wins if both are set. Required, unless
    /// Vertex AI is asked.
    #[arg(
        long,
        env = "GEMINI_API_KEY",
        hide_env_values = true,
        value_name = "KEY",
        help_heading = "Model"
    )]
    pub gemini_api_key: Option<SecretString>,
    /// The same, under the other name that Google's SDKs use.
    #[arg(
        long,
        env = "GOOGLE_API_KEY",
        hide_env_values = true,
        value_name = "KEY",
        help_heading = "Model"
    )]
    pub google_api_key: Option<SecretString>,
    /// The model that is asked. One that is not called gemini-… is asked as well,
    /// with a warning: a proxy may know it.
    #[arg(
        long,
        env = "GEMINI_MODEL",
        default_value = "gemini-3.5-flash-lite",
        value_name = "NAME",
        help_heading = "Model"
    )]
    pub gemini_model: String,
    /// The model that is shown a frame anew when the first is out of order: it
    /// cannot be reached, does not answer in time or says so. Without it, such
    /// frames end with GEMINI_ERROR.
    #[arg(
        long,
        env = "GEMINI_FALLBACK_MODEL",
        value_name = "NAME",
        help_heading = "Model"
    )]
    pub gemini_fallback_model: Option<String>,
    /// Where the Gemini API is; version and model are put behind it. A path before
    /// them is for a proxy. Not used on Vertex AI.
    #[arg(
        long,
        env = "GOOGLE_GEMINI_BASE_URL",
        hide_env_values = true,
        default_value = crate::gemini::GEMINI_URL,
        value_name = "URL",
        help_heading = "Model"
    )]
    pub google_gemini_base_url: String,
    /// The API's version; v1 refuses function calling on some models. Without it:
    /// v1beta, on Vertex AI v1beta1.
    #[arg(
        long,
        env = "GEMINI_API_VERSION",
        value_name = "VERSION",
        help_heading = "Model"
    )]
    pub gemini_api_version: Option<String>,
    /// How much the model thinks: minimal, low, medium, high, or default (its
    /// own choice).
    #[arg(
        long,
        env = "GEMINI_THINKING_LEVEL",
        default_value = "default",
        value_name = "LEVEL",
        help_heading = "Model"
    )]
    pub gemini_thinking_level: String,
    /// How closely the model looks at a screenshot: low, medium or high (280,
    /// 560 or 1,120 tokens at 1280x800).
    #[arg(
        long,
        env = "GEMINI_MEDIA_RESOLUTION",
        default_value = "medium",
        value_name = "RESOLUTION",
        help_heading = "Model"
    )]
    pub gemini_media_resolution: String,
    /// Tokens of one answer at most, thinking included (256 to 65536).
    #[arg(
        long,
        env = "GEMINI_MAX_OUTPUT_TOKENS",
        default_value = "4096",
        value_name = "TOKENS",
        help_heading = "Model"
    )]
    pub gemini_max_output_tokens: String,
    /// Prices for the bill, in US dollars per million tokens.
    #[arg(long, env = "GEMINI_PRICES", default_value = crate::gemini::Prices::DEFAULT, value_name = "MODEL=IN/OUT/CACHED,…", help_heading = "Model")]
    pub gemini_prices: String,
    /// true or 1: the model is asked on Vertex AI, with access tokens; a Gemini API
    /// key is not used then, even if one is set. false, 0 or nothing: by key.
    #[arg(
        long,
        env = "GOOGLE_GENAI_USE_VERTEXAI",
        value_name = "BOOL",
        help_heading = "Vertex AI"
    )]
    pub google_genai_use_vertexai: Option<String>,
    /// The project whose Vertex AI is asked; required there. Also the Firebase
    /// project, if FIREBASE_PROJECT_ID is not set.
    #[arg(
        long,
        env = "GOOGLE_CLOUD_PROJECT",
        value_name = "PROJECT",
        help_heading = "Vertex AI"
    )]
    pub google_cloud_project: Option<String>,
    /// Where the model runs: a region such as europe-west4, a multi-region (us or
    /// eu), or global. Required on Vertex AI: it decides where screens are read.
    #[arg(
        long,
        env = "GOOGLE_CLOUD_LOCATION",
        value_name = "LOCATION",
        help_heading = "Vertex AI"
    )]
    pub google_cloud_location: Option<String>,
    /// Where Vertex AI is; version, project and model are put behind it. A path
    /// before them is for a proxy. Without it, as the location says.
    #[arg(
        long,
        env = "GOOGLE_VERTEX_BASE_URL",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "Vertex AI"
    )]
    pub google_vertex_base_url: Option<String>,
    /// A credentials file: a service account's key, or another that Google's
    /// libraries take. Without it, what `gcloud auth application-default login`
    /// stored; without that, the metadata server is asked (GKE, Cloud Run).
    #[arg(
        long,
        env = "GOOGLE_APPLICATION_CREDENTIALS",
        value_name = "FILE",
        help_heading = "Vertex AI"
    )]
    pub google_application_credentials: Option<String>,
    /// The metadata server, if it is not metadata.google.internal; asked then even
    /// if gcloud stored credentials. Here the variable wins over the flag.
    #[arg(
        long,
        env = "GCE_METADATA_HOST",
        value_name = "HOST[:PORT]",
        help_heading = "Vertex AI"
    )]
    pub gce_metadata_host: Option<String>,
    /// One HTTP call to the model (1s to 5m).
    #[arg(
        long,
        env = "MODEL_TIMEOUT",
        default_value = "30s",
        value_name = "DURATION",
        help_heading = "Limits"
    )]
    pub model_timeout: String,
    /// Calls to the model under way at once, in this process (1 to 10000); beyond
    /// it users take turns. The four connections carry 400 where the model's
    /// server allows 100 on each, as is usual; further ones would wait unfairly.
    #[arg(
        long,
        env = "MODEL_CALLS_AT_ONCE",
        default_value = "400",
        value_name = "CALLS",
        help_heading = "Limits"
    )]
    pub model_calls_at_once: String,
    /// So many failed calls within MODEL_CIRCUIT_WINDOW, if they are at least half
    /// of its calls, and the model is not asked for a while (0 to 10000; 0: it is
    /// always asked).
    #[arg(
        long,
        env = "MODEL_CIRCUIT_FAILURES",
        default_value = "5",
        value_name = "CALLS",
        help_heading = "Limits"
    )]
    pub model_circuit_failures: String,
    /// How long a call to the model counts for that, give or take a half (1s to
    /// 10m).
    #[arg(
        long,
        env = "MODEL_CIRCUIT_WINDOW",
        default_value = "60s",
        value_name = "DURATION",
        help_heading = "Limits"
    )]
    pub model_circuit_window: String,
    /// How long the model is not asked then, before one call tries (100ms to 10m);
    /// up to a quarter more by chance.
    #[arg(
        long,
        env = "MODEL_CIRCUIT_OPEN",
        default_value = "30s",
        value_name = "DURATION",
        help_heading = "Limits"
    )]
    pub model_circuit_open: String,
    /// One search on a desktop (100ms to 5m).
    #[arg(
        long,
        env = "TOOL_TIMEOUT",
        default_value = "10s",
        value_name = "DURATION",
        help_heading = "Limits"
    )]
    pub tool_timeout: String,
    /// One frame from acceptance to answer (1s to 10m); longer than one model
    /// call and one search.
    #[arg(
        long,
        env = "FRAME_TIMEOUT",
        default_value = "60s",
        value_name = "DURATION",
        help_heading = "Limits"
    )]
    pub frame_timeout: String,
    /// Turns the model gets per frame (2 to 20).
    #[arg(
        long,
        env = "MAX_MODEL_ITERATIONS",
        default_value = "5",
        value_name = "TURNS",
        help_heading = "Limits"
    )]
    pub max_model_iterations: String,
    /// Frames of one session analysed at once (1 to 16); one more may wait. As many
    /// jobs of one user are, and the others wait.
    #[arg(
        long,
        env = "FRAMES_PER_SESSION",
        default_value = "2",
        value_name = "FRAMES",
        help_heading = "Limits"
    )]
    pub frames_per_session: String,
    /// Between two heartbeats to a client (1s to 5m); shorter than the idle
    /// timeout of every balancer in between.
    #[arg(
        long,
        env = "HEARTBEAT_INTERVAL",
        default_value = "20s",
        value_name = "DURATION",
        help_heading = "Limits"
    )]
    pub heartbeat_interval: String,
    /// How long a client may leave its answers unread (1s to 5m).
    #[arg(
        long,
        env = "SLOW_CLIENT_TIMEOUT",
        default_value = "10s",
        value_name = "DURATION",
        help_heading = "Limits"
    )]
    pub slow_client_timeout: String,
    /// By when a stream must have brought a hello or a frame (1s to 5m).
    #[arg(
        long,
        env = "HELLO_TIMEOUT",
        default_value = "10s",
        value_name = "DURATION",
        help_heading = "Limits"
    )]
    pub hello_timeout: String,
    /// How long a stream lives at most (1m to 24h). A tenth of it less, by chance,
    /// so that streams which opened together do not end together. A client that can
    /// resume takes its session along.
    #[arg(
        long,
        env = "STREAM_MAX_AGE",
        default_value = "2h",
        value_name = "DURATION",
        help_heading = "Limits"
    )]
    pub stream_max_age: String,
    /// How long a stream may outlive the token that opened it (0s to 1h).
    #[arg(
        long,
        env = "TOKEN_LEEWAY",
        default_value = "5m",
        value_name = "DURATION",
        help_heading = "Limits"
    )]
    pub token_leeway: String,
    /// How long a session whose stream broke waits to be resumed (0s to 10m).
    #[arg(
        long,
        env = "RESUME_GRACE",
        default_value = "30s",
        value_name = "DURATION",
        help_heading = "Limits"
    )]
    pub resume_grace: String,
    /// Sessions of one user at once (1 to 1000000); a stream beyond them is refused with
    /// RESOURCE_EXHAUSTED.
    #[arg(
        long,
        env = "MAX_SESSIONS_PER_USER",
        default_value = "20",
        value_name = "SESSIONS",
        help_heading = "Limits"
    )]
    pub max_sessions_per_user: String,
    /// Frames of one user in a minute, in all sessions (1 to 1000000), and as many at once;
    /// those beyond end as RATE_LIMITED with the time to wait.
    #[arg(
        long,
        env = "FRAMES_PER_MINUTE",
        default_value = "300",
        value_name = "FRAMES",
        help_heading = "Limits"
    )]
    pub frames_per_minute: String,
    /// What one user's messages and frames under way may hold in memory (24 MiB to 1 TiB);
    /// frames beyond end as OVERLOADED.
    #[arg(
        long,
        env = "MAX_BYTES_IN_FLIGHT_PER_USER",
        default_value = "32MiB",
        value_name = "SIZE",
        help_heading = "Limits"
    )]
    pub max_bytes_in_flight_per_user: String,
    /// Sessions of all users at once (1 to 1000000); a stream beyond them is refused with
    /// UNAVAILABLE.
    #[arg(
        long,
        env = "MAX_SESSIONS",
        default_value = "10000",
        value_name = "SESSIONS",
        help_heading = "Limits"
    )]
    pub max_sessions: String,
    /// What all sessions, messages and frames under way may hold in memory (32 MiB to
    /// 1 TiB); frames beyond end as OVERLOADED. Without it, half of what the process's
    /// control group may have; 1 GiB if that has no limit.
    #[arg(
        long,
        env = "MEMORY_CEILING",
        value_name = "SIZE",
        help_heading = "Limits"
    )]
    pub memory_ceiling: Option<String>,
    /// Connections at once, gRPC and HTTP together (1 to 1000000); those beyond are closed. Without it, a tenth
    /// and 100 more than MAX_SESSIONS, but at most three quarters of the files that the process
    /// may have open.
    #[arg(
        long,
        env = "MAX_CONNECTIONS",
        value_name = "CONNECTIONS",
        help_heading = "Limits"
    )]
    pub max_connections: Option<String>,
    /// How long accepted frames may take to finish after SIGTERM (0s to 10m);
    /// a few seconds less than Kubernetes' grace period.
    #[arg(
        long,
        env = "DRAIN_GRACE",
        default_value = "25s",
        value_name = "DURATION",
        help_heading = "Limits"
    )]
    pub drain_grace: String,
    /// Over how much of that the desktops are told to leave, each at a moment of its
    /// own, so that they do not all come to the other servers at once (0s to 5m; at
    /// most half of DRAIN_GRACE is used).
    #[arg(
        long,
        env = "DRAIN_SPREAD",
        default_value = "5s",
        value_name = "DURATION",
        help_heading = "Limits"
    )]
    pub drain_spread: String,
    /// The Firebase project whose users may connect: its id, not its number.
    /// Without it, GOOGLE_CLOUD_PROJECT, or the project of SERVICE_ACCOUNT_JSON.
    /// Required.
    #[arg(
        long,
        env = "FIREBASE_PROJECT_ID",
        value_name = "PROJECT",
        help_heading = "Authentication"
    )]
    pub firebase_project_id: Option<String>,
    /// A service account's key file as JSON; only its project_id is read.
    #[arg(
        long,
        env = "SERVICE_ACCOUNT_JSON",
        hide_env_values = true,
        value_name = "JSON",
        help_heading = "Authentication"
    )]
    pub service_account_json: Option<SecretString>,
    /// Set (as for the Firebase Admin SDKs): tokens of the Firebase Auth
    /// emulator are accepted, unsigned. Never in production.
    #[arg(
        long,
        env = "FIREBASE_AUTH_EMULATOR_HOST",
        value_name = "HOST:PORT",
        help_heading = "Authentication"
    )]
    pub firebase_auth_emulator_host: Option<String>,
    /// Where the public keys are: X.509 certificates by key id, or a JWK set.
    #[arg(long, env = "FIREBASE_KEYS_URL", hide_env_values = true, default_value = crate::auth::DEFAULT_KEYS_URL, value_name = "URL", help_heading = "Authentication")]
    pub firebase_keys_url: String,
    /// How far clocks may differ (0s to 60s).
    #[arg(
        long,
        env = "TOKEN_CLOCK_SKEW",
        default_value = "10s",
        value_name = "DURATION",
        help_heading = "Authentication"
    )]
    pub token_clock_skew: String,
    /// How long known keys are used beyond their time while new ones cannot be
    /// fetched (0s to 24h).
    #[arg(
        long,
        env = "FIREBASE_KEYS_MAX_STALE",
        default_value = "6h",
        value_name = "DURATION",
        help_heading = "Authentication"
    )]
    pub firebase_keys_max_stale: String,
    /// Where users' logs are kept, and how much of them.
    #[command(flatten)]
    pub events: EventSettings,
    /// The address to listen on [default: 0.0.0.0]. With --dev it is 127.0.0.1,
    /// unless this is given.
    #[arg(
        long,
        env = "BIND_ADDRESS",
        value_name = "IP",
        help_heading = "Listening"
    )]
    pub bind_address: Option<String>,
    /// gRPC; 0 means any free port, told in the log.
    #[arg(
        long,
        env = "GRPC_PORT",
        default_value = "50051",
        value_name = "PORT",
        help_heading = "Listening"
    )]
    pub grpc_port: String,
    /// WebSocket, and whatever else is HTTP for users; 0 means any free port, told
    /// in the log.
    #[arg(
        long,
        env = "HTTP_PORT",
        default_value = "8080",
        value_name = "PORT",
        help_heading = "Listening"
    )]
    pub http_port: String,
    /// Whose web pages may use that port from a browser, beside those of its own
    /// host: origins (scheme, host, and a port that is not the usual one), with
    /// commas in between.
    #[arg(
        long,
        env = "HTTP_ALLOWED_ORIGINS",
        value_name = "ORIGIN,…",
        help_heading = "Listening"
    )]
    pub http_allowed_origins: Option<String>,
    /// Liveness, readiness and metrics over HTTP; 0 means any free port.
    #[arg(
        long,
        env = "ADMIN_PORT",
        default_value = "9464",
        value_name = "PORT",
        help_heading = "Listening"
    )]
    pub admin_port: String,
    /// TLS that ends here.
    #[command(flatten)]
    pub tls: TlsSettings,
    /// Jobs, logs and messages.
    #[command(flatten)]
    pub work: WorkSettings,
    /// Tools.
    #[command(flatten)]
    pub tools: ToolSettings,
}
