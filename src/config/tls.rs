//! TLS that ends here: two files that need each other, each looked at for itself
//! so that all mistakes about them are told at once.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Settings;
use super::check::{file, given, take};
use crate::transport::Tls;

const CERTIFICATE: &str = "TLS_CERT_FILE";
const KEY: &str = "TLS_KEY_FILE";

/// The settings of TLS, not yet checked.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Listening")]
pub struct TlsSettings {
    /// PEM file with the certificate chain, to end TLS here.
    #[arg(long, env = "TLS_CERT_FILE", value_name = "FILE")]
    pub tls_cert_file: Option<String>,
    /// PEM file with the certificate's key.
    #[arg(long, env = "TLS_KEY_FILE", value_name = "FILE")]
    pub tls_key_file: Option<String>,
}

impl Settings {
    pub(super) fn tls(&self, wrong: &mut Vec<String>) -> Option<Tls> {
        let TlsSettings {
            tls_cert_file,
            tls_key_file,
        } = &self.tls;
        let (certificate, key) = (given(tls_cert_file), given(tls_key_file));
        match (certificate, key) {
            (Some(_), None) => wrong.push(alone(CERTIFICATE, KEY)),
            (None, Some(_)) => wrong.push(alone(KEY, CERTIFICATE)),
            (None, None) | (Some(_), Some(_)) => {}
        }
        let certificates =
            certificate.and_then(|path| pem(wrong, CERTIFICATE, path, has_certificates));
        let key = key.and_then(|path| pem(wrong, KEY, path, has_key));
        take(
            wrong,
            "TLS_CERT_FILE and TLS_KEY_FILE",
            Tls::new(certificates?, key?.into()),
        )
    }
}

fn alone(set: &str, missing: &str) -> String {
    format!("{missing}: is not set, but {set} is; set both to end TLS here, or neither")
}

/// The file's text, if it is what `check` looks for; else a sentence about it.
fn pem(
    wrong: &mut Vec<String>,
    name: &str,
    path: &str,
    check: fn(&[u8]) -> Result<(), &'static str>,
) -> Option<String> {
    let text = file(wrong, name, path)?;
    let checked = check(text.as_bytes()).map_err(|why| format!("{path}: {why}"));
    take(wrong, name, checked).map(|()| text)
}

fn has_certificates(pem: &[u8]) -> Result<(), &'static str> {
    let mut found = CertificateDer::pem_slice_iter(pem).peekable();
    match found.peek().is_some() && found.all(|certificate| certificate.is_ok()) {
        true => Ok(()),
        false => Err("has no certificate in PEM form, which begins -----BEGIN CERTIFICATE-----"),
    }
}

fn has_key(pem: &[u8]) -> Result<(), &'static str> {
    let key = PrivateKeyDer::from_pem_slice(pem).map(|_| ());
    key.map_err(|_| "has no private key in PEM form without a password")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tempfile::NamedTempFile;

    use super::*;

    fn written(text: &str) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn mistakes(certificate: Option<&str>, key: Option<&str>) -> Vec<String> {
        let mut settings = Settings::defaults().embedded();
        settings.tls.tls_cert_file = certificate.map(str::to_owned);
        settings.tls.tls_key_file = key.map(str::to_owned);
        settings.mistakes().0
    }

    fn pair() -> (String, String) {
        let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (signed.cert.pem(), signed.signing_key.serialize_pem())
    }

    #[test]
    fn one_of_the_two_alone_is_told_with_both_names_and_its_file_is_looked_at() {
        let (certificate, key) = pair();
        let (certificate, key) = (written(&certificate), written(&key));
        let [certificate, key] = [&certificate, &key].map(|file| file.path().to_str());
        let lonely = "is not set, but";
        let wrong = mistakes(certificate, None);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].starts_with(&format!("TLS_KEY_FILE: {lonely} TLS_CERT_FILE is")));
        let wrong = mistakes(None, key);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].starts_with(&format!("TLS_CERT_FILE: {lonely} TLS_KEY_FILE is")));
        let wrong = mistakes(Some("/no/such.pem"), None);
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[1].starts_with("TLS_CERT_FILE: /no/such.pem: "));
    }

    #[test]
    fn each_file_is_told_by_its_own_variable() {
        let (certificate, key) = pair();
        let (certificate, key) = (written(&certificate), written(&key));
        let [certificate, key] = [&certificate, &key].map(|file| file.path().to_str().unwrap());
        assert_eq!(mistakes(Some(certificate), Some(key)), [""; 0]);
        let exchanged = mistakes(Some(key), Some(certificate));
        assert_eq!(exchanged.len(), 2, "{exchanged:?}");
        assert!(exchanged[0].starts_with(&format!("TLS_CERT_FILE: {key}: has no certificate")));
        assert!(exchanged[1].starts_with(&format!("TLS_KEY_FILE: {certificate}: has no private")));
        let broken = written("-----BEGIN CERTIFICATE-----\n!s3cret!\n-----END CERTIFICATE-----\n");
        let wrong = mistakes(broken.path().to_str(), Some("/no/such.pem"));
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(!wrong.concat().contains("s3cret"), "{wrong:?}");
        let other = written(&pair().1);
        let wrong = mistakes(Some(certificate), other.path().to_str());
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].starts_with("TLS_CERT_FILE and TLS_KEY_FILE: "));
    }
}
