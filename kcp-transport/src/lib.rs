//! Reliable byte streams and messages over UDP: [KCP] on the wire format of [kcp-go], for tokio.
//!
//! [KCP]: https://github.com/skywind3000/kcp
//! [kcp-go]: https://github.com/xtaci/kcp-go
//!
//! # What KCP is, and when to choose it
//!
//! KCP numbers, acknowledges and repeats segments as TCP does, but in UDP datagrams and in the program
//! instead of the kernel. So the program decides how soon lost data is repeated, whether parity packets
//! (FEC) replace it before that, and how much bandwidth that may cost. kcp-go is the widely used
//! implementation in Go; programs that use it are peers of this crate.
//!
//! Choose it where packets are lost or the path is long: mobile and wireless networks, other continents,
//! games and remote control. At 5 % loss and a round trip of 50 ms, 99 of 100 calls of 1 KiB took at most
//! 56 ms with this crate, and 409 ms over TCP ([all figures][lossy]). Choose it also for programs whose
//! peers use kcp-go.
//!
//! Do not choose it
//!
//! - on a network that loses nothing: TCP is as fast there and needs less CPU time;
//! - where UDP is blocked;
//! - for browsers, or for many streams that must not wait for each other: take QUIC. A KCP connection
//!   has one stream, and data behind a lost segment waits for it.
//!
//! [lossy]: https://github.com/kcp-rs/kcp/blob/main/docs/performance.md#lossy-links
//!
//! # Which type to take
//!
//! | you want | take |
//! |---|---|
//! | a byte stream, like `TcpStream` | [`KcpStream`]: [`connect`](KcpStream::connect) |
//! | messages with boundaries, reliable and in order | [`KcpMessageStream`]: [`connect`](KcpMessageStream::connect), or [`KcpStream::into_messages`] |
//! | unreliable datagrams beside either | [`KcpStream::send_datagram`], [`Datagrams`]; the sender needs [`Config::fec`] |
//! | to accept connections, like `TcpListener` | [`KcpListener`]: [`bind`](KcpListener::bind), [`accept`](KcpListener::accept) |
//! | many outgoing connections on one socket, to servers of this crate | [`KcpEndpoint`] |
//! | options, a local address, a socket or [`Transport`] of your own | [`KcpStream::builder`], [`KcpListener::builder`] |
//! | HTTP, tower, axum | the crate [`kcp-tower`](https://docs.rs/kcp-tower) |
//! | gRPC | the crate [`kcp-tonic`](https://docs.rs/kcp-tonic) |
//! | the protocol without sockets | [`session::Session`] |
//!
//! # Streams
//!
//! A server that echoes, and its client:
//!
#![cfg_attr(feature = "tokio", doc = "```")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! use kcp_transport::{KcpListener, KcpStream, Security};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let security = Security::from_password("aes-128-gcm", "a password", Security::KCPTUN_SALT)?;
//! let listener = KcpListener::bind("127.0.0.1:0", &security).await?;
//! let server = listener.local_addr()?;
//! tokio::spawn(async move {
//!     let (mut stream, _peer) = listener.accept().await?;
//!     let (mut reader, mut writer) = stream.split();
//!     tokio::io::copy(&mut reader, &mut writer).await
//! });
//! let mut stream = KcpStream::connect(server, &security).await?;
//! stream.write_all(b"hello").await?;
//! let mut answer = [0; 5];
//! stream.read_exact(&mut answer).await?;
//! # assert_eq!(&answer, b"hello");
//! # Ok(())
//! # }
//! ```
//!
//! `connect` and `bind` take anything that tokio resolves, such as `"example.com:4000"`. `connect`
//! returns once the peer has answered: KCP has no handshake, so it sends a probe that every KCP peer
//! answers. [`KcpListener::accept`] returns a stream once its first packet has arrived, so accept and then
//! spawn a task for each connection, as with TCP.
//!
//! # Messages
//!
//! A server that answers each message with the same, and its client:
//!
#![cfg_attr(feature = "tokio", doc = "```")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! use kcp_transport::{KcpListener, KcpMessageStream, Security};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let security = Security::from_password("aes-128-gcm", "a password", Security::KCPTUN_SALT)?;
//! let listener = KcpListener::bind("127.0.0.1:0", &security).await?;
//! let server = listener.local_addr()?;
//! tokio::spawn(async move {
//!     let (stream, _peer) = listener.accept().await.expect("the socket is open");
//!     let (mut messages, mut message) = (stream.into_messages(), Vec::new());
//!     while messages.recv(&mut message).await.is_ok() {
//!         messages.send(&message).await.expect("the client is there");
//!     }
//! });
//! let mut client = KcpMessageStream::connect(server, &security).await?;
//! let mut answer = Vec::new();
//! client.send(b"hello").await?;
//! client.recv(&mut answer).await?;
//! # assert_eq!(answer, b"hello");
//! # Ok(())
//! # }
//! ```
//!
//! After the last message of a peer that has shut down, `recv` fails with
//! [`UnexpectedEof`](std::io::ErrorKind::UnexpectedEof); a message of length 0, which other implementations can
//! send, is not the end. `send` and `recv` are cancel safe, so both may stand in one `select!`, on the halves of
//! `into_split`. For options, take [`KcpStream::builder`] and [`ClientBuilder::connect_messages`].
//!
//! # Security
//!
//! Every constructor takes a [`Security`]; both sides need the same. A peer drops packets of another cipher or key and
//! does not answer. So `connect` then fails as if there were no peer: with
//! [`TimedOut`](std::io::ErrorKind::TimedOut), after [`Config::connect_timeout`], 10 s.
//!
//! - [`Security::Aead`] encrypts and authenticates each packet, with AES-GCM or ChaCha20-Poly1305.
//!   Without the key an attacker cannot read, change, add or replay data. Take it unless there is a
//!   reason against it.
//! - [`Security::Legacy`] has the other ciphers of kcp-go, kcptun's default among them. They hide the
//!   data, but an attacker can change it unnoticed, since a checksum does not authenticate. Take one
//!   for peers that you cannot change.
//! - [`Security::Plaintext`] encrypts nothing. An attacker on the path can read and change everything.
//!   Take it for tests, or with TLS inside, which [`kcp-tower`](https://docs.rs/kcp-tower) and
//!   [`kcp-tonic`](https://docs.rs/kcp-tonic) support.
//!
//! [`Security::from_password`] derives the key as kcptun does; [`AeadKey`] takes a random one. All
//! clients of a listener share its key, so each of them can impersonate any other: where that
//! matters, run TLS inside. [`KeyRing`] changes keys while connections are open.
//!
//! # Peers with kcp-go
//!
//! The two sides need the same cipher and key, and nothing else; only kcp-go v5.4 with FEC also needs
//! [`Config::fec`] here. This connects to a server in Go that derives its key as kcptun does, and has kcptun's
//! default cipher, AES-256 in CFB mode:
//!
#![cfg_attr(feature = "tokio", doc = "```no_run")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! use kcp_transport::{KcpStream, Security};
//!
//! # async fn run() -> std::io::Result<()> {
//! let security = Security::from_password("aes", "its password", Security::KCPTUN_SALT)?;
//! let stream = KcpStream::connect("example.com:4000", &security).await?;
//! # Ok(())
//! # }
//! ```
//!
//! kcptun derives its key with 4096 rounds of PBKDF2. The examples of kcp-go have 1024 rounds and a salt of their own.
//! For a server like these, derive the key with the crates `pbkdf2` 0.13 and `sha1` 0.11:
//!
#![cfg_attr(feature = "tokio", doc = "```no_run")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! use kcp_transport::{KcpStream, Security};
//!
//! # async fn run() -> std::io::Result<()> {
//! // In Go: key := pbkdf2.Key([]byte("demo pass"), []byte("demo salt"), 1024, 32, sha1.New)
//! let mut key = [0; 32];
//! pbkdf2::pbkdf2_hmac::<sha1::Sha1>(b"demo pass", b"demo salt", 1024, &mut key);
//! // In Go: kcp.NewAESBlockCrypt(key)
//! let security = Security::from_name("aes", &key)?;
//! let stream = KcpStream::connect("example.com:12345", &security).await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Security::NAMES`] lists the names of the ciphers; [`AeadKey`] and [`LegacyCipher`] have a constructor for each. FEC
//! of the server is detected. kcp-go peers do not signal the end of a stream: see
//! [coming from kcp-go](https://github.com/kcp-rs/kcp/blob/main/docs/coming-from-kcp-go.md). kcptun itself is no peer,
//! because it multiplexes and compresses above KCP.
//!
//! # Presets
//!
//! [`Config`] has the options, and a [`Preset`] is a set of them. The two sides may differ in all of them:
//! each option applies to one side or to one direction.
//!
//! | preset | for | what it costs |
//! |---|---|---|
//! | [`Preset::Rpc`], the default | calls and streams of any kind | on paths that lose packets, small writes are sent twice: up to 100 % more bytes |
//! | [`Preset::Interactive`] | games, remote control | on paths with a round trip of 8 ms or more, every small write is sent at least twice: up to 200 % more bytes. Windows of 1024 segments |
//! | [`Preset::Bulk`] | transfers over fast, long paths | as `Rpc`, and up to 49 MB of buffers for a connection, while a transfer fills them |
//! | `Normal`, `Fast`, `Fast2`, `Fast3` | the behaviour of kcptun's modes | no congestion control: what exceeds the bandwidth of the path fills its queue, and delays all its traffic |
//!
//! The first three find the bandwidth of the path and keep its queue short. [`Config::fec`] adds
//! parity: 10 data and 3 parity packets take 30 % more bandwidth or more, since parity is as long as the
//! longest packet, and rebuild up to 3 lost packets of 13 without a round trip. Copies and parity add up, so take
//! one of them: [tuning](https://github.com/kcp-rs/kcp/blob/main/docs/tuning.md) has figures.
//!
//! # When a peer dies
//!
//! KCP has no message for the end of a connection. Between two peers of this crate,
//! [`Extensions`] add end of file, half-close and reset; with any peer, time-outs end a connection. A connection
//! whose peer has died always ends with an error on reads and writes, never with end of file or a hang:
//!
//! | what happens | error | after |
//! |---|---|---|
//! | the peer shuts down or drops its stream | end of file, or `UnexpectedEof` when a message is received; from peers of this crate | half a round trip |
//! | its program was killed, and its host runs | [`ConnectionError::PeerGone`] | 2 s after something is sent |
//! | it has vanished, with data in flight | [`ConnectionError::PeerUnresponsive`] | [`Config::user_timeout`], 30 s |
//! | it has vanished, with no data in flight | [`ConnectionError::IdleTimeout`] | [`Config::idle_timeout`], 90 s |
//! | it was restarted | [`ConnectionError::PeerRestarted`] | the next retransmission or [`Config::keepalive`], 20 s |
//!
//! [`ConnectionError::from_io`] finds the reason in an [`io::Error`](std::io::Error). If a client's own network
//! changes, its connections to peers of this crate continue: a stream moves by itself once its local address is
//! gone, or at once by [`KcpStream::rebind`]. `shutdown` (of tokio's `AsyncWriteExt`)
//! returns once the peer has received everything; await it before `main` returns.
//!
//! # Examples
//!
//! [Short programs](https://github.com/kcp-rs/kcp/tree/main/kcp-transport/examples), one for each subject; the README lists them.
//!
//! # Features
//!
//! | feature | default | contents |
//! |---|---|---|
//! | `tokio` | yes | [`net`]; without it the crate is the protocol core, which compiles for WebAssembly |
//! | `aead-ring` | yes | the AEAD ciphers of `ring`, which needs a C compiler |
//! | `aead-rust` | | the AEAD ciphers of the RustCrypto crates, without C |
//! | `legacy-ciphers` | yes | the ciphers of [`Security::Legacy`] |
//! | `metrics` | | [`Stats`] and [`EndpointStats`] published through the `metrics` facade |
//! | `serde` | | [`Config`] and its parts in files, under kcptun's names |
//! | `testing` | | a simulated link with a seed and a virtual clock |
//!
//! # Layers
//!
//! Each module imports only those to its left, and `arq`, `fec` and `crypto` do not import each
//! other:
//!
//! `error` | `time` | `stats` | `pages` < `names` < `wire` < `arq` | `fec` | `crypto` < `packet` < `config`
//! < `session` < `net`
//!
//! `testing` stands above [`session`], beside `net`. Everything up to [`session`] takes bytes, time
//! and random numbers as arguments and uses no socket, clock or entropy source. Only `net` uses
//! tokio.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod arq;
pub mod config;
pub mod crypto;
pub mod error;
pub mod fec;
mod names;
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub mod net;
pub mod packet;
mod pages;
pub mod session;
pub mod stats;
#[cfg(any(test, feature = "testing"))]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
pub mod time;
pub mod wire;

pub use arq::MessageError;
pub use config::{
    AckPolicy, Config, ConfigBuilder, Congestion, Extensions, ListenerConfig,
    ListenerConfigBuilder, Mode, MtuDiscovery, Percent, Preset, Redundancy, WriteCoalescing,
};
pub use crypto::{AeadKey, KeyRing, LegacyCipher, Security};
pub use error::{
    ConfigError, ConnectAttempt, ConnectError, ConnectErrorReason, ConnectionError, DatagramError,
    ResetCode, SystemError,
};
pub use fec::FecRatio;
pub use session::State as ConnectionState;
pub use stats::{EndpointStats, Stats};
pub use wire::ConversationId;

#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub use net::{
    ClientBuilder, ConnectionInfo, Datagrams, KcpEndpoint, KcpListener, KcpMessageStream,
    KcpStream, ListenerBuilder, MessageReceiver, MessageSender, OwnedReadHalf, OwnedWriteHalf,
    Path, Received, ReuniteError, ToAddrs, Transport, WeakConnectionInfo,
};

/// The program in the README, compiled as a documentation test.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
