//! Which of Google's two doors the model is asked at, and who asks there.

use secrecy::SecretString;

use super::Credentials;

/// Where the Gemini API is.
pub const GEMINI_URL: &str = "https://generativelanguage.googleapis.com";

/// The door, and what opens it.
#[derive(Clone, Debug)]
pub enum Access {
    /// The Gemini API. The key goes into the `x-goog-api-key` header, never into
    /// a URL.
    Key(SecretString),
    /// Vertex AI.
    Vertex(Vertex),
}

/// Vertex AI of one project, in one place.
#[derive(Clone, Debug)]
pub struct Vertex {
    /// The project's id or number.
    pub project: String,
    /// A region, a multi-region ("us" or "eu") or "global".
    pub location: String,
    /// Access tokens go into the `authorization` header.
    pub credentials: Credentials,
}

impl Access {
    /// The API's version that has all we need.
    pub fn usual_version(&self) -> &'static str {
        match self {
            Self::Key(_) => "v1beta",
            Self::Vertex(_) => "v1beta1",
        }
    }

    /// What stands between the API's version and "models/".
    pub(super) fn path(&self) -> String {
        match self {
            Self::Key(_) => String::new(),
            Self::Vertex(Vertex {
                project, location, ..
            }) => format!("projects/{project}/locations/{location}/publishers/google/"),
        }
    }
}

/// Where Vertex AI is, by its location. The hosts are those of Google's own
/// client (google-genai 3.4.0), with which `tests/vertex` compares them.
pub fn vertex_url(location: &str) -> String {
    match location {
        "global" => "https://aiplatform.googleapis.com".to_owned(),
        "us" | "eu" => format!("https://aiplatform.{location}.rep.googleapis.com"),
        region => format!("https://{region}-aiplatform.googleapis.com"),
    }
}
