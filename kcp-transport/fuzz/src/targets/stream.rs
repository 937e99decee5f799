//! Streams and listeners on a paused runtime and a network in memory.

use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use kcp_transport::config::Mode;
use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpListener, KcpStream};
use kcp_transport::session::{Destination, Unsolicited};
use kcp_transport::wire::ConversationId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Builder;
use tokio::time::sleep;

use super::input::Input;
use super::network::{Network, addr};
use super::options::any_config;
use super::pair::pattern;

/// Reads, writes, flushes, shutdowns and drops, some cancelled after a few polls.
///
/// Each end reads exactly the bytes that the other end's calls reported as written.
pub fn stream_api(data: &[u8]) {
    let mut input = Input::new(data);
    let configs = [
        any_config(&mut input, Mode::Stream),
        any_config(&mut input, Mode::Stream),
    ];
    let fates = input.chunk();
    let network = Network::new(fates);
    paused(async {
        let host = network.host(1);
        let listener = KcpListener::builder(&Security::Plaintext)
            .config(&configs[0])
            .on_transport(host);
        let listener = listener.expect("in range");
        let client = network.host(2);
        let security = Security::Plaintext;
        let connecting = KcpStream::builder(&security)
            .config(&configs[1])
            .transport(client)
            .connect(addr(1));
        let (client, server) = {
            let mut connecting = pin!(connecting);
            let polls = input.u8();
            match polls_of(polls, connecting.as_mut()).await {
                Some(client) => (client, listener.accept().await),
                None if polls & 1 == 0 => return,
                None => match tokio::join!(connecting, accept(&listener)) {
                    (client, Some(server)) => (client, Ok(server)),
                    _ => return,
                },
            }
        };
        let (Ok(client), Ok((server, _))) = (client, server) else {
            return;
        };
        let mut ends = [End::new(client), End::new(server)];
        // A keepalive every few milliseconds with much parity would run for all the time it gets.
        let mut time_left = LONGEST;
        for _ in 0..200 {
            if input.is_empty() {
                break;
            }
            let choice = input.u8();
            let side = usize::from(choice & 1);
            let most = ends[1 - side].written;
            let end = &mut ends[side];
            match choice >> 1 {
                0..=39 => end.write(&mut input).await,
                40..=69 => end.read(&mut input, most).await,
                70..=79 => end.flush(input.u8()).await,
                80..=83 => end.shut_down(input.u8()).await,
                84 => end.stream = None,
                85 => end.split_and_reunite(),
                86..=89 => end.datagrams(&mut input).await,
                _ => {
                    let pause = Duration::from_millis(u64::from(input.u8()).pow(2)).min(time_left);
                    time_left -= pause;
                    sleep(pause).await;
                }
            }
        }
        drop(listener);
        // No task left behind keeps the runtime busy for ever.
        sleep(Duration::from_secs(1)).await;
        for side in 0..2 {
            let most = ends[1 - side].written;
            ends[side].read_all(most).await;
        }
    });
}

/// Datagrams of any bytes from any of a few addresses, to a listener.
///
/// Only a packet that names a session and can be its first opens it.
pub fn listener(data: &[u8]) {
    let mut input = Input::new(data);
    let config = any_config(&mut input, Mode::Stream);
    let network = Network::new(&[]);
    paused(async {
        let host = network.host(1);
        let listener = KcpListener::builder(&Security::Plaintext)
            .config(&config)
            .on_transport(host);
        let listener = listener.expect("in range");
        let mut openings: HashSet<(SocketAddr, ConversationId)> = HashSet::new();
        let mut streams = Vec::new();
        for _ in 0..300 {
            if input.is_empty() {
                break;
            }
            let choice = input.u8();
            match choice {
                0..=199 => {
                    let from = addr(2 + choice % 4);
                    let payload = input.chunk();
                    if let Destination::Conversation(id) = Destination::of(payload)
                        && Unsolicited::of(payload) != Unsolicited::Other
                    {
                        openings.insert((from, id));
                    }
                    network.inject(from, addr(1), payload);
                }
                200..=219 => {
                    if !streams.is_empty() {
                        let mut stream: KcpStream = streams.swap_remove(input.below(streams.len()));
                        let _ = polls_of(2, stream.write_all(&[1; 100])).await;
                        let _ = polls_of(2, stream.read(&mut [0; 100])).await;
                        streams.push(stream);
                    }
                }
                220..=224 => {
                    if !streams.is_empty() {
                        streams.swap_remove(input.below(streams.len()));
                    }
                }
                225..=249 => sleep(Duration::from_millis(u64::from(choice - 224).pow(2))).await,
                _ => sleep(Duration::from_secs(input.u8().into())).await,
            }
            // Lets the driver receive it.
            tokio::task::yield_now().await;
            while let Some((stream, from)) = accept_now(&listener).await {
                let name = (from, stream.conversation());
                assert!(openings.contains(&name), "opened by no first packet");
                streams.push(stream);
            }
        }
        assert!(listener.stats().connections <= listener.stats().passive_opens as usize);
    });
}

