//! TLS to the database, with rustls and the ring provider.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use surefoot::StoreError;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::{Address, Trust};

/// Creates the TLS connector with the trust that the address requires.
pub(crate) fn connect(address: &Address) -> Result<MakeRustlsConnect, StoreError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let wrong = |error: &dyn std::fmt::Display| {
        StoreError::Unusable(format!("TLS to the database: {error}"))
    };
    let verifier: Arc<dyn ServerCertVerifier> = match address.trust {
        Trust::Anyone => Arc::new(Lenient {
            provider: provider.clone(),
            authority: None,
        }),
        Trust::Authority | Trust::Name => {
            let roots = Arc::new(roots(address.authorities.as_deref())?);
            let strict =
                WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
            let strict = strict.map_err(|error| wrong(&error))?;
            if address.trust == Trust::Name {
                strict
            } else {
                Arc::new(Lenient {
                    provider: provider.clone(),
                    authority: Some(strict),
                })
            }
        }
    };
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| wrong(&error))?;
    let config = config
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match &address.identity {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates("sslcert", certificate)?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| wrong_file("sslkey", key, &error))?;
            config
                .with_client_auth_cert(chain, key)
                .map_err(|error| wrong(&error))?
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

fn wrong_file(parameter: &str, file: &Path, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unusable(format!("{parameter} {}: {error}", file.display()))
}

fn certificates(parameter: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| wrong_file(parameter, file, &error))?;
    if certificates.is_empty() {
        return Err(wrong_file(parameter, file, &"it holds no certificate"));
    }
    Ok(certificates)
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, StoreError> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(file) => {
            for certificate in certificates("sslrootcert", file)? {
                roots
                    .add(certificate)
                    .map_err(|error| wrong_file("sslrootcert", file, &error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                let message = "the system has no certificate authorities: install ca-certificates or give sslrootcert";
                return Err(StoreError::Unusable(message.to_owned()));
            }
        }
    }
    Ok(roots)
}

/// Verifies less strictly than by host name, for `require` and `verify-ca`: the connection is still
/// encrypted, and the server must hold the key of the certificate that it shows.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    /// Authority that must have issued the certificate, for any host name.
    authority: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authority) = &self.authority else {
            return Ok(ServerCertVerified::assertion());
        };
        match authority.verify_server_cert(certificate, chain, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
