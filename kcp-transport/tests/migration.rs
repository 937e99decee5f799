//! Clients behind a NAT that forgets them, over real sockets.
#![allow(clippy::disallowed_methods)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpListener, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

/// Forwards between one client and a server, from a port that changes when told to.
struct Nat {
    inside: Arc<UdpSocket>,
    server: SocketAddr,
    outside: Mutex<Arc<UdpSocket>>,
    client: Mutex<Option<SocketAddr>>,
}

impl Nat {
    async fn start(server: SocketAddr) -> Arc<Self> {
        let inside = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
        let outside = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
        let nat = Arc::new(Self {
            inside: Arc::new(inside),
            server,
            outside: Mutex::new(Arc::new(outside)),
            client: Mutex::default(),
        });
        tokio::spawn(Arc::clone(&nat).out());
        let outside = nat.outside();
        tokio::spawn(Arc::clone(&nat).back(outside));
        nat
    }

    fn outside(&self) -> Arc<UdpSocket> {
        Arc::clone(&self.outside.lock().expect("no panic under the lock"))
    }

    async fn out(self: Arc<Self>) {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = self.inside.recv_from(&mut buffer).await {
            *self.client.lock().expect("no panic under the lock") = Some(from);
            let _ = self.outside().send_to(&buffer[..len], self.server).await;
        }
    }

    /// Ends with the first datagram after the port is no longer ours.
    async fn back(self: Arc<Self>, outside: Arc<UdpSocket>) {
        let mut buffer = [0; 2048];
        while let Ok(len) = outside.recv(&mut buffer).await {
            if !Arc::ptr_eq(&outside, &self.outside()) {
                return;
            }
            let client = *self.client.lock().expect("no panic under the lock");
            if let Some(client) = client {
                let _ = self.inside.send_to(&buffer[..len], client).await;
            }
        }
    }

    async fn rebind(self: &Arc<Self>) {
        let outside = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("binds"));
        *self.outside.lock().expect("no panic under the lock") = Arc::clone(&outside);
        tokio::spawn(Arc::clone(self).back(outside));
    }
}

async fn moves(shards: u16) {
    let security = Security::from_password("aes-128-gcm", "secret", b"salt").expect("a known name");
    let config = Config::builder().shards(shards).build().expect("in range");
    let listen = "127.0.0.1:0".parse().expect("an address");
    let listener = KcpListener::bind_with(listen, &security, &config)
        .await
        .expect("binds");
    let nat = Nat::start(listener.local_addr().expect("bound")).await;
    let inside = nat.inside.local_addr().expect("bound");
    let (client, accepted) = tokio::join!(
        KcpStream::connect_with(inside, &security, &config),
        listener.accept(),
    );
    let (mut client, mut server) = (client.expect("connects"), accepted.expect("accepts").0);
    for round in 0..30_u8 {
        let sent = [round; 5000];
        let mut received = [0; 5000];
        client.write_all(&sent).await.expect("writes");
        client.flush().await.expect("flushes");
        server.read_exact(&mut received).await.expect("reads");
        assert_eq!(sent, received);
        server.write_all(&sent).await.expect("writes");
        server.flush().await.expect("flushes");
        client.read_exact(&mut received).await.expect("reads");
        assert_eq!(sent, received);
        nat.rebind().await;
    }
    let stats = listener.stats();
    assert_eq!((stats.moved, stats.passive_opens), (29, 1), "{stats}");
}

#[tokio::test]
async fn stream_goes_on_from_another_port() {
    moves(1).await;
}

#[tokio::test]
async fn stream_goes_on_behind_another_shard_of_the_listener() {
    moves(4).await;
}
