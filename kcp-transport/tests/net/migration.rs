//! Clients whose addresses change, by a NAT that forgets them or on purpose, over real sockets.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use kcp_transport::config::{Config, Extensions, ListenerConfig};
use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpEndpoint, KcpListener, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

/// Forwards between one client and a server, from a port that changes on request.
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

/// Sends some bytes back and forth.
async fn exchange(round: u8, client: &mut KcpStream, server: &mut KcpStream) {
    send(round, client, server).await;
    send(round, server, client).await;
}

async fn send(round: u8, from: &mut KcpStream, to: &mut KcpStream) {
    let sent = [round; 5000];
    let mut received = [0; 5000];
    from.write_all(&sent).await.expect("writes");
    from.flush().await.expect("flushes");
    to.read_exact(&mut received).await.expect("reads");
    assert_eq!(sent, received);
}

async fn moves(shards: u16) {
    let security = security();
    let config = ListenerConfig::builder().shards(shards).build();
    let listener = KcpListener::builder(&security)
        .listener_config(&config.expect("in range"))
        .bind("127.0.0.1:0")
        .await
        .expect("binds");
    let nat = Nat::start(listener.local_addr().expect("bound")).await;
    let inside = nat.inside.local_addr().expect("bound");
    let (client, accepted) =
        tokio::join!(KcpStream::connect(inside, &security), listener.accept(),);
    let (mut client, mut server) = (client.expect("connects"), accepted.expect("accepts").0);
    for round in 0..30_u8 {
        exchange(round, &mut client, &mut server).await;
        nat.rebind().await;
    }
    let stats = listener.stats();
    assert_eq!((stats.moved, stats.passive_opens), (29, 1), "{stats}");
}

#[tokio::test]
async fn stream_goes_on_from_another_port() {
    moves(1).await;
}

/// Other systems have no listeners with several sockets.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[tokio::test]
async fn stream_goes_on_behind_another_shard_of_the_listener() {
    moves(4).await;
}

fn security() -> Security {
    Security::from_password("aes-128-gcm", "secret", b"salt").expect("a known name")
}

async fn listen(config: &Config) -> (KcpListener, SocketAddr) {
    let listener = KcpListener::builder(&security())
        .config(config)
        .bind("127.0.0.1:0")
        .await;
    let listener = listener.expect("binds");
    let addr = listener.local_addr().expect("bound");
    (listener, addr)
}

#[tokio::test]
async fn stream_goes_on_from_another_socket() {
    // So that nothing but the move itself makes the client speak.
    let config = Config::builder().keepalive(None).build();
    let config = config.expect("in range");
    let (listener, addr) = listen(&config).await;
    let security = security();
    let (client, accepted) = tokio::join!(
        KcpStream::builder(&security).config(&config).connect(addr),
        listener.accept(),
    );
    let (mut client, mut server) = (client.expect("connects"), accepted.expect("accepts").0);
    for round in 0..30 {
        exchange(round, &mut client, &mut server).await;
        let before = client.local_addr().expect("bound");
        client.rebind().expect("moves");
        let after = client.local_addr().expect("bound");
        assert_ne!(before, after);
        // Only the server speaks: it must learn by itself where the client is now.
        send(round, &mut server, &mut client).await;
        assert_eq!(server.peer_addr().expect("known"), after);
    }
    assert_eq!(listener.stats().moved, 30);
    let moved = client.info().rebind();
    moved.expect("moves by the handle, too");
    exchange(77, &mut client, &mut server).await;
}

#[tokio::test]
async fn all_connections_of_an_endpoint_go_on_from_another_socket() {
    let config = Config::default();
    let (listener, addr) = listen(&config).await;
    let endpoint = KcpEndpoint::builder(&security())
        .config(&config)
        .bind("127.0.0.1:0")
        .await
        .expect("binds");
    let mut pairs = Vec::new();
    for _ in 0..5 {
        let (client, accepted) = tokio::join!(endpoint.connect(addr), listener.accept());
        pairs.push((client.expect("connects"), accepted.expect("accepts").0));
    }
    for round in 0..10 {
        for (client, server) in &mut pairs {
            exchange(round, client, server).await;
        }
        endpoint.rebind(([127, 0, 0, 1], 0).into()).expect("moves");
    }
    let wrong = endpoint.rebind("[::1]:0".parse().expect("an address"));
    let wrong = wrong.expect_err("the other family");
    assert_eq!(wrong.kind(), io::ErrorKind::InvalidInput);
    let alone = pairs[0].0.rebind().expect_err("shares its socket");
    assert_eq!(alone.kind(), io::ErrorKind::Unsupported);
}

#[tokio::test]
async fn stream_whose_peer_does_not_follow_stays_where_it_is() {
    let follows = Config::default();
    let stays = Config::builder().extensions(Extensions::On).build();
    let (listener, addr) = listen(&stays.expect("in range")).await;
    let security = security();
    let (client, accepted) = tokio::join!(
        KcpStream::builder(&security).config(&follows).connect(addr),
        listener.accept(),
    );
    let (mut client, mut server) = (client.expect("connects"), accepted.expect("accepts").0);
    exchange(1, &mut client, &mut server).await;
    let before = client.local_addr().expect("bound");
    for stream in [&client, &server] {
        let refused = stream.rebind().expect_err("refused");
        assert_eq!(refused.kind(), io::ErrorKind::Unsupported, "{refused}");
    }
    assert_eq!(client.local_addr().expect("bound"), before);
    exchange(2, &mut client, &mut server).await;
}
