//! Messages sixty times a second, as in a game, and the 99th percentile of their round trips.
//!
//! cargo run -p kcp-transport --example messages

use std::io;
use std::time::{Duration, Instant};

use kcp_transport::{Config, KcpListener, KcpStream, Preset, Security};

const RATE: usize = 60;
const SECONDS: usize = 2;

#[allow(clippy::disallowed_methods, reason = "a program may read the clock")]
#[tokio::main]
pub(crate) async fn main() -> io::Result<()> {
    let security = Security::from_password("aes-128-gcm", "a password", Security::KCPTUN_SALT)?;
    // On paths of 8 ms or more each message is sent at least twice, so that the loss of one datagram delays nothing.
    let config = Config::builder().preset(Preset::Interactive).build()?;
    let listener = KcpListener::builder(&security).config(&config);
    let listener = listener.bind("127.0.0.1:0").await?;
    let server = listener.local_addr()?;
    tokio::spawn(serve(listener));

    let client = KcpStream::builder(&security).config(&config);
    let client = client.connect_messages(server).await?;
    let (mut receiver, mut sender) = client.into_split();
    let started = Instant::now();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / RATE as u32);
        for _ in 0..RATE * SECONDS {
            ticks.tick().await;
            let sent = started.elapsed().as_micros();
            sender.send(&sent.to_le_bytes()).await?;
        }
        Ok::<(), io::Error>(())
    });
    let (mut message, mut round_trips) = (Vec::new(), Vec::new());
    for _ in 0..RATE * SECONDS {
        receiver.recv(&mut message).await?;
        let sent = message.as_slice().try_into().map_err(io::Error::other)?;
        round_trips.push(started.elapsed().as_micros() - u128::from_le_bytes(sent));
        if round_trips.len().is_multiple_of(RATE) {
            round_trips.sort_unstable();
            let p99 = round_trips[round_trips.len() * 99 / 100];
            println!("{} messages, p99 {p99} us", round_trips.len());
        }
    }
    Ok(())
}

/// Answers each message of one client with the same.
async fn serve(listener: KcpListener) -> io::Result<()> {
    let (mut messages, mut message) = (listener.accept().await?.0.into_messages(), Vec::new());
    // `UnexpectedEof` once the client has shut down.
    while messages.recv(&mut message).await.is_ok() {
        messages.send(&message).await?;
    }
    Ok(())
}
