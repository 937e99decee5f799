//! Floods of first packets with forged sources, and genuine peers beside them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpEndpoint, KcpListener, KcpStream};
use kcp_transport::testing::Rng;
use kcp_transport::wire::{Command, ConversationId, SegmentHeader, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::memory::{Fault, Host, Network, Way};

/// Sends a greeting, then echoes.
async fn serve(mut stream: KcpStream) -> io::Result<()> {
    stream.write_all(b"hello").await?;
    stream.flush().await?;
    let mut buffer = [0; 512];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return stream.shutdown().await;
        }
        stream.write_all(&buffer[..read]).await?;
        stream.flush().await?;
    }
}

pub(crate) fn listen(network: &Network) -> (Arc<Host>, Arc<KcpListener>) {
    let host = network.host();
    host.forget_history();
    let config = Config::default();
    let listener = KcpListener::builder(&Security::Plaintext)
        .config(&config)
        .on_transport(host.clone());
    let listener = Arc::new(listener.expect("in range"));
    let accepting = Arc::clone(&listener);
    tokio::spawn(async move {
        while let Ok((stream, _)) = accepting.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    (host, listener)
}

/// A first packet with a forged source address.
fn forged(rng: &mut Rng) -> (SocketAddr, Vec<u8>) {
    let [a, b, c, d] = rng.next_u32().to_be_bytes();
    // Not the network of the genuine peers, and no multicast address.
    let source = (
        Ipv4Addr::new(0x80 | a >> 2, b, c, d),
        1 + rng.below(60_000) as u16,
    );
    let probes = rng.chance(0.5);
    let data: &[u8] = if probes { b"" } else { b"x" };
    let header = SegmentHeader {
        conversation: ConversationId::new(rng.next_u32()),
        command: if probes {
            Command::WindowProbe
        } else {
            Command::Push
        },
        fragments_left: 0,
        window: 32,
        timestamp: Timestamp::from_wire(rng.next_u32()),
        sequence: 0,
        unacknowledged: 0,
        payload_len: data.len() as u32,
    };
    let mut datagram = vec![0; 24];
    header.encode(&mut datagram);
    datagram.extend_from_slice(data);
    (source.into(), datagram)
}

/// 50 000 forged openings in a second.
pub(crate) async fn flood(host: Arc<Host>, rng: &mut Rng, opens: usize) {
    for _ in 0..opens / 50 {
        for _ in 0..50 {
            let (source, datagram) = forged(rng);
            host.inject(source, &datagram);
        }
        // So many calls are no busy loop.
        host.set_fault(Way::Receive, Fault::None);
        host.set_fault(Way::Send, Fault::None);
        sleep(Duration::from_millis(1)).await;
    }
}

/// The first packet of a genuine client.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Beginning {
    /// As clients of this crate: a probe; the client waits for an answer.
    Probe,
    /// As clients of kcp-go: data at once.
    Data,
}

pub(crate) async fn visit(
    network: &Network,
    server: SocketAddr,
    begin: Beginning,
) -> io::Result<()> {
    let (host, security) = (network.host(), Security::Plaintext);
    let config = match begin {
        Beginning::Probe => Config::default(),
        Beginning::Data => Config::builder().keepalive(None).build().expect("valid"),
    };
    let mut stream = match begin {
        Beginning::Probe => {
            KcpStream::builder(&security)
                .config(&config)
                .transport(host)
                .connect(server)
                .await?
        }
        Beginning::Data => {
            let endpoint = KcpEndpoint::builder(&security)
                .config(&config)
                .transport(host)
                .endpoint()?;
            let mut stream = endpoint.connect_lazy(server).await?;
            stream.write_all(b"ping").await?;
            stream.flush().await?;
            stream
        }
    };
    let mut greeting = [0; 5];
    stream.read_exact(&mut greeting).await?;
    if let Beginning::Probe = begin {
        stream.write_all(b"ping").await?;
        stream.flush().await?;
    }
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).await?;
    Ok(())
}
