//! quinn as a subject, with one bidirectional stream per connection.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::BbrConfig;
use quinn::{ClientConfig, Endpoint, IdleTimeout, ServerConfig, TransportConfig};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::{BoxStream, QuicControl, Ready};
use crate::app::workloads::frame;

/// The default configuration except for the congestion control, an idle time-out that is longer than an outage, and
/// windows that do not limit throughput: with the default of 1.25 MB, a packet that is lost twice stalls a stream at
/// 100 Mbit/s and 50 ms.
fn transport(control: QuicControl) -> io::Result<Arc<TransportConfig>> {
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(Duration::from_secs(90)).map_err(io::Error::other)?;
    transport.max_idle_timeout(Some(idle));
    transport.stream_receive_window(WINDOW.into());
    transport.receive_window(WINDOW.into());
    transport.send_window(WINDOW.into());
    if control == QuicControl::Bbr {
        transport.congestion_controller_factory(Arc::new(BbrConfig::default()));
    }
    Ok(Arc::new(transport))
}

pub(crate) async fn serve(
    addr: SocketAddr,
    control: QuicControl,
    ready: impl FnOnce(Ready) -> io::Result<()>,
) -> io::Result<()> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).map_err(io::Error::other)?;
    let certificate = CertificateDer::from(made.cert);
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut config = ServerConfig::with_single_cert(vec![certificate.clone()], key.into())
        .map_err(io::Error::other)?;
    config.transport_config(transport(control)?);
    let endpoint = Endpoint::server(config, addr)?;
    ready(Ready {
        listening: endpoint.local_addr()?,
        certificate: to_hex(&certificate),
    })?;
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let connection = incoming.await.map_err(io::Error::other)?;
            while let Ok((send, receive)) = connection.accept_bi().await {
                tokio::spawn(frame::serve(tokio::io::join(receive, send)));
            }
            io::Result::Ok(())
        });
    }
    Ok(())
}

#[derive(Debug)]
pub(crate) struct Dialer {
    server: SocketAddr,
    config: ClientConfig,
}

impl Dialer {
    pub(crate) fn new(server: &Ready, control: QuicControl) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        let certificate = from_hex(&server.certificate)
            .ok_or_else(|| io::Error::other("the certificate is not hexadecimal"))?;
        roots
            .add(CertificateDer::from(certificate))
            .map_err(io::Error::other)?;
        let mut config =
            ClientConfig::with_root_certificates(Arc::new(roots)).map_err(io::Error::other)?;
        config.transport_config(transport(control)?);
        Ok(Self {
            server: server.listening,
            config,
        })
    }

    pub(crate) async fn dial(&self) -> io::Result<BoxStream> {
        let endpoint = Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into())?;
        let connection = endpoint
            .connect_with(self.config.clone(), self.server, NAME)
            .map_err(io::Error::other)?
            .await
            .map_err(io::Error::other)?;
        let (send, receive) = connection.open_bi().await.map_err(io::Error::other)?;
        // The two halves keep the connection open.
        Ok(Box::new(tokio::io::join(receive, send)))
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok())
        .collect()
}

const NAME: &str = "localhost";

/// Window in bytes: 25 times the bandwidth-delay product of 100 Mbit/s and 50 ms.
const WINDOW: u32 = 16 << 20;
