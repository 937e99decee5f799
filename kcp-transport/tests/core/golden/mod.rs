//! Bytes captured from kcp-go, in `interop/vectors`, against this crate: keys, packets of each
//! cipher, FEC parity, and whole sessions.
//!
//! The files are described, and made, in `interop/go`. Nothing here needs Go.

mod vectors;

use std::collections::BTreeSet;

use kcp_transport::config::Config;
use kcp_transport::crypto::{Overhead, Security, derive_key};
use kcp_transport::fec::{FecDecoder, FecEncoder, FecRatio};
use kcp_transport::packet::{Opener, Sealer, TransmitBatch};
use kcp_transport::session::{Role, Session, State};
use kcp_transport::time::Time;
use kcp_transport::wire::{
    Command, SEGMENT_HEADER_LEN, SHARD_HEADER_LEN, SHARD_SIZE_LEN, SegmentHeader, Segments,
    ShardHeader, ShardKind, Timestamp,
};
use vectors::{Ciphers, Datagrams, FLUSH, Fec, Keys, Packet, SessionVector, load};

#[test]
fn every_cipher_of_kcp_go_is_supported() {
    let vectors: Ciphers = load("ciphers");
    let theirs: BTreeSet<&str> = vectors.ciphers.iter().map(|c| &c.cipher[..]).collect();
    assert_eq!(theirs, Security::NAMES.iter().copied().collect());
}

#[test]
fn passwords_give_kcptuns_keys() {
    let vectors: Keys = load("keys");
    let nonce = [0x5a; 16];
    for entry in &vectors.entries {
        assert_eq!(entry.rounds, 4096, "the only number there is an API for");
        let salt = entry.salt.as_bytes();
        let mut key = vec![0; entry.key.0.len()];
        derive_key(&entry.password, salt, &mut key);
        assert_eq!(key, entry.key.0, "key of password {:?}", entry.password);
        for (name, key_len) in [
            ("aes", 32),
            ("salsa20", 32),
            ("aes-192", 24),
            ("aes-128", 16),
        ] {
            let derived = Security::from_password(name, &entry.password, salt).expect("a name");
            let given = Security::from_name(name, &entry.key.0[..key_len]).expect("a key");
            assert_eq!(
                seal(&derived, &nonce, &[7; 40]),
                seal(&given, &nonce, &[7; 40]),
                "{name} of password {:?}",
                entry.password
            );
        }
    }
}

#[test]
fn packets_of_every_cipher_are_kcp_gos() {
    let vectors: Ciphers = load("ciphers");
    let mut packets = 0;
    for cipher in &vectors.ciphers {
        let security = Security::from_name(&cipher.cipher, &cipher.key.0).expect("its key");
        for Packet { len, packet } in &cipher.packets {
            let payload: Vec<u8> = (0..*len).map(|i| (i * 7 + len) as u8).collect();
            let nonce: Vec<u8> = (0..cipher.nonce_len)
                .map(|i| (i * 13 + len * 3 + 1) as u8)
                .collect();
            let context = format!("{} of {len} bytes", cipher.cipher);
            assert!(seal(&security, &nonce, &payload) == packet.0, "{context}");
            assert!(open(&security, &packet.0) == payload, "{context}");
            packets += 1;
        }
    }
    assert!(packets > 1500, "only {packets} packets were compared");
}

