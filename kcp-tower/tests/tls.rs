//! TLS inside KCP, under `serve`.
#![allow(clippy::unwrap_used)]

#[path = "support/pki.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the tests of kcp-tonic"
)]
mod pki;
mod support;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::routing::get as handle;
use axum::{Extension, Router};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kcp_tower::{KcpConnectInfo, KcpIo, KcpStream};
use support::{Setup, serve_fn};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ServerConfig};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use pki::Authority;

/// How many certificates the client has shown.
#[derive(Clone, Copy)]
struct Certificates(usize);

/// What a test holds of a server.
struct Server {
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
    /// Lets the handler of `/wait` answer.
    open: Arc<Notify>,
    waiting: Arc<Notify>,
}

async fn serve_tls(config: Arc<ServerConfig>) -> Server {
    let (incoming, addr) = Setup::plaintext().incoming().await;
    let (stop, stopped) = oneshot::channel();
    let (open, waiting) = (Arc::<Notify>::default(), Arc::<Notify>::default());
    let (gate, entered) = (Arc::clone(&open), Arc::clone(&waiting));
    let acceptor = TlsAcceptor::from(config);
    let serving = serve_fn(incoming, move |request: Request<Incoming>| {
        let (gate, entered) = (Arc::clone(&gate), Arc::clone(&entered));
        async move {
            if request.uri().path() == "/wait" {
                entered.notify_one();
                gate.notified().await;
            }
            let info = request.extensions().get::<KcpConnectInfo>().unwrap();
            let Certificates(shown) = request.extensions().get().unwrap();
            let body = format!("{} {shown}", info.peer_addr());
            Ok::<_, Infallible>(Response::new(body))
        }
    })
    .with_handshake(move |io| acceptor.accept(io))
    .with_handshake_info(|tls: &TlsStream<KcpIo>| {
        let shown = tls.get_ref().1.peer_certificates();
        Certificates(shown.map_or(0, <[_]>::len))
    })
    .handshake_timeout(Duration::from_millis(500))
    .with_graceful_shutdown(async { stopped.await.unwrap_or_default() });
    Server {
        addr,
        stop,
        task: tokio::spawn(serving.into_future()),
        open,
        waiting,
    }
}

/// A connection of HTTP/2 over TLS over KCP, and our own address.
async fn connect(
    addr: SocketAddr,
    config: Arc<ClientConfig>,
) -> io::Result<(SendRequest<Empty<Bytes>>, SocketAddr)> {
    let setup = Setup::plaintext();
    let stream = KcpStream::builder(&setup.security)
        .config(&setup.config)
        .connect(addr)
        .await?;
    let local = stream.local_addr()?;
    let name = ServerName::try_from("server.example").unwrap();
    let connecting = TlsConnector::from(config).connect(name, KcpIo::new(stream));
    let io = TokioIo::new(connecting.await?);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (client, connection) = handshake.await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok((client, local))
}

