//! HTTP/2 over TLS over KCP.
//!
//! cargo run -p kcp-tower --example tls --features axum

use std::sync::Arc;

use axum::{Router, routing::get};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kcp_tower::{BoxError, KcpIncoming, KcpIo, KcpStream, Security, serve};
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

#[tokio::main]
pub(crate) async fn main() -> Result<(), BoxError> {
    let (server_tls, client_tls) = certificates()?;
    // TLS protects the data, so KCP below needs no cipher.
    let incoming = KcpIncoming::bind("127.0.0.1:0", &Security::Plaintext).await?;
    let server = incoming.local_addr()?;
    let router = Router::new().route("/", get(async || "hello"));
    let acceptor = TlsAcceptor::from(Arc::new(server_tls));
    let serving = serve(incoming, router.into_make_service())
        // A client that is slow or fails here holds up no other.
        .with_handshake(move |io| acceptor.accept(io));
    tokio::spawn(serving.into_future());

    let stream = KcpStream::connect(server, &Security::Plaintext).await?;
    let connector = TlsConnector::from(Arc::new(client_tls));
    let tls = connector.connect("localhost".try_into()?, KcpIo::new(stream));
    let io = TokioIo::new(tls.await?);
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), io).await?;
    tokio::spawn(connection);
    let request = http::Request::get("https://localhost/");
    let request = request.body(Empty::<Bytes>::new())?;
    let response = client.send_request(request).await?;
    let body = response.into_body().collect().await?.to_bytes();
    println!("{}", String::from_utf8_lossy(&body));
    Ok(())
}

/// A certificate for `localhost` that the client trusts. A real one comes from an authority.
fn certificates() -> Result<(ServerConfig, ClientConfig), BoxError> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let server = ServerConfig::builder().with_no_client_auth();
    let mut server = server.with_single_cert(vec![made.cert.der().clone()], key)?;
    let mut trusted = RootCertStore::empty();
    trusted.add(made.cert.der().clone())?;
    let client = ClientConfig::builder().with_root_certificates(trusted);
    let mut client = client.with_no_client_auth();
    // HTTP/2 is agreed upon in the handshake.
    server.alpn_protocols = vec![b"h2".to_vec()];
    client.alpn_protocols = vec![b"h2".to_vec()];
    Ok((server, client))
}
