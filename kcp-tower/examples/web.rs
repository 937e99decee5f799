//! An axum server with a WebSocket and server-sent events, and clients of both.
//!
//! cargo run -p kcp-tower --example web --features axum

use std::convert::Infallible;

use axum::Router;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::response::sse::{Event, Sse};
use axum::routing::{any, get};
use bytes::Bytes;
use futures_util::{SinkExt, Stream, StreamExt, stream};
use http_body_util::{BodyExt, Empty};
use kcp_tower::{BoxError, KcpConnector, KcpIncoming, KcpStream, Security, serve};
use tokio_tungstenite::{client_async, tungstenite::Message};

#[tokio::main]
pub(crate) async fn main() -> Result<(), BoxError> {
    let security = Security::from_password("aes-128-gcm", "a password", Security::KCPTUN_SALT)?;
    let incoming = KcpIncoming::bind("127.0.0.1:0", &security).await?;
    let server = incoming.local_addr()?;
    let echo = any(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo));
    let router = Router::new().route("/echo", echo);
    let router = router.route("/count", get(count));
    tokio::spawn(serve(incoming, router.into_make_service()).into_future());

    // Any client of WebSockets that takes a stream of tokio.
    let stream = KcpStream::connect(server, &security).await?;
    let (mut socket, _response) = client_async(format!("ws://{server}/echo"), stream).await?;
    for text in ["hello", "again"] {
        socket.send(Message::text(text)).await?;
        let answer = socket.next().await.ok_or("closed")??;
        println!("{}", answer.to_text()?);
    }
    socket.close(None).await?;

    let connector = KcpConnector::new(&security);
    let builder = connector.client_builder();
    let client = builder.build::<_, Empty<Bytes>>(connector);
    let response = client.get(format!("http://{server}/count").parse()?);
    let mut events = response.await?.into_body();
    while let Some(frame) = events.frame().await {
        let data = frame?.into_data().unwrap_or_default();
        print!("{}", String::from_utf8_lossy(&data));
    }
    Ok(())
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            break;
        }
    }
}

async fn count() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(stream::iter(1..=3).map(|it| Ok(Event::default().data(it.to_string()))))
}
