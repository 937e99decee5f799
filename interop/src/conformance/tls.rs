//! Certificates of both sides for mutual TLS.

use std::fs;
use std::io;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

use crate::Failure;

/// One authority, and a certificate for each side that it has signed. The files for the Go peers are deleted when
/// this is dropped.
#[derive(Debug)]
pub struct Identities {
    authority: String,
    server: Pair,
    client: Pair,
    files: TempDir,
}

#[derive(Debug)]
struct Pair {
    certificate: String,
    key: String,
}

impl Identities {
    /// Makes new certificates.
    ///
    /// # Errors
    ///
    /// If a key cannot be made or a file cannot be written.
    pub fn new() -> Result<Self, Failure> {
        let files = TempDir::with_prefix("kcp-interop").map_err(Failure::Setup)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = KeyPair::generate().and_then(|key| CertifiedIssuer::self_signed(params, key));
        let issuer = issuer.map_err(certificates)?;
        Ok(Self {
            authority: issuer.pem(),
            server: issue(&issuer).map_err(certificates)?,
            client: issue(&issuer).map_err(certificates)?,
            files,
        })
    }

    /// The settings of our server.
    pub(super) fn server(&self) -> ServerTlsConfig {
        ServerTlsConfig::new()
            .identity(self.server.identity())
            .client_ca_root(self.trusted())
    }

    /// The settings of our client.
    pub(super) fn client(&self) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .domain_name(SERVER_NAME)
            .ca_certificate(self.trusted())
            .identity(self.client.identity())
    }

    /// The flags of a Go server.
    ///
    /// # Errors
    ///
    /// If a file cannot be written.
    pub fn server_flags(&self) -> Result<[String; 3], Failure> {
        self.flags(&self.server)
    }

    /// The flags of a Go client.
    ///
    /// # Errors
    ///
    /// If a file cannot be written.
    pub fn client_flags(&self) -> Result<[String; 3], Failure> {
        self.flags(&self.client)
    }

    fn trusted(&self) -> Certificate {
        Certificate::from_pem(&self.authority)
    }

    fn flags(&self, pair: &Pair) -> Result<[String; 3], Failure> {
        let file = |flag: &str, contents: &str| -> Result<String, Failure> {
            let path = self.write(flag, contents).map_err(Failure::Setup)?;
            Ok(format!("--{flag}={}", path.display()))
        };
        Ok([
            file("tls-ca", &self.authority)?,
            file("tls-cert", &pair.certificate)?,
            file("tls-key", &pair.key)?,
        ])
    }

    fn write(&self, name: &str, contents: &str) -> io::Result<PathBuf> {
        let path = self.files.path().join(name);
        fs::write(&path, contents)?;
        Ok(path)
    }
}

impl Pair {
    fn identity(&self) -> Identity {
        Identity::from_pem(&self.certificate, &self.key)
    }
}

fn issue(issuer: &CertifiedIssuer<'static, KeyPair>) -> Result<Pair, rcgen::Error> {
    let params = CertificateParams::new([SERVER_NAME.to_owned()])?;
    let key = KeyPair::generate()?;
    Ok(Pair {
        certificate: params.signed_by(&key, issuer)?.pem(),
        key: key.serialize_pem(),
    })
}

fn certificates(error: rcgen::Error) -> Failure {
    Failure::Setup(io::Error::other(error))
}

/// The name in all certificates. The Go peers expect it.
const SERVER_NAME: &str = "localhost";
