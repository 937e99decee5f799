//! Attacks on HTTP/2 with valid frames: the server's memory is bounded, and connections are closed
//! with the error that the RFC has for it.
//!
//! Frames are written by hand, over a stream of KCP. Server, client and network run on one thread, whose
//! memory the allocator counts.
#![allow(clippy::unwrap_used)]

#[path = "../../kcp-transport/tests/allocator/mod.rs"]
mod allocator;
mod support;

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use kcp_tower::{Config, KcpConnector, KcpIo};
use support::network::{Link, Network};
use support::{Setup, serve_fn};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::timeout;
use tower::Service;

use allocator::held;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// RFC 9113, section 7.
const ENHANCE_YOUR_CALM: u32 = 11;

/// `:method: POST`, `:scheme: http`, `:path: /` of HPACK's static table.
const REQUEST: [u8; 3] = [0x83, 0x86, 0x84];

/// Far longer than anything here takes, in paused time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Segments that each side of the transport may hold for each direction.
const WINDOW: u16 = 256;

/// How much more than before attacker and server may hold together: four buffers of [`WINDOW`] segments,
/// of up to 1600 bytes each with what surrounds them, and as much again for HTTP/2.
const BOUND: usize = 2 * 4 * WINDOW as usize * 1600;

/// How long an attacker writes after the server has stopped reading.
const FLOOD: Duration = Duration::from_secs(5);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = len[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A frame as the server has sent it.
struct Received {
    kind: u8,
    flags: u8,
    payload: Vec<u8>,
}

/// A client that writes frames.
struct Attacker {
    reader: ReadHalf<KcpIo>,
    writer: WriteHalf<KcpIo>,
}

/// Handlers read nothing, and never answer but to `/`.
async fn start() -> (SocketAddr, KcpConnector) {
    let config = Config::builder().windows(WINDOW.into(), WINDOW.into());
    let setup = Setup {
        config: config.build().unwrap(),
        ..Setup::plaintext()
    };
    let network = Network::new(Link::LAN);
    let host = network.host();
    let addr = host.addr();
    let server = serve_fn(
        setup.incoming_on(host),
        async |request: Request<Incoming>| {
            if request.method() == http::Method::POST {
                pending::<()>().await;
            }
            Ok::<_, Infallible>(Response::new(String::new()))
        },
    );
    tokio::spawn(server.http2_only().into_future());
    let connector = setup.connector_in(&network);
    let honest = support::client(&connector, true);
    let uri = format!("http://{addr}/").parse().unwrap();
    honest.get(uri).await.unwrap();
    (addr, connector)
}

impl Attacker {
    async fn connect(addr: SocketAddr, connector: &mut KcpConnector) -> Self {
        let (reader, mut writer) = tokio::io::split(connector.call(addr).await.unwrap());
        writer
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        writer.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        writer.flush().await.unwrap();
        Self { reader, writer }
    }

    async fn receive(reader: &mut ReadHalf<KcpIo>) -> std::io::Result<Received> {
        let mut head = [0; 9];
        reader.read_exact(&mut head).await?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; len as usize];
        reader.read_exact(&mut payload).await?;
        Ok(Received {
            kind: head[3],
            flags: head[4],
            payload,
        })
    }

    /// Writes what `next` makes until the server ends the connection. Returns the code of its GOAWAY.
    async fn until_goaway(mut self, mut next: impl FnMut(u32) -> Vec<u8>) -> u32 {
        let (mut reader, mut count) = (self.reader, 0);
        let reading = async {
            loop {
                let received = Self::receive(&mut reader).await.unwrap();
                if received.kind == GOAWAY {
                    return u32::from_be_bytes(received.payload[4..8].try_into().unwrap());
                }
            }
        };
        let writing = async {
            loop {
                let written = self.writer.write_all(&next(count)).await;
                if written.is_err() || self.writer.flush().await.is_err() {
                    pending::<()>().await;
                }
                count += 1;
            }
        };
        tokio::select! {
            code = timeout(PATIENCE, reading) => code.expect("GOAWAY"),
            () = writing => unreachable!(),
        }
    }
}

