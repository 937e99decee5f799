//! The statistics of a connection while it transfers data, and those of a listener.
//!
//! cargo run -p kcp-transport --example statistics

use std::io;
use std::time::Duration;

use kcp_transport::{ConnectionInfo, KcpListener, KcpStream, Security};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const BYTES: usize = 20_000_000;

#[tokio::main]
pub(crate) async fn main() -> io::Result<()> {
    let security = Security::from_password("aes-128-gcm", "a password", Security::KCPTUN_SALT)?;
    let listener = KcpListener::bind("127.0.0.1:0", &security).await?;
    let mut sender = KcpStream::connect(listener.local_addr()?, &security).await?;
    let (mut receiver, _peer) = listener.accept().await?;

    // A handle for inspection stays valid after the stream has been moved or dropped.
    let watcher = tokio::spawn(watch(sender.info()));
    let upload = tokio::spawn(async move {
        sender.write_all(&vec![0; BYTES]).await?;
        sender.shutdown().await?;
        Ok::<_, io::Error>(sender.stats())
    });
    let mut received = Vec::with_capacity(BYTES);
    receiver.read_to_end(&mut received).await?;
    let stats = upload.await??;
    watcher.abort();

    // Everything, as a table of names and values; and single values, which are plain numbers.
    println!("{stats}");
    let repeated = stats.retransmitted as f64 / stats.data_segments_sent as f64;
    println!("{:.1} % of the segments were repeated", 100.0 * repeated);
    println!("{} connections open", listener.stats().connections);
    Ok(())
}

/// Prints what changes. A difference of two copies is what happened between them.
async fn watch(info: ConnectionInfo) {
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    let mut before = info.stats();
    loop {
        ticks.tick().await;
        let now = info.stats();
        let sent = now.wire_bytes_sent - before.wire_bytes_sent;
        println!("{sent} bytes, round trip {:?}", now.smoothed_rtt);
        before = now;
    }
}
