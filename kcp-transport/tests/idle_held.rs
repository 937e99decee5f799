//! What idle connections hold of what they have allocated, in virtual time. In a binary of its own for
//! its allocator, which counts for each thread.

mod allocator;
#[path = "net/transport/memory.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod memory;

use std::sync::Arc;
use std::time::Duration;

use kcp_transport::crypto::{AeadKey, Security};
use kcp_transport::net::{KcpListener, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use allocator::held;
use memory::{Host, Network};

/// Bytes that an idle connection may hold on both of its sides: 16 KiB of a client's process, and 8 KiB
/// of the server's.
const LIMIT: usize = 24 << 10;

const CLIENTS: usize = 32;

/// When a connection counts as idle. What several hold at a time, the allocator of a process may keep.
const SOON: Duration = Duration::from_millis(200);

fn security() -> Security {
    Security::Aead(AeadKey::aes_128_gcm(&[7; 16]).expect("16 bytes"))
}

async fn connect(network: &Network, server: &Host) -> (KcpStream, Arc<Host>) {
    let host = network.host();
    host.forget_history();
    let stream = KcpStream::builder(&security())
        .transport(Arc::clone(&host) as Arc<_>)
        .connect(server.addr())
        .await
        .expect("connects");
    (stream, host)
}

/// Has data echoed.
async fn burst(stream: &mut KcpStream, len: usize) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let data = vec![7; len];
    let mut echo = vec![0; len];
    let (written, read) = tokio::join!(
        async {
            writer.write_all(&data).await?;
            writer.flush().await
        },
        reader.read_exact(&mut echo)
    );
    written.expect("writes");
    read.expect("reads");
}

#[tokio::test(start_paused = true)]
async fn buffers_are_freed_soon_after_a_burst() {
    let network = Network::default();
    let host = network.host();
    host.forget_history();
    let listener = KcpListener::builder(&security())
        .on_transport(Arc::clone(&host) as Arc<_>)
        .expect("in range");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    stream.write_all(&buffer[..read]).await?;
                    stream.flush().await?;
                }
                std::io::Result::Ok(())
            });
        }
    });
    // What the listener itself holds while it is busy.
    let (mut first, _host) = connect(&network, &host).await;
    burst(&mut first, 4_000_000).await;
    tokio::time::sleep(SOON).await;
    host.forget_history();
    let before = held();
    let mut all = Vec::with_capacity(CLIENTS);
    for _ in 0..CLIENTS {
        let (mut stream, host) = connect(&network, &host).await;
        burst(&mut stream, 12_000).await;
        all.push((stream, host));
    }
    let busy = held().wrapping_sub(before) / CLIENTS;
    tokio::time::sleep(SOON).await;
    host.forget_history();
    all.iter().for_each(|(_, host)| host.forget_history());
    let each = held().wrapping_sub(before) / CLIENTS;
    println!("{busy} bytes each when busy, {each} when idle");
    assert!(
        busy > each + LIMIT / 2,
        "the bursts were none: {busy} bytes each"
    );
    assert!(each <= LIMIT, "{each} bytes each");
}