/// Runs an attack that the server has to end.
async fn attack(next: impl FnMut(u32) -> Vec<u8>) {
    let (addr, mut connector) = start().await;
    let attacker = Attacker::connect(addr, &mut connector).await;
    let before = held();
    let code = attacker.until_goaway(next).await;
    let grown = held().saturating_sub(before);
    assert_eq!(code, ENHANCE_YOUR_CALM);
    assert!(grown < BOUND, "{grown} bytes");
    // Others are served as before.
    let honest = support::client(&connector, true);
    let uri = format!("http://{addr}/").parse().unwrap();
    timeout(PATIENCE, honest.get(uri)).await.unwrap().unwrap();
}

/// CVE-2023-44487.
#[tokio::test(start_paused = true)]
async fn rapid_reset_is_ended() {
    attack(|i| {
        let stream = 2 * i + 1;
        let mut frames = frame(HEADERS, END_HEADERS, stream, &REQUEST);
        frames.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        frames
    })
    .await;
}

/// As they arrive together after a packet that was lost.
#[tokio::test(start_paused = true)]
async fn burst_of_requests_that_were_given_up_is_no_attack() {
    let (addr, mut connector) = start().await;
    let mut client = Attacker::connect(addr, &mut connector).await;
    let mut burst = Vec::new();
    for stream in (1..).step_by(2).take(500) {
        burst.extend(frame(HEADERS, END_HEADERS, stream, &REQUEST));
        burst.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    burst.extend(frame(PING, 0, 0, b"12345678"));
    client.writer.write_all(&burst).await.unwrap();
    client.writer.flush().await.unwrap();
    loop {
        let received = timeout(PATIENCE, Attacker::receive(&mut client.reader)).await;
        let received = received.unwrap().unwrap();
        assert_ne!(received.kind, GOAWAY);
        if received.kind == PING {
            return;
        }
    }
}

/// CVE-2024-27316 and its kin.
#[tokio::test(start_paused = true)]
async fn flood_of_continuations_is_ended() {
    attack(|i| {
        // A literal header field that is not indexed.
        let field = [&[0x00, 0x01, b'x', 0x7f, 0x81, 0x01][..], &[b'y'; 256]].concat();
        match i {
            0 => frame(HEADERS, 0, 1, &REQUEST),
            _ => frame(CONTINUATION, 0, 1, &field),
        }
    })
    .await;
}

/// CVE-2019-9518.
#[tokio::test(start_paused = true)]
async fn flood_of_empty_data_is_ended() {
    attack(|i| match i {
        0 => frame(HEADERS, END_HEADERS, 1, &REQUEST),
        _ => frame(DATA, 0, 1, &[]),
    })
    .await;
}

/// Writes a frame that demands an answer again and again, and reads nothing, until the server reads no
/// more. Then reads: all answers are there.
async fn flood_unread(kind: u8, payload: &[u8]) {
    let (addr, mut connector) = start().await;
    let mut attacker = Attacker::connect(addr, &mut connector).await;
    let before = held();
    let batch = frame(kind, 0, 0, payload).repeat(100);
    let (mut batches, mut most) = (0, 0);
    let flooding = async {
        loop {
            attacker.writer.write_all(&batch).await.unwrap();
            batches += 1;
            most = most.max(held().saturating_sub(before));
            assert!(most < BOUND, "{most} bytes after {batches} batches");
        }
    };
    // The server stops reading.
    timeout(FLOOD, flooding).await.unwrap_err();
    let honest = support::client(&connector, true);
    let uri = format!("http://{addr}/").parse().unwrap();
    timeout(PATIENCE, honest.get(uri)).await.unwrap().unwrap();
    for _ in 0..100 * batches {
        let answer = loop {
            let received = timeout(PATIENCE, Attacker::receive(&mut attacker.reader)).await;
            let received = received.unwrap().unwrap();
            if received.kind == kind && received.flags == ACK {
                break received;
            }
        };
        assert!(answer.payload.is_empty() || answer.payload == payload);
    }
}

/// CVE-2019-9515.
#[tokio::test(start_paused = true)]
async fn flood_of_settings_is_read_no_faster_than_its_answers() {
    flood_unread(SETTINGS, &[]).await;
}

/// CVE-2019-9512.
#[tokio::test(start_paused = true)]
async fn flood_of_pings_is_read_no_faster_than_its_answers() {
    flood_unread(PING, b"12345678").await;
}
