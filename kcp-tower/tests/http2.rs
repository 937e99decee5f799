//! HTTP/2 over KCP where its own means would harm: unread streams, slow links, PINGs.
#![allow(clippy::unwrap_used)]

mod support;

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::Client;
use kcp_tower::{KcpConnector, KcpStream, Transport};
use support::network::{Link, Network};
use support::{HttpClient, Setup, client, pattern, serve_fn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

type AnyBody = UnsyncBoxBody<Bytes, Infallible>;

/// 16 KiB at a time, without an end.
fn endless() -> AnyBody {
    let piece = || Ok::<_, Infallible>(Frame::data(Bytes::from(vec![7; 16 << 10])));
    BodyExt::boxed_unsync(StreamBody::new(stream::repeat_with(piece)))
}

fn whole(body: impl Into<Bytes>) -> AnyBody {
    BodyExt::boxed_unsync(Full::new(body.into()))
}

/// `/flood` answers without an end, `/hold` never reads its request and never answers, `/data/N` sends
/// N bytes, `/count` answers how many it was sent, everything else echoes.
async fn handle(request: Request<Incoming>) -> Result<Response<AnyBody>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = match path.as_str() {
        "/flood" => endless(),
        "/hold" => {
            let _held = request;
            pending().await
        }
        "/count" => {
            let received = request.into_body().collect().await.unwrap().to_bytes();
            whole(received.len().to_string())
        }
        path if path.starts_with("/data/") => whole(pattern(path[6..].parse().unwrap())),
        _ => whole(request.into_body().collect().await.unwrap().to_bytes()),
    };
    Ok(Response::new(body))
}

/// A server of [`handle`] and a client in a network in memory.
async fn connected(link: Link) -> (Client<KcpConnector, AnyBody>, String) {
    let network = Network::new(link);
    let host = network.host();
    let uri = format!("http://{}", host.addr());
    let setup = Setup::plaintext();
    let incoming = setup.incoming_on(host);
    tokio::spawn(serve_fn(incoming, handle).into_future());
    let connector = setup.connector_in(&network);
    let client = connector
        .client_builder()
        .http2_only(true)
        .build(connector.clone());
    (client, uri)
}

async fn check_echo(client: &Client<KcpConnector, AnyBody>, uri: &str) {
    let sent = pattern(100_000);
    let request = Request::post(format!("{uri}/echo"));
    let request = request.body(whole(sent.clone())).unwrap();
    let echo = async {
        let response = client.request(request).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    };
    let received = timeout(Duration::from_secs(60), echo).await;
    assert!(received.expect("the connection is frozen") == sent);
}

