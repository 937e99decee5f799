//! Clients of a killed server process: its host refuses their datagrams.
//!
//! Linux reports which peer refused, also on a socket with several peers. Windows does so only for the sockets
//! of single connections.
#![cfg(any(target_os = "linux", target_os = "android"))]

#[allow(dead_code, reason = "not every test uses everything")]
mod support;

use std::io;
use std::time::{Duration, Instant};

use kcp_transport::error::ConnectionError;
use kcp_transport::{KcpEndpoint, KcpStream, Security};
use support::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

const CLEAR: &Security = &Security::Plaintext;

fn start() -> Server {
    let arguments = "server --listen 127.0.0.1:0 --json --crypt null";
    Server::start(env!("CARGO_BIN_EXE_echo"), arguments, None)
}

/// Sends SIGKILL.
fn kill(server: &mut Server) {
    server.child.kill().expect("runs");
    server.child.wait().expect("ends");
}

async fn echo(stream: &mut KcpStream) -> io::Result<()> {
    stream.write_all(b"call").await?;
    stream.flush().await?;
    stream.read_exact(&mut [0; 4]).await?;
    Ok(())
}

/// Calls until one fails.
async fn first_error(mut stream: KcpStream) -> io::Error {
    loop {
        if let Err(error) = echo(&mut stream).await {
            return error;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Checks that a connection with a call in flight fails with `PeerGone` soon after its server was killed.
async fn assert_gone(stream: KcpStream, killed: Instant) {
    let error = timeout(NOTICED * 2, first_error(stream))
        .await
        .expect("ends");
    let reason = ConnectionError::from_io(&error);
    assert_eq!(reason, Some(&ConnectionError::PeerGone), "{error}");
    assert!(killed.elapsed() < NOTICED, "{:?}", killed.elapsed());
}

#[tokio::test]
async fn connection_to_a_killed_server_fails_within_two_seconds() {
    let mut server = start();
    let mut stream = KcpStream::connect(&server.address, CLEAR)
        .await
        .expect("connects");
    echo(&mut stream).await.expect("echoes");
    kill(&mut server);
    assert_gone(stream, Instant::now()).await;
}

#[tokio::test]
async fn only_connections_to_the_killed_server_fail_on_a_shared_socket() {
    for local in ["127.0.0.1:0", "[::]:0"] {
        let (mut first, second) = (start(), start());
        let endpoint = KcpEndpoint::bind(local, CLEAR).await.expect("binds");
        let mut doomed = Vec::new();
        for _ in 0..3 {
            let mut stream = endpoint.connect(&first.address).await.expect("connects");
            echo(&mut stream).await.expect("echoes");
            doomed.push(stream);
        }
        let mut other = endpoint.connect(&second.address).await.expect("connects");
        echo(&mut other).await.expect("echoes");
        kill(&mut first);
        let killed = Instant::now();
        let mut gone = tokio::task::JoinSet::new();
        for stream in doomed {
            gone.spawn(assert_gone(stream, killed));
        }
        while !gone.is_empty() {
            tokio::select! {
                ended = gone.join_next() => ended.expect("is left").expect("notices"),
                () = sleep(Duration::from_millis(10)) => {
                    echo(&mut other).await.expect("the other server lives");
                }
            }
        }
        echo(&mut other).await.expect("the other server lives");

        // A refusal ends an attempt to connect at once.
        let started = Instant::now();
        let error = endpoint
            .connect(&first.address)
            .await
            .expect_err("is refused");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
        assert!(started.elapsed() < NOTICED, "{:?}", started.elapsed());
    }
}

/// Limit for noticing the end: one retransmission time-out until the first refusal, and one second after it.
const NOTICED: Duration = Duration::from_secs(2);
