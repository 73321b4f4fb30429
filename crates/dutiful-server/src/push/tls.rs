//! TLS of what is pushed: the authorities that browsers believe, and one's own.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// What is offered inside of TLS, the first first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Returns settings that believe the public authorities and those of `ca_pem`. The provider is
/// named here, so that no default of the process is needed or set.
pub(super) fn settings(ca_pem: Option<&[u8]>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = ca_pem {
        for authority in authorities(pem)? {
            roots.add(authority).map_err(|error| format!("{error}; give a certificate"))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut settings = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    settings.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(settings)
}

/// Reads certificates in PEM, at least one.
fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err("it has no certificate; it begins with -----BEGIN CERTIFICATE-----".into()),
        Err(error) => Err(format!("it is not PEM ({error})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_both_protocols_and_sets_no_default_of_the_process() {
        let settings = settings(None).expect("the public authorities are enough");
        assert_eq!(settings.alpn_protocols, PROTOCOLS);
        assert!(rustls::crypto::CryptoProvider::get_default().is_none());
    }

    #[test]
    fn refuses_a_file_that_has_no_certificate() {
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        let not = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (pem, says) in [("", "no certificate"), (key, "no certificate"), (cut, "not PEM")] {
            let error = settings(Some(pem.as_bytes())).expect_err(pem);
            assert!(error.contains(says), "{error}");
        }
        assert!(settings(Some(not.as_bytes())).is_err());
    }
}
