//! TLS by rustls, as `tokio-postgres` wants it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use dcd_plugin_sdk::Error;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, CipherSuite, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use sha2::{Digest, Sha256, Sha384, Sha512};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::settings::{SslMode, Target};

/// Makes connections to one server encrypted.
#[derive(Clone)]
pub(crate) struct Connector {
    config: Arc<ClientConfig>,
    /// With every cipher, while `config` has only some.
    full: Option<Arc<ClientConfig>>,
    name: ServerName<'static>,
}

impl Connector {
    /// None where nothing is to be encrypted.
    pub(crate) fn new(target: &Target) -> Result<Option<Self>, Error> {
        let (verify, check_name) = match (target.sslmode, &target.roots) {
            (SslMode::Disable, _) => return Ok(None),
            (SslMode::Require, None) => (false, false),
            (SslMode::Require, Some(_)) | (SslMode::VerifyCa, _) => (true, false),
            (SslMode::VerifyFull, _) => (true, true),
        };
        let provider = Arc::new(ring::default_provider());
        let inner = if verify { Some(verifier(target, provider.clone())?) } else { None };
        let verifier = Arc::new(Verifier { inner, check_name, provider: provider.clone() });
        let config = |provider: CryptoProvider| -> Result<_, Error> {
            let config = ClientConfig::builder_with_provider(Arc::new(provider))
                .with_safe_default_protocol_versions()
                .map_err(|error| Error::other(format!("TLS cannot be set up: {error}")))?
                .dangerous()
                .with_custom_certificate_verifier(verifier.clone())
                .with_no_client_auth();
            Ok(Arc::new(config))
        };
        let mut quick = CryptoProvider::clone(&provider);
        quick.cipher_suites.retain(|suite| !is_slow(suite.suite()));
        let name = ServerName::try_from(target.host.clone()).map_err(|_| {
            let message = format!("{:?} is neither a host's name nor an address", target.host);
            Error::invalid_config("/host", message)
        })?;
        let full = config(CryptoProvider::clone(&provider))?;
        Ok(Some(Self { config: config(quick)?, full: Some(full), name }))
    }

    /// The same with every cipher, for a server that has none of those that were offered; none when all were.
    pub(crate) fn with_all_ciphers(&self) -> Option<Self> {
        let config = self.full.clone()?;
        Some(Self { config, full: None, name: self.name.clone() })
    }
}

/// WebAssembly has no instructions for AES: it takes four times as long as `ChaCha20`, most of the time of a long list.
/// But it is what a server takes of both. Those of TLS 1.2 are for servers that are old anyway.
fn is_slow(suite: CipherSuite) -> bool {
    matches!(suite, CipherSuite::TLS13_AES_128_GCM_SHA256 | CipherSuite::TLS13_AES_256_GCM_SHA384)
}

fn verifier(target: &Target, provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, Error> {
    let wrong = |message: String| {
        Error::invalid_config("/sslrootcert", message)
            .help("it is one or more certificates in PEM: `-----BEGIN CERTIFICATE-----` and so on")
    };
    let mut roots = RootCertStore::empty();
    match &target.roots {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|error| wrong(format!("this is not PEM: {error}")))?;
                roots
                    .add(certificate)
                    .map_err(|error| wrong(format!("a certificate is not usable: {error}")))?;
            }
        }
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|_| wrong("there is no certificate in it".to_owned()))
}

/// Checks as much as the mode wants. Signatures of the handshake are always checked.
#[derive(Debug)]
struct Verifier {
    inner: Option<Arc<WebPkiServerVerifier>>,
    check_name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        match inner.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // The name is looked at last, when all else is well.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.check_name => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl TlsConnect<TcpStream> for Connector {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        let connecting = tokio_rustls::TlsConnector::from(self.config).connect(self.name, stream);
        Box::pin(async { connecting.await.map(Stream) })
    }
}

/// An encrypted connection.
pub(crate) struct Stream(tokio_rustls::client::TlsStream<TcpStream>);

impl TlsStream for Stream {
    /// Binds the log-in to this connection (`tls-server-end-point`, RFC 5929), so that nobody in the middle can pass it on.
    fn channel_binding(&self) -> ChannelBinding {
        let certificates = self.0.get_ref().1.peer_certificates();
        match certificates.and_then(|certificates| certificates.first()).and_then(|first| end_point(first)) {
            Some(hash) => ChannelBinding::tls_server_end_point(hash),
            None => ChannelBinding::none(),
        }
    }
}

/// The hash of a certificate with the algorithm that it is signed with; none where the RFC does not say which.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = Certificate::from_der(certificate).ok()?.signature_algorithm.oid.to_string();
    match algorithm.as_str() {
        // RSA with MD5, SHA-1 and SHA-256; ECDSA with SHA-1 and SHA-256.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => Some(Sha256::digest(certificate).to_vec()),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Some(Sha384::digest(certificate).to_vec()),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
