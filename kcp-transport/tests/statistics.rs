//! Statistics of endpoints over real sockets on loopback.
#![allow(clippy::disallowed_methods)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpListener, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn endpoint_counts_its_connections_and_adds_them_up() {
    let security = Security::from_password("aes-128-gcm", "test", b"kcp-go").expect("known name");
    let config = Config::default();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = KcpListener::bind_with(any, &security, &config)
        .await
        .expect("binds");
    let addr = listener.local_addr().expect("bound");
    let mut pairs = Vec::new();
    for _ in 0..3 {
        let (client, server) = tokio::join!(
            KcpStream::connect_with(addr, &security, &config),
            listener.accept()
        );
        let (mut client, mut server) = (client.expect("connects"), server.expect("accepts").0);
        client.write_all(&[1; 1000]).await.expect("writes");
        client.flush().await.expect("flushes");
        server.read_exact(&mut [0; 1000]).await.expect("reads");
        pairs.push((client, server));
    }
    let stats = listener.stats();
    assert_eq!((stats.passive_opens, stats.active_opens), (3, 0));
    assert_eq!((stats.connections, stats.max_connections), (3, 3));
    assert!(stats.wire_bytes_received >= 3000);
    assert_eq!(listener.totals().bytes_read, 3000);

    let (client, server) = pairs.pop().expect("three");
    let own = client.info().endpoint_stats();
    assert_eq!((own.active_opens, own.passive_opens), (1, 0));
    let (sent, received) = (client.stats(), server.stats());
    assert!(received.wire_bytes_received > 1000);
    assert!(sent.wire_bytes_sent >= received.wire_bytes_received);
    assert_eq!(sent.bytes_written, 1000);
    drop((client, server));
    // An abandoned session stays until its peer has been silent for three seconds.
    for _ in 0..100 {
        if listener.stats().connections == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let stats = listener.stats();
    assert_eq!((stats.connections, stats.max_connections), (2, 3));
    let totals = listener.totals();
    assert_eq!(totals.bytes_read, 3000, "what ended still counts");
    assert!(totals.to_string().contains("bytes_read "), "{totals}");
}
