//! Google's token endpoints, faked: a metadata server, and the endpoint where a
//! refresh token becomes an access token.

use std::fmt::Display;
use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use proactive::config::Settings;
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::PATIENCE;

pub const PROJECT: &str = "vertex-project";
pub const REFRESH_TOKEN: &str = "refresh-token-that-nobody-may-see";
pub const CLIENT_SECRET: &str = "client-secret-that-nobody-may-see";
/// How long its tokens are good, in seconds.
pub const LIFETIME: u64 = 3_600;

/// A server that gives `token-1`, `token-2` and so on.
pub struct FakeGoogle {
    /// Host and port.
    pub host: String,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    /// Answered like this instead.
    fault: Mutex<Option<(StatusCode, String)>>,
    fetches: watch::Sender<u64>,
    held: watch::Sender<bool>,
}

impl FakeGoogle {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared::default());
        let (machine, user) = (shared.clone(), shared.clone());
        let router = Router::new()
            .route(
                "/computeMetadata/v1/instance/service-accounts/default/token",
                get(async move |headers: HeaderMap| {
                    assert_eq!(headers["metadata-flavor"], "Google");
                    machine.answer().await
                }),
            )
            .route(
                "/token",
                post(async move |Json(asked): Json<Value>| {
                    assert_eq!(asked["grant_type"], "refresh_token");
                    assert_eq!(asked["refresh_token"], REFRESH_TOKEN);
                    assert_eq!(asked["client_secret"], CLIENT_SECRET);
                    user.answer().await
                }),
            );
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            host,
            shared,
            _serving: serving,
        }
    }

    /// How often somebody asked.
    pub fn fetches(&self) -> u64 {
        *self.shared.fetches.borrow()
    }

    pub async fn fetched(&self, times: u64) {
        let mut fetches = self.shared.fetches.subscribe();
        let enough = fetches.wait_for(|fetches| *fetches >= times);
        timeout(PATIENCE, enough).await.unwrap().unwrap();
    }

    /// From now on it answers with this status and body.
    pub fn fails(&self, status: u16, body: impl Display) {
        let status = StatusCode::from_u16(status).unwrap();
        *self.shared.fault.lock().unwrap() = Some((status, body.to_string()));
    }

    pub fn works(&self) {
        *self.shared.fault.lock().unwrap() = None;
    }

    /// Whether it keeps those waiting who ask.
    pub fn holds(&self, held: bool) {
        self.shared.held.send_replace(held);
    }

    /// The credentials file of a user, whose token endpoint is this one.
    pub fn user_file(&self) -> NamedTempFile {
        file(&json!({
            "type": "authorized_user",
            "client_id": "client",
            "client_secret": CLIENT_SECRET,
            "refresh_token": REFRESH_TOKEN,
            "quota_project_id": "paying-project",
            "token_uri": format!("http://{}/token", self.host),
        }))
    }
}

impl Shared {
    async fn answer(&self) -> Response {
        let mut number = 0;
        self.fetches.send_modify(|fetches| {
            *fetches += 1;
            number = *fetches;
        });
        let mut held = self.held.subscribe();
        held.wait_for(|held| !held).await.unwrap();
        if let Some(fault) = self.fault.lock().unwrap().clone() {
            return fault.into_response();
        }
        Json(json!({
            "access_token": format!("token-{number}"),
            "expires_in": LIFETIME,
            "token_type": "Bearer",
        }))
        .into_response()
    }
}

/// A service account's key file, and the key.
pub fn account_file() -> (NamedTempFile, KeyPair) {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let account = file(&json!({
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "key-of-a-test",
        "private_key": key.serialize_pem(),
        "client_email": "server@vertex-project.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    }));
    (account, key)
}

fn file(content: &Value) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    write!(file, "{content}").unwrap();
    file
}

/// Settings that ask Vertex AI.
pub fn on_vertex(settings: &mut Settings, location: &str) {
    settings.google_genai_use_vertexai = Some("true".into());
    settings.google_cloud_project = Some(PROJECT.into());
    settings.google_cloud_location = Some(location.into());
}
