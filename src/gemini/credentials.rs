//! Who this server is to Google Cloud: a credentials file, or the metadata server
//! of the machine. Google's own library makes access tokens of either.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;

use google_cloud_auth::build_errors;
use google_cloud_auth::credentials::{
    self as google, external_account, impersonated, mds, service_account, user_account,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

/// Application Default Credentials, found by the configuration. Shows nothing
/// secret.
#[derive(Clone)]
pub struct Credentials(Source);

#[derive(Clone)]
enum Source {
    File(Kind, Arc<Value>),
    /// At this host, or the usual one.
    Metadata(Option<String>),
}

#[derive(Clone, Copy)]
enum Kind {
    ServiceAccount,
    AuthorizedUser,
    ExternalAccount,
    Impersonated,
}

/// Why a credentials file cannot be used; a sentence without anything of its
/// content but names of fields.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Another file, or download it again.
    #[error("is not a JSON object")]
    NotJson,
    /// Another file.
    #[error(
        "has no \"type\" that is known: service_account, authorized_user, external_account or \
         impersonated_service_account"
    )]
    UnknownKind,
    /// Download it again.
    #[error("is not a whole {kind} file{}", missing(.field))]
    Incomplete {
        /// What it says it is.
        kind: &'static str,
        /// The field without which it cannot be used, if that is why.
        field: Option<String>,
    },
    /// Download it again.
    #[error("has a private_key that is no RSA key in PKCS#8 PEM")]
    PrivateKey,
}

fn missing(field: &Option<String>) -> String {
    let named = |field: &String| format!(": {field} is missing");
    field.as_ref().map_or_else(String::new, named)
}

impl Credentials {
    /// Those of a credentials file with this text.
    ///
    /// # Errors
    /// Why it is none.
    pub fn from_json(text: &str) -> Result<Self, Unusable> {
        let file: Value = serde_json::from_str(text).map_err(|_| Unusable::NotJson)?;
        if !file.is_object() {
            return Err(Unusable::NotJson);
        }
        let kind = match file["type"].as_str() {
            Some("service_account") => Kind::ServiceAccount,
            Some("authorized_user") => Kind::AuthorizedUser,
            Some("external_account") => Kind::ExternalAccount,
            Some("impersonated_service_account") => Kind::Impersonated,
            _ => return Err(Unusable::UnknownKind),
        };
        let credentials = Self(Source::File(kind, Arc::new(file)));
        credentials.try_out()?;
        Ok(credentials)
    }

    /// Those of the machine, by its metadata server: at this host and port, or at
    /// metadata.google.internal.
    pub fn of_the_machine(host: Option<&str>) -> Self {
        Self(Source::Metadata(host.map(str::to_owned)))
    }

    /// Google's library looks through a file only when it builds, and at the key
    /// only when it signs. What it builds asks for a token from then on, so that
    /// this happens in a runtime that never runs.
    fn try_out(&self) -> Result<(), Unusable> {
        let Source::File(kind, file) = &self.0 else {
            return Ok(());
        };
        let still = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime without drivers needs nothing of the system");
        let built = {
            let _inside = still.enter();
            self.build()
        };
        still.shutdown_background();
        built.map_err(|error| Unusable::Incomplete {
            kind: kind.name(),
            field: missing_field(&error),
        })?;
        if matches!(kind, Kind::ServiceAccount) {
            let pem = file["private_key"].as_str().unwrap_or_default();
            let key = PrivateKeyDer::from_pem_slice(pem.as_bytes());
            let key = key.map_err(|_| Unusable::PrivateKey)?;
            let pkcs8 = matches!(key, PrivateKeyDer::Pkcs8(_));
            let loads = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key);
            let rsa = loads.is_ok_and(|key| key.algorithm() == rustls::SignatureAlgorithm::RSA);
            if !(pkcs8 && rsa) {
                return Err(Unusable::PrivateKey);
            }
        }
        Ok(())
    }

    /// What makes tokens of them, for Google Cloud as a whole. Begins at once.
    pub(super) fn build(&self) -> Result<google::Credentials, build_errors::Error> {
        let (kind, file) = match &self.0 {
            Source::File(kind, file) => (kind, Value::clone(file)),
            Source::Metadata(host) => {
                let usual = mds::Builder::default();
                let host = host.iter();
                return host
                    .fold(usual, |builder, host| {
                        builder.with_endpoint(format!("http://{host}"))
                    })
                    .build();
            }
        };
        match kind {
            Kind::ServiceAccount => service_account::Builder::new(file).build(),
            Kind::AuthorizedUser => user_account::Builder::new(file).build(),
            Kind::ExternalAccount => external_account::Builder::new(file).build(),
            Kind::Impersonated => impersonated::Builder::new(file).build(),
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::ServiceAccount => "service_account",
            Self::AuthorizedUser => "authorized_user",
            Self::ExternalAccount => "external_account",
            Self::Impersonated => "impersonated_service_account",
        }
    }
}

