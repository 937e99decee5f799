//! Connections that become another protocol under `serve`.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod support;

use std::convert::Infallible;
use std::net::UdpSocket;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::routing::any;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kcp_tower::{KcpIo, KcpStream};
use support::{Setup, client, serve_fn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

fn upgrade_request(uri: &str) -> Request<Empty<Bytes>> {
    Request::get(uri)
        .header("connection", "upgrade")
        .header("upgrade", "echo")
        .body(Empty::new())
        .unwrap()
}

/// Answers 101 and then echoes.
async fn echo_protocol(mut request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let upgraded = upgrade.await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgraded));
        tokio::io::copy(&mut reader, &mut writer).await.unwrap();
    });
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", "echo")
        .body(String::new());
    Ok(response.unwrap())
}

async fn check_echo(upgraded: Upgraded) {
    let mut io = TokioIo::new(upgraded);
    for word in [b"hello", b"again"] {
        io.write_all(word).await.unwrap();
        io.flush().await.unwrap();
        let mut echo = [0; 5];
        io.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, word);
    }
}

#[tokio::test]
async fn http1_connections_can_be_upgraded_whatever_versions_are_served() {
    let setup = Setup::plaintext();
    for http1_only in [false, true] {
        let (incoming, addr) = setup.incoming().await;
        let server = serve_fn(incoming, echo_protocol);
        let server = if http1_only {
            server.http1_only()
        } else {
            server
        };
        let server = tokio::spawn(server.into_future());
        let connector = setup.connector();
        let client = connector.client_builder().build(connector);
        let request = upgrade_request(&format!("http://{addr}/"));
        let response = client.request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        check_echo(hyper::upgrade::on(response).await.unwrap()).await;
        server.abort();
    }
}

#[tokio::test]
async fn upgraded_connection_goes_on_while_the_server_drains() {
    let setup = Setup::plaintext();
    let (incoming, addr) = setup.incoming().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = serve_fn(incoming, echo_protocol)
        .http1_only()
        .with_graceful_shutdown(async { stopped.await.unwrap_or_default() });
    let server = tokio::spawn(server.into_future());
    let connector = setup.connector();
    let client = connector.client_builder().build(connector);
    let request = upgrade_request(&format!("http://{addr}/"));
    let response = client.request(request).await.unwrap();
    let upgraded = hyper::upgrade::on(response).await.unwrap();
    stop.send(()).unwrap();
    // The server refuses new connections from now on, so the signal has come.
    while KcpStream::connect(addr, &setup.security).await.is_ok() {}
    check_echo(upgraded).await;
    server.await.unwrap().unwrap();
    UdpSocket::bind(addr).unwrap();
}

#[tokio::test]
async fn http2_is_refused_by_a_server_of_http1_only() {
    let setup = Setup::plaintext();
    let (incoming, addr) = setup.incoming().await;
    let server = tokio::spawn(serve_fn(incoming, echo_protocol).http1_only().into_future());
    let http2 = client(&setup.connector(), true);
    let uri = format!("http://{addr}/");
    let answer = tokio::time::timeout(PATIENCE, http2.get(uri.parse().unwrap()));
    assert!(answer.await.expect("the connection must end").is_err());
    server.abort();
}

fn websockets() -> Router {
    let echo = |upgrade: WebSocketUpgrade| async move {
        upgrade.on_upgrade(|mut socket| async move {
            while let Some(Ok(message)) = socket.recv().await {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
        })
    };
    Router::new().route("/", any(echo))
}

/// Sends a text message and waits for its echo, on a WebSocket that is open.
async fn check_websocket(upgraded: Upgraded) {
    let mut io = TokioIo::new(upgraded);
    // Final text frame of 5 bytes, masked with zeros as clients must.
    io.write_all(b"\x81\x85\0\0\0\0hello").await.unwrap();
    io.flush().await.unwrap();
    let mut echo = [0; 7];
    io.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"\x81\x05hello");
}

#[tokio::test]
async fn websockets_work_over_http1() {
    let setup = Setup::plaintext();
    let (incoming, addr) = setup.incoming().await;
    let service = websockets().into_make_service();
    let server = tokio::spawn(kcp_tower::serve(incoming, service).into_future());
    let connector = setup.connector();
    let client = connector.client_builder().build(connector);
    let request = Request::get(format!("ws://{addr}/"))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(Empty::<Bytes>::new());
    let response = client.request(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    check_websocket(hyper::upgrade::on(response).await.unwrap()).await;
    server.abort();
}

#[tokio::test]
async fn websockets_work_over_http2() {
    let setup = Setup::plaintext();
    for http2_only in [false, true] {
        let (incoming, addr) = setup.incoming().await;
        let service = websockets().into_make_service();
        let server = kcp_tower::serve(incoming, service);
        let server = if http2_only {
            server.http2_only()
        } else {
            server
        };
        let server = tokio::spawn(server.into_future());
        let stream = KcpStream::builder(&setup.security)
            .config(&setup.config)
            .connect(addr);
        let io = KcpIo::new(stream.await.unwrap());
        let executor = TokioExecutor::new();
        let handshake = hyper::client::conn::http2::handshake(executor, io);
        let (mut client, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        // The server's settings, which allow extended CONNECT, come before its first answer.
        let get = Request::get(format!("http://{addr}/none"));
        let get = client.send_request(get.body(Empty::<Bytes>::new()).unwrap());
        assert_eq!(get.await.unwrap().status(), StatusCode::NOT_FOUND);

        let connect = Request::builder()
            .method(Method::CONNECT)
            .version(Version::HTTP_2)
            .uri(format!("http://{addr}/"))
            .extension(hyper::ext::Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13")
            .body(Empty::<Bytes>::new());
        let response = client.send_request(connect.unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        check_websocket(hyper::upgrade::on(response).await.unwrap()).await;
        server.abort();
    }
}

/// Far longer than anything here takes, far shorter than a hang.
const PATIENCE: Duration = Duration::from_secs(10);
