//! Clients of a killed server process: its host refuses their datagrams.
//!
//! Linux reports which peer refused, also on a socket with several peers. Windows does so only for the sockets
//! of single connections.
#![cfg(any(target_os = "linux", target_os = "android"))]

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kcp_transport::error::ConnectionError;
use kcp_transport::{KcpEndpoint, KcpStream, Security};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

const CLEAR: &Security = &Security::Plaintext;

/// A running echo server.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_echo"))
            .args([
                "server",
                "--listen",
                "127.0.0.1:0",
                "--json",
                "--crypt",
                "null",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("is piped");
        BufReader::new(stdout).read_line(&mut line).expect("reads");
        let ready: Value = serde_json::from_str(&line).expect("JSON");
        let address = ready["listening"].as_str().expect("a string").to_owned();
        Self { child, address }
    }

    /// Sends SIGKILL.
    fn kill(&mut self) {
        self.child.kill().expect("runs");
        self.child.wait().expect("ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
    let mut server = Server::start();
    let mut stream = KcpStream::connect(&server.address, CLEAR)
        .await
        .expect("connects");
    echo(&mut stream).await.expect("echoes");
    server.kill();
    assert_gone(stream, Instant::now()).await;
}

#[tokio::test]
async fn only_connections_to_the_killed_server_fail_on_a_shared_socket() {
    for local in ["127.0.0.1:0", "[::]:0"] {
        let (mut first, second) = (Server::start(), Server::start());
        let endpoint = KcpEndpoint::bind(local, CLEAR).await.expect("binds");
        let mut doomed = Vec::new();
        for _ in 0..3 {
            let mut stream = endpoint.connect(&first.address).await.expect("connects");
            echo(&mut stream).await.expect("echoes");
            doomed.push(stream);
        }
        let mut other = endpoint.connect(&second.address).await.expect("connects");
        echo(&mut other).await.expect("echoes");
        first.kill();
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
