//! TLS that ends here: one certificate for all doors.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret, SecretString};
use tonic::transport::{Identity, Server, ServerTlsConfig};

/// A certificate chain and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The server's certificate first.
    certificates: String,
    /// PKCS #8, PKCS #1 or SEC 1.
    key: SecretString,
}

impl Tls {
    /// Takes a certificate chain and a key that fit together.
    ///
    /// # Errors
    /// What cannot be used, without a byte of it.
    pub fn new(certificates: String, key: SecretString) -> Result<Self, &'static str> {
        let tls = Self { certificates, key };
        match Server::builder().tls_config(tls.for_grpc()) {
            Ok(_) => Ok(tls),
            Err(_) => {
                Err("the certificate chain and the key are not PEM, or do not belong together")
            }
        }
    }

    /// As tonic takes it.
    pub(super) fn for_grpc(&self) -> ServerTlsConfig {
        let identity = Identity::from_pem(&self.certificates, self.key.expose_secret());
        ServerTlsConfig::new().identity(identity)
    }

    /// For HTTP/2 and HTTP/1.1, as the client chooses.
    ///
    /// # Errors
    /// What rustls says; not of what [`new`](Self::new) took.
    pub(super) fn for_http(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let unusable = |_| rustls::Error::General("PEM that cannot be read".to_owned());
        let chain = CertificateDer::pem_slice_iter(self.certificates.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().map_err(unusable)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.expose_secret().as_bytes());
        let builder = ServerConfig::builder().with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key.map_err(unusable)?)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
