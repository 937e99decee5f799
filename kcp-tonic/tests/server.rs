//! What servers of tonic can be set to, over KCP.
#![allow(clippy::unwrap_used)]

mod support;

use kcp_tonic::kcp_transport::Stats;
use support::helloworld::greeter_client::GreeterClient;
use support::helloworld::greeter_server::GreeterServer;
use support::{Hello, Setup, hello, loopback};
use tonic::codec::CompressionEncoding;

/// Calls once with a name that compresses well, and returns the client's counters.
async fn long_hello(encoding: Option<CompressionEncoding>) -> Stats {
    let setup = Setup::plaintext();
    let incoming = setup.incoming(loopback()).await.unwrap();
    let addr = incoming.local_addr().unwrap();
    let mut service = GreeterServer::new(Hello::default());
    let channel = setup.channel(addr).await;
    let mut client = GreeterClient::new(channel.clone());
    if let Some(encoding) = encoding {
        service = service
            .accept_compressed(encoding)
            .send_compressed(encoding);
        client = client.accept_compressed(encoding).send_compressed(encoding);
    }
    let router = incoming.server_builder().add_service(service);
    tokio::spawn(kcp_tonic::serve(incoming, router).into_future());
    let name = "x".repeat(1 << 20);
    let reply = client.say_hello(hello(name.clone())).await.unwrap();
    let reply = reply.into_inner().message;
    assert!(reply == format!("Hello {name}!"));
    channel.connections()[0].stats()
}

#[tokio::test]
async fn gzip_shrinks_messages_both_ways() {
    let plain = long_hello(None).await;
    assert!(plain.bytes_written > 1 << 20, "{plain:?}");
    assert!(plain.bytes_read > 1 << 20, "{plain:?}");
    let compressed = long_hello(Some(CompressionEncoding::Gzip)).await;
    assert!(compressed.bytes_written < 20_000, "{compressed:?}");
    assert!(compressed.bytes_read < 20_000, "{compressed:?}");
}
