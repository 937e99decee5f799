//! HTTP/1 and HTTP/2 over KCP: hyper's client against `serve`.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashSet;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use kcp_tower::{KcpConnectInfo, KcpIncoming, KcpIo, KcpStream};
use support::{HttpClient, Setup, client, deaf_addr, loopback, pattern, serve_fn};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

async fn echo(request: Request<Incoming>) -> Result<Response<Incoming>, Infallible> {
    Ok(Response::new(request.into_body()))
}

async fn post(client: &HttpClient, uri: &str, body: Bytes) -> (Version, Bytes) {
    let request = Request::post(uri).body(Full::new(body)).unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let version = response.version();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (version, body)
}

async fn bodies_come_back(setup: Setup, version: Version) {
    let (incoming, addr) = setup.incoming().await;
    let server = tokio::spawn(serve_fn(incoming, echo).into_future());
    let client = setup.client(version == Version::HTTP_2);
    let uri = format!("http://{addr}/");
    for len in [0, 1, 1375, 1376, 1377, 65_535, 1 << 20, 16 << 20] {
        let sent = pattern(len);
        let (spoken, received) = post(&client, &uri, sent.clone()).await;
        assert_eq!(spoken, version);
        assert!(received == sent, "{len} bytes came back differently");
    }
    server.abort();
}

#[tokio::test]
async fn http1_bodies_come_back() {
    bodies_come_back(Setup::plaintext(), Version::HTTP_11).await;
}

#[tokio::test]
async fn http2_bodies_come_back() {
    bodies_come_back(Setup::plaintext(), Version::HTTP_2).await;
}

#[tokio::test]
async fn bodies_come_back_through_cipher_and_fec() {
    bodies_come_back(Setup::sealed(), Version::HTTP_11).await;
    bodies_come_back(Setup::sealed(), Version::HTTP_2).await;
}

#[tokio::test]
async fn connections_of_a_connector_move_to_other_sockets() {
    let setup = Setup::sealed();
    let (incoming, addr) = setup.incoming().await;
    let server = tokio::spawn(
        serve_fn(incoming, |request: Request<Incoming>| async move {
            let info = request.extensions().get::<KcpConnectInfo>().unwrap();
            let seen = format!("{:?} {}", info.conversation(), info.peer_addr().port());
            Ok::<_, Infallible>(Response::new(seen))
        })
        .into_future(),
    );
    let connector = setup.connector();
    assert_eq!(connector.rebind(), 0);
    let client = client(&connector, true);
    let uri = format!("http://{addr}/");
    let mut seen = Vec::new();
    for _ in 0..5 {
        let (_, body) = post(&client, &uri, pattern(10_000)).await;
        let body = String::from_utf8(body.to_vec()).unwrap();
        let (conversation, port) = body.split_once(' ').unwrap();
        seen.push((conversation.to_owned(), port.to_owned()));
        assert_eq!(connector.rebind(), 1);
    }
    let (conversations, ports): (HashSet<_>, HashSet<_>) = seen.into_iter().unzip();
    assert_eq!((conversations.len(), ports.len()), (1, 5));
    server.abort();
}

#[tokio::test]
async fn http2_requests_share_a_connection() {
    let setup = Setup::plaintext();
    let (incoming, addr) = setup.incoming().await;
    let server = tokio::spawn(
        serve_fn(incoming, |request: Request<Incoming>| async move {
            let info = request.extensions().get::<KcpConnectInfo>().unwrap();
            let conversation = format!("{:?}", info.conversation());
            Ok::<_, Infallible>(Response::new(conversation))
        })
        .into_future(),
    );
    let client = setup.client(true);
    let uri = format!("http://{addr}/");
    let (_, first) = post(&client, &uri, Bytes::new()).await;
    let rest = (0..100).map(|_| post(&client, &uri, pattern(10_000)));
    for (_, other) in futures_util::future::join_all(rest).await {
        assert_eq!(other, first);
    }
    server.abort();
}

#[tokio::test]
async fn extensions_describe_the_connection_on_both_sides() {
    let setup = Setup::plaintext();
    let (incoming, addr) = setup.incoming().await;
    let server = tokio::spawn(
        serve_fn(incoming, |request: Request<Incoming>| async move {
            let info = request.extensions().get::<KcpConnectInfo>().unwrap();
            assert!(info.stats().bytes_read > 0);
            Ok::<_, Infallible>(Response::new(info.peer_addr().to_string()))
        })
        .into_future(),
    );
    let uri = format!("http://{addr}/").parse().unwrap();
    let response = setup.client(false).get(uri).await.unwrap();
    let info = response.extensions().get::<KcpConnectInfo>().unwrap();
    assert_eq!(info.peer_addr(), addr);
    assert!(info.stats().bytes_written > 0);
    let local = info.local_addr().unwrap().to_string();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, local);
    server.abort();
}

