//! Threads that are blocked by something else than this crate, over real sockets.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpListener, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::harness::real;
use crate::pattern;

const SECURITY: Security = Security::Plaintext;

async fn echo(stream: KcpStream) {
    let (mut reader, mut writer) = stream.into_split();
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = reader.read(&mut buffer).await {
        if writer.write_all(&buffer[..read]).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
}

async fn listen(config: &Config) -> KcpListener {
    let listener = KcpListener::builder(&SECURITY)
        .config(config)
        .bind("127.0.0.1:0")
        .await;
    listener.expect("binds")
}

async fn serve(listener: KcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(echo(stream));
    }
}

/// Sends data for the echo, blocks the thread in the midst of it, and checks that all comes back.
/// Returns how long that took from the end of the pause on.
async fn check_pause(stream: &mut KcpStream, pause: Duration) -> Duration {
    // More than all buffers on the way hold.
    let data = pattern(8_000_000);
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut received = vec![0; data.len()];
    let (first, rest) = received.split_at_mut(2_000_000);
    let writing = async {
        writer.write_all(&data).await?;
        writer.flush().await
    };
    let reading = async {
        reader.read_exact(first).await?;
        // Much is on its way, in both directions.
        thread::sleep(pause);
        let resumed = Instant::now();
        reader.read_exact(rest).await?;
        io::Result::Ok(resumed)
    };
    let exchange = async { tokio::join!(writing, reading) };
    let done = timeout(Duration::from_secs(20), exchange).await;
    let (written, read) = done.expect("never recovers");
    written.expect("writes");
    let resumed = read.expect("reads");
    assert!(received == data, "lost or doubled a byte");
    resumed.elapsed()
}

/// Time-outs far below the longest pause. A pause that ends within a second after a time-out cannot
/// be distinguished from silence of the peer.
fn impatient() -> Config {
    Config::builder()
        .keepalive(Duration::from_millis(300))
        .user_timeout(Duration::from_secs(2))
        .idle_timeout(Duration::from_secs(3))
        .build()
        .expect("in range")
}

#[test]
fn thread_blocked_for_ten_milliseconds_to_five_seconds_loses_no_session_of_either_side() {
    real().block_on(async {
        let config = impatient();
        let listener = listen(&config).await;
        let addr = listener.local_addr().expect("bound");
        tokio::spawn(serve(listener));
        let connect = KcpStream::builder(&SECURITY).config(&config).connect(addr);
        let mut stream = connect.await.expect("connects");
        for pause in [10, 100, 10, 1_000, 100, 5_000, 10] {
            let pause = Duration::from_millis(pause);
            let recovery = check_pause(&mut stream, pause).await;
            println!("{pause:?} of pause: done {recovery:?} later");
            assert!(recovery < Duration::from_secs(5), "{recovery:?}");
        }
    });
}

/// A server on a thread of its own, until the sender is dropped.
fn server() -> (SocketAddr, oneshot::Sender<()>, thread::JoinHandle<()>) {
    let (bound, known) = mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = thread::spawn(move || {
        real().block_on(async {
            let listener = listen(&Config::default()).await;
            bound
                .send(listener.local_addr().expect("bound"))
                .expect("awaited");
            tokio::select! {
                () = serve(listener) => {}
                _ = stopped => {}
            }
        });
    });
    (known.recv().expect("starts"), stop, thread)
}

#[test]
fn blocked_client_of_a_running_server_recovers() {
    let (addr, stop, thread) = server();
    real().block_on(async {
        let mut stream = KcpStream::connect(addr, &SECURITY).await.expect("connects");
        for pause in [10, 100, 10, 1_000, 100] {
            let pause = Duration::from_millis(pause);
            let recovery = check_pause(&mut stream, pause).await;
            println!("{pause:?} of pause: done {recovery:?} later");
            assert!(recovery < Duration::from_secs(5), "{recovery:?}");
        }
    });
    drop(stop);
    thread.join().expect("no panic");
}
