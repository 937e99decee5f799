//! Acks that go with the answers that are written at once.

use std::time::Duration;

use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpListener, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::memory::Network;

async fn answer(stream: &mut KcpStream, pause: Option<Duration>) {
    let mut request = [0; 100];
    stream.read_exact(&mut request).await.expect("reads");
    if let Some(pause) = pause {
        sleep(pause).await;
    }
    stream.write_all(&request).await.expect("writes");
    stream.flush().await.expect("sends");
}

async fn call(stream: &mut KcpStream) {
    let mut answer = [7; 100];
    stream.write_all(&answer).await.expect("writes");
    stream.flush().await.expect("sends");
    stream.read_exact(&mut answer).await.expect("reads");
}

/// Datagrams of a client and its server for 150 calls, with a pause before each answer.
async fn datagrams(pause: Option<Duration>) -> [u64; 2] {
    let network = Network::default();
    let (host, security) = (network.host(), Security::Plaintext);
    let addr = host.addr();
    let builder = KcpListener::builder(&security);
    let listener = builder.on_transport(host).expect("in range");
    let connecting = KcpStream::builder(&security)
        .transport(network.host())
        .connect(addr);
    let (client, server) = tokio::join!(connecting, listener.accept());
    let (mut client, mut server) = (client.expect("connects"), server.expect("accepts").0);
    // Tasks of their own: the runtime polls the future of the test more seldom.
    let serving = tokio::spawn(async move {
        for _ in 0..150 {
            answer(&mut server, pause).await;
        }
        server
    });
    let calling = tokio::spawn(async move {
        for _ in 0..150 {
            call(&mut client).await;
        }
        client
    });
    let client = calling.await.expect("no panic");
    let server = serving.await.expect("no panic");
    [client, server].map(|it| it.stats().datagrams_sent)
}

#[tokio::test(start_paused = true)]
async fn ack_goes_with_an_answer_that_is_written_at_once() {
    let [client, server] = datagrams(None).await;
    // Until they know that nothing is lost, acks are sent by themselves.
    assert!(client <= 190 && server <= 190, "{client} and {server}");
}

#[tokio::test(start_paused = true)]
async fn ack_does_not_wait_for_an_answer_that_is_written_later() {
    let [client, server] = datagrams(Some(Duration::from_millis(5))).await;
    assert!(client <= 190 && server >= 298, "{client} and {server}");
}
