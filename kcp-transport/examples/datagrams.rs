//! Unreliable datagrams beside a stream: positions, of which only the newest matters.
//!
//! cargo run -p kcp-transport --example datagrams

use std::io;
use std::time::Duration;

use kcp_transport::{Config, FecRatio, KcpListener, KcpStream, Security};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::main]
pub(crate) async fn main() -> io::Result<()> {
    let security = Security::from_password("aes-128-gcm", "a password", Security::KCPTUN_SALT)?;
    let listener = KcpListener::bind("127.0.0.1:0", &security).await?;
    let server = listener.local_addr()?;
    let server_task = tokio::spawn(serve(listener));

    // A sender of datagrams needs FEC, whose header they use. They get no parity themselves.
    let config = Config::builder().fec(FecRatio::new(10, 3)?).build()?;
    let client = KcpStream::builder(&security).config(&config);
    let mut stream = client.connect(server).await?;
    stream.write_all(b"player 1").await?;
    println!("up to {:?} bytes each", stream.max_datagram_size());
    for position in 0..50_u32 {
        // Never waits. A datagram that is lost is not sent again.
        stream.send_datagram(&position.to_le_bytes())?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stream.shutdown().await?;
    server_task.await?
}

async fn serve(listener: KcpListener) -> io::Result<()> {
    let (mut stream, _peer) = listener.accept().await?;
    let datagrams = stream.datagrams();
    let (mut text, mut newest, mut received) = (Vec::new(), None, 0);
    loop {
        tokio::select! {
            // The stream is reliable and ends; `read_buf` loses nothing when it is dropped.
            read = stream.read_buf(&mut text) => if read? == 0 { break },
            datagram = datagrams.recv() => {
                received += 1;
                newest = newest.max(datagram?.try_into().ok().map(u32::from_le_bytes));
            }
        }
    }
    let player = String::from_utf8_lossy(&text);
    println!("{player}: {received} datagrams, the newest position is {newest:?}");
    Ok(())
}