/// What it is, for people: "service_account file".
impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::File(kind, _) => write!(f, "{} file", kind.name()),
            Source::Metadata(_) => f.write_str("metadata server"),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({self})")
    }
}

/// The name out of serde's "missing field `name`"; its other sentences may quote
/// the file.
fn missing_field(error: &build_errors::Error) -> Option<String> {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes
        .filter_map(|cause| {
            let told = cause.to_string();
            let name = told.strip_prefix("missing field `")?.split('`').next()?;
            Some(name.to_owned())
        })
        .next()
}

#[cfg(test)]
mod tests {
    use google_cloud_auth::credentials::CacheableResource;
    use http::Extensions;
    use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
    use serde_json::json;

    use super::*;

    fn account() -> Value {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        json!({
            "type": "service_account",
            "project_id": "p",
            "private_key_id": "id",
            "private_key": key.serialize_pem(),
            "client_email": "server@p.iam.gserviceaccount.com",
        })
    }

    fn told(file: &Value) -> String {
        Credentials::from_json(&file.to_string()).map_or_else(
            |unusable| unusable.to_string(),
            |credentials| format!("{credentials:?}"),
        )
    }

    #[test]
    fn every_kind_of_file_is_taken_without_a_runtime_and_shown_by_its_kind() {
        assert_eq!(told(&account()), "Credentials(service_account file)");
        let user = json!({"type": "authorized_user", "client_id": "c", "client_secret": "s",
            "refresh_token": "r"});
        assert_eq!(told(&user), "Credentials(authorized_user file)");
        let impersonated = json!({"type": "impersonated_service_account",
            "service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@p.iam.gserviceaccount.com:generateAccessToken",
            "source_credentials": user});
        assert_eq!(
            told(&impersonated),
            "Credentials(impersonated_service_account file)"
        );
        let external = json!({"type": "external_account", "audience": "a",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "https://sts.googleapis.com/v1/token",
            "credential_source": {"file": "/var/run/token"}});
        assert_eq!(told(&external), "Credentials(external_account file)");
    }

    #[tokio::test]
    async fn a_file_is_taken_inside_a_runtime_as_well() {
        assert_eq!(told(&account()), "Credentials(service_account file)");
    }

    #[tokio::test]
    async fn a_token_is_marked_as_sensitive() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let credentials = Credentials::from_json(&account().to_string()).unwrap();
        let google = credentials.build().unwrap();
        let headers = google.headers(Extensions::new()).await.unwrap();
        let CacheableResource::New { data, .. } = headers else {
            panic!("it is the first");
        };
        assert!(data["authorization"].is_sensitive());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_without_its_content() {
        let changed = |name: &str, value: Value| {
            let mut file = account();
            file[name] = value;
            file
        };
        let cases = [
            (json!("s3cret"), "is not a JSON object"),
            (json!({"private_key": "s3cret"}), "has no \"type\""),
            (changed("type", json!("s3cret")), "has no \"type\""),
            (
                json!({"type": "authorized_user", "client_id": "s3cret", "client_secret": "s3cret"}),
                "is not a whole authorized_user file: refresh_token is missing",
            ),
            (
                changed("client_email", json!(["s3cret"])),
                "is not a whole service_account file",
            ),
            (
                changed("private_key", json!("-----BEGIN s3cret")),
                "has a private_key that is no RSA key",
            ),
        ];
        for (file, wrong) in cases {
            let told = told(&file);
            assert!(told.starts_with(wrong), "{told}");
            assert!(!told.contains("s3cret"), "{told}");
        }
        let elliptic = KeyPair::generate().unwrap().serialize_pem();
        let file = changed("private_key", json!(elliptic));
        assert_eq!(told(&file), Unusable::PrivateKey.to_string());
    }
}
