//! Whom we trust.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Trusts the CAs of a file (PEM), or those of the host's own bundle. Where there are none
/// that is warned of, with `what` cannot be had then; `http` works all the same.
///
/// # Errors
///
/// The file cannot be read, or something in it is no certificate.
pub fn trusting(ca_file: Option<&Path>, what: &str) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates(ca_file)?);
    if added == 0 {
        tracing::warn!("there are no CA certificates: {what} cannot be reached by https");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(io::Error::other)?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

fn certificates(ca_file: Option<&Path>) -> io::Result<Vec<CertificateDer<'static>>> {
    let Some(path) = ca_file else {
        return Ok(rustls_native_certs::load_native_certs().certs);
    };
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    found.map_err(|error| io::Error::other(format!("the CA file {} cannot be read: {error}", path.display())))
}

/// Whether this says, itself and not by its source, that a server's certificate is not trusted.
#[must_use]
pub fn is_distrust(error: &(dyn Error + 'static)) -> bool {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let tls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidCertificate(_)))
}