/// One end of a connection, and the results of its calls.
struct End {
    stream: Option<KcpStream>,
    written: u64,
    read: u64,
}

impl End {
    fn new(stream: KcpStream) -> Self {
        Self {
            stream: Some(stream),
            written: 0,
            read: 0,
        }
    }

    async fn write(&mut self, input: &mut Input<'_>) {
        let len = input.below(5000);
        let polls = input.u8() % 8;
        let Some(stream) = &mut self.stream else {
            return;
        };
        let data: Vec<u8> = (self.written..).take(len).map(pattern).collect();
        if let Some(Ok(written)) = polls_of(polls, stream.write(&data)).await {
            self.written += written as u64;
        }
    }

    async fn read(&mut self, input: &mut Input<'_>, most: u64) {
        let len = input.below(5000);
        let polls = input.u8() % 8;
        let Some(stream) = &mut self.stream else {
            return;
        };
        let mut out = vec![0; len];
        if let Some(Ok(read)) = polls_of(polls, stream.read(&mut out)).await {
            self.on_read(&out[..read], most);
        }
    }

    fn on_read(&mut self, bytes: &[u8], most: u64) {
        for byte in bytes {
            assert_eq!(*byte, pattern(self.read), "byte {}", self.read);
            self.read += 1;
        }
        assert!(self.read <= most, "read more than was written");
    }

    async fn read_all(&mut self, most: u64) {
        let Some(mut stream) = self.stream.take() else {
            return;
        };
        let mut out = [0; 4096];
        while let Some(Ok(read @ 1..)) = polls_of(1, stream.read(&mut out)).await {
            self.on_read(&out[..read], most);
        }
    }

    async fn flush(&mut self, polls: u8) {
        if let Some(stream) = &mut self.stream {
            let _ = polls_of(polls % 8, stream.flush()).await;
        }
    }

    async fn shut_down(&mut self, polls: u8) {
        if let Some(stream) = &mut self.stream {
            let _ = polls_of(polls % 8, stream.shutdown()).await;
        }
    }

    fn split_and_reunite(&mut self) {
        let halves = self.stream.take().map(KcpStream::into_split);
        self.stream = halves.and_then(|(reader, writer)| reader.reunite(writer).ok());
    }

    async fn datagrams(&mut self, input: &mut Input<'_>) {
        let len = input.below(100);
        if let Some(stream) = &mut self.stream {
            let _ = stream.send_datagram(&vec![1; len]);
            let _ = polls_of(2, stream.recv_datagram()).await;
        }
    }
}

/// Runs `future` on a runtime of its own whose time is virtual.
fn paused(future: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime
        .expect("needs nothing of the system")
        .block_on(future);
}

/// Polls a future `polls` times, yields to other tasks in between, and then cancels it.
async fn polls_of<F: Future>(polls: u8, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..=polls {
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        sleep(Duration::from_millis(1)).await;
    }
    None
}

/// Waits a minute for a connection.
async fn accept(listener: &KcpListener) -> Option<(KcpStream, SocketAddr)> {
    let accepted = tokio::time::timeout(Duration::from_secs(60), listener.accept());
    accepted.await.ok()?.ok()
}

/// A connection that waits to be accepted.
async fn accept_now(listener: &KcpListener) -> Option<(KcpStream, SocketAddr)> {
    let polled = poll_fn(|cx| Poll::Ready(listener.poll_accept(cx))).await;
    match polled {
        Poll::Ready(accepted) => accepted.ok(),
        Poll::Pending => None,
    }
}

/// Longer than the default time-outs, which calls may take.
const LONGEST: Duration = Duration::from_secs(120);
