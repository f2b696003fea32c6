//! TLS as `sslmode` asks for it.
//!
//! | sslmode | who the server may be |
//! |---|---|
//! | `prefer`, `require` | anybody who holds the key of the certificate shown: no protection from a server in the middle |
//! | `require` with `sslrootcert`, `verify-ca` | whoever an authority of `sslrootcert` signed, under any name |
//! | `verify-full` | whoever such an authority, or a public one, signed for this host |
//!
//! Invariants: the cryptography is given, never installed for the whole process; the signature over the handshake is
//! checked in every mode.

use crate::options::{ConnectOptions, TlsMode};
use candor_core::port::SourceError;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::path::Path;
use std::sync::Arc;

/// What a connection with these options does about TLS. Not to be asked for when `sslmode=disable`.
///
/// # Errors
///
/// A certificate or key file that cannot be read, or a demand that cannot be met.
pub(crate) fn tls_config(options: &ConnectOptions) -> Result<ClientConfig, SourceError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| SourceError::down(format!("TLS cannot be set up: {error}")))?;
    let builder = match (options.tls, &options.root_certificate) {
        (TlsMode::VerifyFull, Some(path)) => builder.with_root_certificates(roots(path)?),
        (TlsMode::VerifyFull, None) => builder.with_root_certificates(public_roots()),
        (TlsMode::VerifyCa, None) => {
            return Err(SourceError::down(
                "sslmode=verify-ca needs sslrootcert: with the public authorities it would accept anybody who owns \
                 any name; name the authority, or say sslmode=verify-full",
            ));
        }
        // As libpq: an authority that is named is asked for, also under `require`.
        (TlsMode::VerifyCa | TlsMode::Require, Some(path)) => {
            let check = Check { provider, roots: Some(roots(path)?) };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(check))
        }
        (TlsMode::Disable | TlsMode::Prefer | TlsMode::Require, _) => {
            let check = Check { provider, roots: None };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(check))
        }
    };
    let Some((certificate, key)) = &options.client_certificate else {
        return Ok(builder.with_no_client_auth());
    };
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| unread("sslkey", key, &error))?;
    builder.with_client_auth_cert(certificates("sslcert", certificate)?, key_der).map_err(|error| {
        SourceError::down(format!(
            "sslcert {} and sslkey {} do not go together: {error}",
            certificate.display(),
            key.display()
        ))
    })
}

fn public_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

fn roots(path: &Path) -> Result<RootCertStore, SourceError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates("sslrootcert", path)? {
        store.add(certificate).map_err(|error| unread("sslrootcert", path, &error))?;
    }
    Ok(store)
}

fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, SourceError> {
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unread(option, path, &error))?;
    if found.is_empty() {
        return Err(SourceError::down(format!(
            "{option} {} holds no certificate in PEM form",
            path.display()
        )));
    }
    Ok(found)
}

fn unread(option: &str, path: &Path, error: &dyn std::error::Error) -> SourceError {
    SourceError::down(format!("{option} {} cannot be used: {error}", path.display()))
}

/// Looks at less than rustls would: never at the name, and at the chain only if it has roots.
#[derive(Debug)]
struct Check {
    provider: Arc<CryptoProvider>,
    roots: Option<RootCertStore>,
}

impl ServerCertVerifier for Check {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