#[tokio::test(start_paused = true)]
async fn responses_that_are_not_read_leave_room_for_other_requests() {
    for held in 1..=3 {
        let (client, uri) = connected(Link::LAN).await;
        let mut unread = Vec::new();
        for _ in 0..held {
            let flood = format!("{uri}/flood").parse().unwrap();
            unread.push(client.get(flood).await.unwrap());
        }
        // Long enough to fill every window.
        sleep(Duration::from_secs(10)).await;
        check_echo(&client, &uri).await;
        drop(unread);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_not_read_leave_room_for_other_requests() {
    for held in 1..=3 {
        let (client, uri) = connected(Link::LAN).await;
        for _ in 0..held {
            let request = Request::post(format!("{uri}/hold"));
            let request = request.body(endless()).unwrap();
            tokio::spawn(client.request(request));
        }
        sleep(Duration::from_secs(10)).await;
        check_echo(&client, &uri).await;
    }
}

/// 256 kbit/s with the queue of Linux' netem, which holds half a minute of data.
const SLOW: Link = Link {
    bits_per_second: 256_000,
    delay: Duration::from_millis(50),
    queue: 1_000,
};

/// The same link with a queue of two seconds, which drops what a burst has too much.
const SLOW_AND_SHALLOW: Link = Link { queue: 50, ..SLOW };

/// Links, and transfers side by side. What six ask for in a burst fills the deep queue for longer
/// than the user time-out.
const TRANSFERS: [(Link, usize); 4] = [
    (SLOW, 1),
    (SLOW, 6),
    (SLOW_AND_SHALLOW, 1),
    (SLOW_AND_SHALLOW, 6),
];

/// Takes 94 s at 256 kbit/s.
const LARGE: usize = 3_000_000;

async fn upload(client: &Client<KcpConnector, AnyBody>, uri: &str, len: usize) {
    let request = Request::post(format!("{uri}/count"));
    let request = request.body(whole(pattern(len))).unwrap();
    let response = client.request(request).await.expect("an answer");
    let counted = response.into_body().collect().await.expect("all of it");
    assert_eq!(counted.to_bytes(), len.to_string());
}

async fn download(client: &Client<KcpConnector, AnyBody>, uri: &str, len: usize) {
    let data = format!("{uri}/data/{len}").parse().unwrap();
    let response = client.get(data).await.expect("an answer");
    let received = response.into_body().collect().await.expect("all of it");
    assert!(received.to_bytes() == pattern(len));
}

#[tokio::test(start_paused = true)]
async fn uploads_over_a_slow_link_finish() {
    for (link, side_by_side) in TRANSFERS {
        let (client, uri) = connected(link).await;
        let uploads = (0..side_by_side).map(|_| upload(&client, &uri, LARGE / side_by_side));
        join_all(uploads).await;
    }
}

#[tokio::test(start_paused = true)]
async fn downloads_over_a_slow_link_finish() {
    for (link, side_by_side) in TRANSFERS {
        let (client, uri) = connected(link).await;
        let downloads = (0..side_by_side).map(|_| download(&client, &uri, LARGE / side_by_side));
        join_all(downloads).await;
    }
}

/// Reads frames of HTTP/2 for a time and counts those of a type.
async fn count_frames(peer: &mut KcpStream, wanted: u8, time: Duration) -> usize {
    let mut count = 0;
    let counting = async {
        loop {
            let mut header = [0; 9];
            peer.read_exact(&mut header).await.expect("lives on");
            let len = u32::from_be_bytes([0, header[0], header[1], header[2]]);
            let mut payload = vec![0; len as usize];
            peer.read_exact(&mut payload).await.expect("lives on");
            count += usize::from(header[3] == wanted);
        }
    };
    assert!(timeout(time, counting).await.is_err());
    count
}

const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const PING: u8 = 6;

/// Twice grpc-go's minimum between PINGs of clients.
const QUIET: Duration = Duration::from_secs(600);

#[tokio::test(start_paused = true)]
async fn client_sends_no_ping_while_a_call_is_quiet() {
    let network = Network::new(Link::LAN);
    let host = network.host();
    let uri = format!("http://{}", host.addr());
    let setup = Setup::plaintext();
    let mut incoming = setup.incoming_on(host);
    let client: HttpClient = client(&setup.connector_in(&network), true);
    let call = tokio::spawn(client.get(uri.parse().unwrap()));
    let io = std::future::poll_fn(|cx| incoming.poll_accept(cx)).await;
    let mut peer = io.unwrap().unwrap().into_inner();
    let mut preface = [0; 24];
    peer.read_exact(&mut preface).await.unwrap();
    assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    peer.write_all(SETTINGS).await.unwrap();
    peer.flush().await.unwrap();
    assert_eq!(count_frames(&mut peer, PING, QUIET).await, 0);
    assert!(!call.is_finished());
}

#[tokio::test(start_paused = true)]
async fn server_sends_no_ping_while_a_call_is_quiet() {
    let network = Network::new(Link::LAN);
    let host = network.host();
    let addr = host.addr();
    let setup = Setup::plaintext();
    let incoming = setup.incoming_on(host);
    let server = serve_fn(incoming, |_: Request<_>| {
        pending::<Result<Response<String>, Infallible>>()
    });
    tokio::spawn(server.into_future());
    let host: Arc<dyn Transport> = network.host();
    let connecting = KcpStream::builder(&setup.security)
        .config(&setup.config)
        .transport(host)
        .connect(addr);
    let mut peer = connecting.await.unwrap();
    peer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    peer.write_all(SETTINGS).await.unwrap();
    // HEADERS of stream 1, with GET, http and / from the static table, and the end of the stream.
    let headers = [0, 0, 3, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84];
    peer.write_all(&headers).await.unwrap();
    peer.flush().await.unwrap();
    assert_eq!(count_frames(&mut peer, PING, QUIET).await, 0);
}
