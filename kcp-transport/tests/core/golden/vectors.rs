//! The files in `interop/vectors`, as their makers describe them in `interop/go/README.md`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use kcp_transport::config::{AckPolicy, Config, Extensions};
use kcp_transport::crypto::{Overhead, Security};
use kcp_transport::fec::FecRatio;
use kcp_transport::session::{Role, Session};
use kcp_transport::time::Time;
use kcp_transport::wire::{ConversationId, Segments};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Error as _};

/// A flush interval after the start: when batched acks are due.
pub(crate) const FLUSH: Duration = Duration::from_millis(20);

pub(crate) fn load<T: DeserializeOwned>(name: &str) -> T {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../interop/vectors");
    let path = vectors.join(name).with_extension("json");
    let text = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
    serde_json::from_str(&text).expect("the schema in interop/go/README.md")
}

pub(crate) struct Hex(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = String::deserialize(deserializer)?;
        let byte = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        };
        let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
        bytes
            .map(Self)
            .ok_or_else(|| D::Error::custom("not hexadecimal"))
    }
}

#[derive(Deserialize)]
pub(crate) struct Keys {
    pub(crate) entries: Vec<KeyEntry>,
}

#[derive(Deserialize)]
pub(crate) struct KeyEntry {
    pub(crate) password: String,
    pub(crate) salt: String,
    pub(crate) rounds: u32,
    pub(crate) key: Hex,
}

#[derive(Deserialize)]
pub(crate) struct Ciphers {
    pub(crate) ciphers: Vec<CipherVector>,
}

#[derive(Deserialize)]
pub(crate) struct CipherVector {
    pub(crate) cipher: String,
    pub(crate) key: Hex,
    pub(crate) nonce_len: usize,
    pub(crate) packets: Vec<Packet>,
}

#[derive(Deserialize)]
pub(crate) struct Packet {
    pub(crate) len: usize,
    pub(crate) packet: Hex,
}

#[derive(Deserialize)]
pub(crate) struct Fec {
    pub(crate) groups: Vec<Group>,
}

#[derive(Deserialize)]
pub(crate) struct Group {
    pub(crate) data_shards: usize,
    pub(crate) parity_shards: usize,
    pub(crate) payload_lens: Vec<usize>,
    pub(crate) shard_len: usize,
    pub(crate) parity: Vec<Hex>,
}

impl Group {
    pub(crate) fn payloads(&self) -> impl Iterator<Item = Vec<u8>> {
        let shards = self.payload_lens.iter().enumerate();
        shards.map(|(i, &len)| (0..len).map(|j| (i * 31 + j * 7 + 3) as u8).collect())
    }
}

#[derive(Deserialize)]
pub(crate) struct Datagrams {
    pub(crate) sessions: Vec<SessionVector>,
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) out_of_band: Vec<OutOfBand>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) cipher: String,
    pub(crate) password: String,
    pub(crate) data_shards: usize,
    pub(crate) parity_shards: usize,
    pub(crate) mtu: usize,
    pub(crate) conv: u32,
}

impl Link {
    pub(crate) fn security(&self) -> Security {
        let salt = Security::KCPTUN_SALT;
        Security::from_password(&self.cipher, &self.password, salt).expect("a name")
    }

    pub(crate) fn ratio(&self) -> Option<FecRatio> {
        (self.data_shards > 0)
            .then(|| FecRatio::new(self.data_shards, self.parity_shards).expect("in range"))
    }

    /// A session with the flush interval [`FLUSH`] that sends bare payloads.
    pub(crate) fn session(&self, role: Role, seed: u32, receive_window: u16) -> Session {
        let config = Config::builder()
            .mtu(self.mtu)
            .windows(32, receive_window.into())
            .flush_interval(FLUSH)
            .ack_policy(AckPolicy::Batched)
            .fec(self.ratio())
            .extensions(Extensions::Off)
            .build()
            .expect("in range");
        let layout = config.layout(Overhead { front: 0, back: 0 }).expect("fits");
        let conversation = ConversationId::new(self.conv);
        Session::new(&config, layout, conversation, role, seed.into(), Time::ZERO)
    }
}

#[derive(Deserialize)]
pub(crate) struct SessionVector {
    #[serde(flatten)]
    pub(crate) link: Link,
    pub(crate) stream_len: usize,
    pub(crate) datagrams: Vec<Hex>,
}

impl SessionVector {
    pub(crate) fn payloads(&self) -> Vec<Vec<u8>> {
        let security = self.link.security();
        let datagrams = self.datagrams.iter();
        datagrams
            .map(|datagram| super::open(&security, &datagram.0))
            .collect()
    }

    pub(crate) fn stream(&self) -> Vec<u8> {
        (0..self.stream_len)
            .map(|i| (i * 11 + (i >> 8)) as u8)
            .collect()
    }
}

#[derive(Deserialize)]
pub(crate) struct Exchange {
    #[serde(flatten)]
    pub(crate) link: Link,
    pub(crate) sent: Hex,
    pub(crate) sent_kcp: Hex,
    pub(crate) received: Vec<Hex>,
    pub(crate) received_kcp: Vec<Hex>,
}

impl Exchange {
    /// The window in the last segment of the answer.
    pub(crate) fn advertised_window(&self) -> u16 {
        let last = self.received_kcp.last().expect("an answer");
        let segment = Segments::new(&last.0).last().expect("a segment");
        segment.expect("whole").0.window
    }
}

#[derive(Deserialize)]
pub(crate) struct OutOfBand {
    #[serde(flatten)]
    pub(crate) link: Link,
    pub(crate) payload: Hex,
    pub(crate) datagram: Hex,
}
