//! Many connections of one client on one socket.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpEndpoint, KcpListener, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn impatient() -> Config {
    let timeout = Duration::from_millis(300);
    let config = Config::builder().connect_timeout(timeout).linger(timeout);
    config.build().expect("in range")
}

async fn echoing(bound: &str) -> SocketAddr {
    let listener = KcpListener::bind(addr(bound), &Security::Plaintext)
        .await
        .expect("binds");
    let known = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = vec![0; 4096];
                loop {
                    let read = stream.read(&mut buffer).await?;
                    if read == 0 {
                        return io::Result::Ok(());
                    }
                    stream.write_all(&buffer[..read]).await?;
                    stream.flush().await?;
                }
            });
        }
    });
    known
}

async fn check_echo(stream: &mut KcpStream, seed: u8) {
    let data: Vec<u8> = (0..50_000_u32).map(|index| index as u8 ^ seed).collect();
    let mut received = vec![0; data.len()];
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (written, read) = tokio::join!(
        async {
            writer.write_all(&data).await?;
            writer.flush().await
        },
        reader.read_exact(&mut received)
    );
    written.expect("writes");
    read.expect("reads");
    assert!(received == data, "another stream's bytes");
}

#[tokio::test]
async fn many_streams_to_many_peers_share_a_socket() {
    let peers = [echoing("127.0.0.1:0").await, echoing("127.0.0.1:0").await];
    // The second one must name v4 peers as its socket does.
    for bound in ["127.0.0.1:0", "[::]:0"] {
        let endpoint = KcpEndpoint::builder(&Security::Plaintext)
            .config(&impatient())
            .bind(addr(bound))
            .await
            .expect("binds");
        let mut streams = Vec::new();
        for index in 0..20 {
            streams.push(endpoint.connect(peers[index % 2]).await.expect("connects"));
        }
        let port = endpoint.local_addr().expect("bound").port();
        let mut conversations = HashSet::new();
        for stream in &streams {
            assert_eq!(stream.local_addr().expect("bound").port(), port);
            conversations.insert(stream.conversation());
        }
        assert_eq!(conversations.len(), streams.len());
        // Streams outlive their endpoint.
        drop(endpoint);
        let checks = streams.into_iter().zip(0..).map(|(mut stream, seed)| {
            tokio::spawn(async move { check_echo(&mut stream, seed).await })
        });
        for check in checks.collect::<Vec<_>>() {
            check.await.expect("no panic");
        }
    }
}

#[tokio::test]
async fn silent_peer_times_out_and_harms_no_other() {
    let peer = echoing("127.0.0.1:0").await;
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("binds");
    let endpoint = KcpEndpoint::builder(&Security::Plaintext)
        .config(&impatient())
        .bind(addr("127.0.0.1:0"))
        .await
        .expect("binds");
    let mut stream = endpoint.connect(peer).await.expect("connects");
    let result = endpoint.connect(silent.local_addr().expect("bound")).await;
    assert_eq!(result.expect_err("silent").kind(), io::ErrorKind::TimedOut);
    check_echo(&mut stream, 1).await;
    let result = endpoint.connect(addr("[::1]:1")).await;
    let kind = result.expect_err("unreachable").kind();
    assert_eq!(kind, io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn socket_is_closed_with_endpoint_and_last_stream() {
    let peer = echoing("127.0.0.1:0").await;
    let endpoint = KcpEndpoint::builder(&Security::Plaintext)
        .config(&impatient())
        .bind(addr("127.0.0.1:0"))
        .await
        .expect("binds");
    let local = endpoint.local_addr().expect("bound");
    let stream = endpoint.connect_lazy(peer).await.expect("opens");
    let end = stream.datagrams();
    drop(endpoint);
    std::net::UdpSocket::bind(local).expect_err("in use by the stream");
    drop(stream);
    // The end of the session is the end of the driver, in the same turn.
    let ended = tokio::time::timeout(Duration::from_secs(20), end.recv()).await;
    ended.expect("ends").expect_err("has ended");
    drop(end);
    std::net::UdpSocket::bind(local).expect("closed");
}