#[test]
fn parity_is_kcp_gos_and_rebuilds_any_shard() {
    let vectors: Fec = load("fec");
    for group in &vectors.groups {
        let ratio = FecRatio::new(group.data_shards, group.parity_shards).expect("in range");
        let data: Vec<Vec<u8>> = group.payloads().collect();
        let mut encoder = FecEncoder::new(ratio);
        // The first group of all has no parity if it is of one packet; the one that counts follows.
        let _ = encode_group(&mut encoder, &data);
        let packets = encode_group(&mut encoder, &data);
        assert_eq!(packets.len(), ratio.group());
        for (index, packet) in packets.iter().enumerate() {
            let (header, shard) = ShardHeader::detect(packet).expect("a FEC header");
            assert_eq!(header.sequence as usize, ratio.group() + index);
            if let Some(parity) = index.checked_sub(ratio.data()) {
                assert_eq!(header.kind, ShardKind::Parity);
                assert_eq!(shard.len(), group.shard_len);
                assert!(shard == group.parity[parity].0, "{ratio:?}, {parity}");
            }
        }
        for (lost, expected) in data.iter().enumerate() {
            let mut decoder = FecDecoder::new();
            let mut rebuilt = Vec::new();
            let earlier = earlier_packets(ratio);
            let packets = without(&packets, |index| index == lost);
            for packet in earlier.iter().chain(packets) {
                let (header, shard) = ShardHeader::detect(packet).expect("a FEC header");
                decoder.decode(Time::ZERO, header, shard, &mut |group| {
                    rebuilt.extend(group.packets().map(<[u8]>::to_vec));
                    true
                });
            }
            assert!(rebuilt == [expected.clone()], "{ratio:?}, {lost}");
        }
    }
}

#[test]
fn captured_datagrams_encode_to_the_same_bytes() {
    let vectors: Datagrams = load("datagrams");
    let (mut datagrams, mut compared) = (0, 0);
    for session in &vectors.sessions {
        let security = session.link.security();
        let mut encoder = session.link.ratio().map(FecEncoder::new);
        for datagram in &session.datagrams {
            let (nonce, payload) = open_with_nonce(&security, &datagram.0);
            let again = encode(&payload, encoder.as_mut());
            assert!(again == payload, "{:?}: segments differ", session.link);
            assert!(
                seal(&security, &nonce, &again) == datagram.0,
                "{:?}",
                session.link
            );
            datagrams += 1;
        }
        compared += 1;
    }
    assert!(
        compared > 40 && datagrams > 500,
        "{compared} sessions, {datagrams} datagrams"
    );
}

#[test]
fn captured_sessions_give_the_stream() {
    let vectors: Datagrams = load("datagrams");
    for vector in &vectors.sessions {
        let payloads = vector.payloads();
        let mut session = vector.link.session(Role::Accept, 0, 1024);
        for payload in &payloads {
            session.handle_datagram(Time::ZERO, payload);
        }
        assert!(
            read_all(&mut session) == vector.stream(),
            "{:?}",
            vector.link
        );
        assert_eq!(session.stats().invalid_received, 0, "{:?}", vector.link);
    }
}

#[test]
fn captured_sessions_survive_the_loss_of_any_shard() {
    let vectors: Datagrams = load("datagrams");
    let fec = |s: &&SessionVector| s.link.ratio().is_some();
    for vector in vectors.sessions.iter().filter(fec) {
        let ratio = vector.link.ratio().expect("filtered");
        let payloads = vector.payloads();
        let groups = payloads.len() / ratio.group();
        for place in 0..ratio.data() {
            let mut session = vector.link.session(Role::Accept, 0, 1024);
            let earlier = earlier_packets(ratio);
            let payloads = without(&payloads, |index| index % ratio.group() == place);
            for payload in earlier.iter().chain(payloads) {
                session.handle_datagram(Time::ZERO, payload);
            }
            let context = format!("{:?} without shard {place} of each group", vector.link);
            assert!(read_all(&mut session) == vector.stream(), "{context}");
            let stats = session.stats();
            assert_eq!(stats.fec_recovered, groups as u64, "{context}");
            assert_eq!(
                (stats.fec_errors, stats.invalid_received),
                (0, 0),
                "{context}"
            );
        }
    }
}

#[test]
fn probes_are_answered_as_kcp_go_answers() {
    let vectors: Datagrams = load("datagrams");
    for exchange in &vectors.exchanges {
        let security = exchange.link.security();
        let mut session = exchange.link.session(Role::Accept, 0, 32);
        session.handle_datagram(Time::ZERO, &open(&security, &exchange.sent.0));
        let ours = transmit(&mut session, Time::ZERO + FLUSH);
        let theirs = exchange.received_kcp.iter().map(|kcp| &kcp.0[..]);
        assert_eq!(
            normalized(
                &ours
                    .iter()
                    .map(|kcp| segments_of(kcp))
                    .collect::<Vec<_>>()
                    .concat()
            ),
            normalized(&theirs.collect::<Vec<_>>().concat()),
            "{:?}",
            exchange.link
        );
    }
}