async fn get(client: &mut SendRequest<Empty<Bytes>>, path: &str) -> hyper::Result<String> {
    let request = Request::get(format!("https://server.example{path}"));
    let response = client
        .send_request(request.body(Empty::new()).unwrap())
        .await?;
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn requests_over_tls_carry_information_on_their_connection() {
    let authority = Authority::new("ours");
    let identity = authority.issue("server.example");
    let server = serve_tls(authority.server(&identity, false)).await;
    let (mut client, local) = connect(server.addr, authority.client(None)).await.unwrap();
    let body = get(&mut client, "/").await.unwrap();
    assert_eq!(body, format!("{local} 0"));
}

#[tokio::test]
async fn server_of_another_authority_is_refused() {
    let authority = Authority::new("ours");
    let identity = authority.issue("server.example");
    let server = serve_tls(authority.server(&identity, false)).await;
    let stranger = Authority::new("another").client(None);
    let error = connect(server.addr, stranger).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
}

#[tokio::test]
async fn handlers_see_the_certificate_of_the_client() {
    let authority = Authority::new("ours");
    let identity = authority.issue("server.example");
    let server = serve_tls(authority.server(&identity, true)).await;
    let identity = authority.issue("client.example");
    let config = authority.client(Some(&identity));
    let (mut client, local) = connect(server.addr, config).await.unwrap();
    let body = get(&mut client, "/").await.unwrap();
    assert_eq!(body, format!("{local} 1"));
}

/// What the handshake proved about a client.
#[derive(Clone)]
struct Client(Option<CertificateDer<'static>>);

#[tokio::test]
async fn axum_handlers_extract_the_certificate_of_the_client() {
    let authority = Authority::new("ours");
    let (incoming, addr) = Setup::plaintext().incoming().await;
    let acceptor = TlsAcceptor::from(authority.server(&authority.issue("server.example"), true));
    let handler =
        handle(async |Extension(Client(shown)): Extension<Client>| shown.unwrap().to_vec());
    let router = Router::new().route("/", handler);
    let serving = kcp_tower::serve(incoming, router.into_make_service())
        .with_handshake(move |io| acceptor.accept(io))
        .with_handshake_info(|tls: &TlsStream<KcpIo>| {
            let shown = tls.get_ref().1.peer_certificates();
            Client(shown.and_then(<[_]>::first).cloned())
        });
    tokio::spawn(serving.into_future());
    let identity = authority.issue("client.example");
    let (mut client, _) = connect(addr, authority.client(Some(&identity)))
        .await
        .unwrap();
    let request = Request::get("https://server.example/").body(Empty::new());
    let response = client.send_request(request.unwrap()).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, identity.certificate_der());
}

#[tokio::test]
async fn client_without_the_right_certificate_is_refused() {
    let authority = Authority::new("ours");
    let identity = authority.issue("server.example");
    let server = serve_tls(authority.server(&identity, true)).await;
    let foreign = Authority::new("another").issue("client.example");
    for identity in [None, Some(&foreign)] {
        // With TLS 1.3 the client's handshake is over before the server has judged its certificate.
        let answer = async {
            let (mut client, _) = connect(server.addr, authority.client(identity)).await?;
            let answer = get(&mut client, "/").await;
            answer.map_err(io::Error::other)
        };
        assert!(answer.await.is_err());
    }
    // The server goes on.
    let identity = authority.issue("client.example");
    let config = authority.client(Some(&identity));
    let (mut client, _) = connect(server.addr, config).await.unwrap();
    get(&mut client, "/").await.unwrap();
}

#[tokio::test]
async fn request_over_tls_finishes_after_the_shutdown_signal() {
    let authority = Authority::new("ours");
    let identity = authority.issue("server.example");
    let server = serve_tls(authority.server(&identity, false)).await;
    let (mut client, _) = connect(server.addr, authority.client(None)).await.unwrap();
    let answer = tokio::spawn(async move { get(&mut client, "/wait").await });
    server.waiting.notified().await;
    server.stop.send(()).unwrap();
    tokio::task::yield_now().await;
    assert!(!server.task.is_finished());
    server.open.notify_one();
    answer.await.unwrap().unwrap();
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn handshake_that_never_ends_holds_up_nothing() {
    let authority = Authority::new("ours");
    let identity = authority.issue("server.example");
    let server = serve_tls(authority.server(&identity, false)).await;
    let setup = Setup::plaintext();
    let silent = KcpStream::builder(&setup.security)
        .config(&setup.config)
        .connect(server.addr);
    let silent = silent.await.unwrap();
    let (mut client, _) = connect(server.addr, authority.client(None)).await.unwrap();
    get(&mut client, "/").await.unwrap();
    server.stop.send(()).unwrap();
    let end = tokio::time::timeout(Duration::from_millis(400), server.task);
    end.await
        .expect("waits for the handshake")
        .unwrap()
        .unwrap();
    drop(silent);
}