#[tokio::test]
async fn version_can_be_fixed() {
    let setup = Setup::plaintext();
    let (incoming, addr) = setup.incoming().await;
    let server = tokio::spawn(serve_fn(incoming, echo).http2_only().into_future());
    let uri = format!("http://{addr}/");
    let (version, _) = post(&setup.client(true), &uri, Bytes::new()).await;
    assert_eq!(version, Version::HTTP_2);
    let http1 = setup.client(false).get(uri.parse().unwrap()).await;
    assert!(http1.is_err());
    server.abort();
}

#[tokio::test]
async fn clients_of_both_versions_get_their_own_answers() {
    let setup = Setup::plaintext();
    let (incoming, addr) = setup.incoming().await;
    let server = tokio::spawn(serve_fn(incoming, echo).into_future());
    let uri = &format!("http://{addr}/");
    let calls = (0..20).map(|i| {
        let client = setup.client(i % 2 == 0);
        async move {
            let sent = pattern(1000 * i);
            let (_, received) = post(&client, uri, sent.clone()).await;
            assert_eq!(received, sent);
        }
    });
    futures_util::future::join_all(calls).await;
    server.abort();
}

#[tokio::test]
async fn vectored_writes_reach_the_stream() {
    let setup = Setup::plaintext();
    let peer = deaf_addr().await;
    let stream = KcpStream::builder(&setup.security)
        .config(&setup.config)
        .connect_lazy(peer)
        .await
        .unwrap();
    assert!(stream.is_write_vectored());
    let io = KcpIo::new(stream);
    assert!(AsyncWrite::is_write_vectored(&io));
    assert!(hyper::rt::Write::is_write_vectored(&io));
}

/// Waits 50 ms for the first byte of a peer.
async fn impatient_incoming(setup: &Setup) -> KcpIncoming {
    let listening = setup.listening();
    let listening = listening.first_byte_timeout(Duration::from_millis(50));
    listening.bind(loopback()).await.unwrap()
}

#[tokio::test]
async fn silent_peer_fails_the_wait_for_the_first_byte() {
    let setup = Setup::plaintext();
    let mut incoming = impatient_incoming(&setup).await;
    let addr = incoming.local_addr().unwrap();
    let _silent = KcpStream::builder(&setup.security)
        .config(&setup.config)
        .connect(addr)
        .await
        .unwrap();
    let mut io = incoming.next().await.unwrap().unwrap();
    let error = AsyncReadExt::read_u8(&mut io).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(error.to_string(), "peer connected but sent nothing");
}

#[tokio::test]
async fn settings_sent_to_a_silent_peer_do_not_end_the_wait_for_its_first_byte() {
    let setup = Setup::plaintext();
    let incoming = impatient_incoming(&setup).await;
    let addr = incoming.local_addr().unwrap();
    let server = tokio::spawn(serve_fn(incoming, echo).http2_only().into_future());
    let mut silent = KcpStream::builder(&setup.security)
        .config(&setup.config)
        .connect(addr)
        .await
        .unwrap();
    let mut settings = Vec::new();
    let end = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut settings)).await;
    end.expect("the connection must end").unwrap();
    assert!(!settings.is_empty(), "HTTP/2 begins with settings");
    server.abort();
}

#[tokio::test]
async fn peer_may_be_silent_after_its_first_byte() {
    let setup = Setup::plaintext();
    let mut incoming = impatient_incoming(&setup).await;
    let addr = incoming.local_addr().unwrap();
    let mut peer = KcpStream::builder(&setup.security)
        .config(&setup.config)
        .connect(addr)
        .await
        .unwrap();
    peer.write_all(b"x").await.unwrap();
    peer.flush().await.unwrap();
    let mut io = incoming.next().await.unwrap().unwrap();
    assert_eq!(AsyncReadExt::read_u8(&mut io).await.unwrap(), b'x');
    let next = AsyncReadExt::read_u8(&mut io);
    let next = tokio::time::timeout(Duration::from_millis(200), next);
    assert!(next.await.is_err(), "the read must still be waiting");
}

/// Far longer than the time-outs here, far shorter than a hang.
const PATIENCE: Duration = Duration::from_secs(10);