#[test]
fn probes_have_the_captured_bytes_and_answers_of_kcp_go_are_understood() {
    let vectors: Datagrams = load("datagrams");
    let mut asked = 0;
    for exchange in &vectors.exchanges {
        let role = match &exchange.link.name[..] {
            "probe" => Role::Connect,
            "push" => Role::ConnectLazy,
            _ => continue,
        };
        // The seed that makes our clock the one of the capture, and the window advertised there.
        let mut session = exchange.link.session(role, 0xdead_beef, 128);
        if role == Role::ConnectLazy {
            session.write(Time::ZERO, b"first");
        }
        let sent = transmit(&mut session, Time::ZERO);
        assert_eq!(sent.len(), 1);
        let context = format!("{:?}", exchange.link);
        let segments = segments_of(&sent[0]);
        assert_eq!(
            normalized(segments),
            normalized(&exchange.sent_kcp.0),
            "{context}"
        );

        let security = exchange.link.security();
        for answer in &exchange.received {
            session.handle_datagram(Time::ZERO, &open(&security, &answer.0));
        }
        assert_eq!(session.state(), State::Established, "{context}");
        assert!(session.is_drained(), "{context}");
        assert_eq!(
            session.stats().remote_window,
            exchange.advertised_window(),
            "{context}"
        );
        asked += 1;
    }
    // Two questions with and without FEC, under the ten ciphers that the file has them for.
    assert_eq!(asked, 2 * 2 * 10);
}

#[test]
fn out_of_band_packets_are_kcp_gos_and_harm_no_session() {
    let vectors: Datagrams = load("datagrams");
    for vector in &vectors.out_of_band {
        let security = vector.link.security();
        let (nonce, payload) = open_with_nonce(&security, &vector.datagram.0);
        let conversation = vector.link.conv.to_le_bytes();
        let room = [0; SHARD_HEADER_LEN + SHARD_SIZE_LEN];
        let mut packet = [&room[..], &conversation, &vector.payload.0].concat();
        FecEncoder::out_of_band(&mut packet);
        assert!(packet == payload, "{:?}", vector.link);
        assert!(seal(&security, &nonce, &packet) == vector.datagram.0);

        let mut session = vector.link.session(Role::Accept, 0, 1024);
        session.handle_datagram(Time::ZERO, &payload);
        assert_eq!(session.error(), None);
        assert!(!session.is_readable());
    }
}

fn seal(security: &Security, nonce: &[u8], payload: &[u8]) -> Vec<u8> {
    let Overhead { front, back } = security.overhead();
    let mut datagram = vec![0; front + payload.len() + back];
    datagram[front..front + payload.len()].copy_from_slice(payload);
    Sealer::seal_with_nonce(security, &mut datagram, nonce);
    datagram
}

fn open(security: &Security, datagram: &[u8]) -> Vec<u8> {
    open_with_nonce(security, datagram).1
}

/// Nonce and payload. Ciphers without a tag decrypt the nonce too, where it stands.
fn open_with_nonce(security: &Security, datagram: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut datagram = datagram.to_vec();
    let payload = Opener::new(security)
        .open(&mut datagram)
        .expect("authentic")
        .to_vec();
    let nonce_len = match security {
        Security::Aead(_) => 12,
        Security::Legacy(_) => 16,
        _ => 0,
    };
    (datagram[..nonce_len].to_vec(), payload)
}

