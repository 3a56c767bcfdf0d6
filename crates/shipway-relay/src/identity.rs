//! Who a worker is: a key, a certificate, a secret, all new with every start.
//!
//! The certificate names nobody and is signed by itself. What makes it trusted is that its
//! digest stands in the store, in the row that only this worker writes.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme, version};
use sha2::{Digest, Sha256};

/// What stands in the certificate; nobody looks at it.
pub(crate) const NAME: &str = "worker.shipway.internal";

/// Bytes of a secret, before they are written in hexadecimal.
const SECRET_BYTES: usize = 32;

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No key or certificate could be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// TLS refuses what was made.
    #[error("cannot use the certificate")]
    Tls(#[from] Error),
    /// The kernel has no random numbers.
    #[error("cannot make a secret")]
    Random(#[from] rustix::io::Errno),
}

/// Who a worker is.
#[derive(Clone)]
pub struct Identity {
    pub(crate) server: Arc<ServerConfig>,
    certificate: String,
    pub(crate) secret: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Identity {
    /// Makes one that nobody had before.
    ///
    /// # Errors
    ///
    /// [`IdentityError`].
    pub fn make() -> Result<Self, IdentityError> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        let der = made.cert.der().clone();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let certificate = digest_of(&der);
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![der], key.into())?;
        let mut secret = [0; SECRET_BYTES];
        rustix::rand::getrandom(&mut secret, rustix::rand::GetRandomFlags::empty())?;
        Ok(Self { server: Arc::new(server), certificate, secret: hex(&secret) })
    }

    /// SHA-256 of the certificate, in hexadecimal.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// What a caller has to show, in hexadecimal.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Whether somebody knows the secret. Digests are compared, so that the time it takes
    /// says nothing about where two secrets differ.
    pub(crate) fn opens(&self, shown: &str) -> bool {
        Sha256::digest(shown) == Sha256::digest(&self.secret)
    }
}

/// How a caller takes the one certificate and no other.
pub(crate) fn client_config(certificate: &str) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let pinned = Pinned { digest: certificate.to_owned(), algorithms: provider.signature_verification_algorithms };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_no_client_auth())
}

/// Takes one certificate, by its digest, from who has its key.
#[derive(Debug)]
struct Pinned {
    digest: String,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if digest_of(end_entity) == self.digest {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn digest_of(certificate: &CertificateDer<'_>) -> String {
    hex(&Sha256::digest(certificate))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