/// Decodes a payload and encodes the values; with FEC, parity comes from the encoder alone.
fn encode(payload: &[u8], encoder: Option<&mut FecEncoder>) -> Vec<u8> {
    let Some(encoder) = encoder else {
        return encode_segments(payload);
    };
    let (header, shard) = ShardHeader::detect(payload).expect("a FEC header");
    if header.kind == ShardKind::Parity {
        let mut packet = vec![0; 1500];
        let len = encoder.take_parity(&mut packet);
        packet.truncate(len);
        return packet;
    }
    let segments = encode_segments(ShardHeader::body(shard).expect("a size"));
    let mut packet = [&[0; SHARD_HEADER_LEN + SHARD_SIZE_LEN][..], &segments].concat();
    encoder.encode(Time::ZERO, &mut packet);
    packet
}

fn encode_segments(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for segment in Segments::new(bytes) {
        let (header, data) = segment.expect("a whole segment");
        let mut head = [0; SEGMENT_HEADER_LEN];
        header.encode(&mut head);
        encoded.extend_from_slice(&head);
        encoded.extend_from_slice(data);
    }
    encoded
}

/// All packets of a group, parity last.
fn encode_group(encoder: &mut FecEncoder, data: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for payload in data {
        let mut packet = [&[0; SHARD_HEADER_LEN + SHARD_SIZE_LEN][..], payload].concat();
        encoder.encode(Time::ZERO, &mut packet);
        packets.push(packet);
    }
    let mut parity = [0; 1500];
    loop {
        let len = encoder.take_parity(&mut parity);
        if len == 0 {
            return packets;
        }
        packets.push(parity[..len].to_vec());
    }
}

/// Packets without content that come before number 0, around the wrap: from them a decoder learns
/// the sender's ratio, before which it rebuilds nothing.
fn earlier_packets(ratio: FecRatio) -> Vec<Vec<u8>> {
    let group = u32::try_from(ratio.group()).expect("at most 256");
    let period = u32::MAX / group * group;
    let packet = |sequence| {
        let kind = if (sequence % group) < ratio.data() as u32 {
            ShardKind::Data
        } else {
            ShardKind::Parity
        };
        let mut packet = vec![0; SHARD_HEADER_LEN + SHARD_SIZE_LEN];
        ShardHeader { sequence, kind }.encode(&mut packet);
        ShardHeader::encode_size(&mut packet[SHARD_HEADER_LEN..]);
        packet
    };
    (period - EARLIER_GROUPS * group..period)
        .map(packet)
        .collect()
}

fn without<T>(all: &[T], lost: impl Fn(usize) -> bool) -> impl Iterator<Item = &T> {
    let kept = move |(index, item)| (!lost(index)).then_some(item);
    all.iter().enumerate().filter_map(kept)
}

fn read_all(session: &mut Session) -> Vec<u8> {
    let mut stream = vec![0; 1 << 16];
    let len = session.read(Time::ZERO, &mut stream);
    stream.truncate(len);
    stream
}

/// The payloads that are due.
fn transmit(session: &mut Session, now: Time) -> Vec<Vec<u8>> {
    let config = Config::default();
    let layout = config.layout(Overhead { front: 0, back: 0 }).expect("fits");
    let mut batch = TransmitBatch::new(layout, 32);
    while session.poll_transmit(now, &mut batch) {}
    batch.datagrams().map(<[u8]>::to_vec).collect()
}

/// What follows the FEC header, if there is one.
fn segments_of(payload: &[u8]) -> &[u8] {
    match ShardHeader::detect(payload) {
        None => payload,
        Some((_, shard)) => ShardHeader::body(shard).expect("a size"),
    }
}

/// Segments, without two fields that differ on purpose and that no peer reads: a window probe or update
/// of kcp-go repeats the time and number of an earlier segment, ours are 0.
fn normalized(bytes: &[u8]) -> Vec<(SegmentHeader, Vec<u8>)> {
    let segments = Segments::new(bytes).map(|segment| {
        let (mut header, data) = segment.expect("a whole segment");
        if matches!(header.command, Command::WindowProbe | Command::WindowUpdate) {
            header.timestamp = Timestamp::default();
            header.sequence = 0;
        }
        (header, data.to_vec())
    });
    segments.collect()
}

/// Enough for a decoder to distinguish any two ratios of the file.
const EARLIER_GROUPS: u32 = 8;
