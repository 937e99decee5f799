//! Ciphers, and the filter of replayed packets.

use std::collections::HashSet;

use kcp_transport::crypto::{NonceSource, Overhead, Security};
use kcp_transport::error::OpenError;
use kcp_transport::packet::{Opener, PacketLayout, ReplayFilter, Sealer, TransmitBatch};

use super::input::Input;

/// Opens packets of any content with each cipher.
///
/// A sealed packet opens to its payload, an AEAD opens nothing else, and no cipher panics.
pub fn open_each_cipher(data: &[u8]) {
    let mut input = Input::new(data);
    let security = any_security(&mut input);
    let is_aead = matches!(security, Security::Aead(_));
    let opener = Opener::new(&security);
    let Overhead { front, back } = security.overhead();
    if input.flag() {
        let mut datagram = input.take(2000).to_vec();
        let short = datagram.len() < front + back;
        let result = opener.open(&mut datagram);
        match result {
            Err(error) => assert_eq!(error == OpenError::TooShort, short),
            Ok(_) => assert!(!is_aead && !short, "opened a packet that was not sealed"),
        }
        return;
    }
    let sealer = Sealer::new(&security, input.array());
    let payload = input.chunk();
    let payload = &payload[..payload.len().min(MTU - front - back)];
    if payload.is_empty() {
        return;
    }
    let sealed = seal(&sealer, &security, payload);
    let mut filter = sealer.replay_filter(100);
    let mut again = sealed.clone();
    let opened = opener.open_once(&mut again, &mut filter);
    assert_eq!(opened.as_deref(), Ok(payload));
    let mut again = sealed.clone();
    let second = opener.open_once(&mut again, &mut filter).err();
    assert_eq!(second, is_aead.then_some(OpenError::Replayed));
    let reflected = sealer.opener().open(&mut sealed.clone()).err();
    let named = !matches!(security, Security::Plaintext);
    assert_eq!(reflected, named.then_some(OpenError::Reflected));

    let mut changed = sealed.clone();
    while !input.is_empty() {
        let at = input.below(changed.len().max(1));
        match input.u8() {
            0 => changed.truncate(at),
            value => {
                if let Some(byte) = changed.get_mut(at) {
                    *byte ^= value;
                }
            }
        }
    }
    if changed != sealed {
        let opened = opener.open(&mut changed);
        assert!(
            !is_aead || opened.is_err(),
            "opened a packet that was changed"
        );
    }
}

/// Sealing packets as a batch gives the same bytes as sealing them one by one.
pub fn cipher_batch(data: &[u8]) {
    let mut input = Input::new(data);
    let security = any_security(&mut input);
    let Overhead { front, back } = security.overhead();
    let seed = input.array();
    let layout = PacketLayout::new(MTU, security.overhead(), false).expect("has room");
    let mut batch = TransmitBatch::new(layout, 64);
    let mut payloads = Vec::new();
    for _ in 0..1 + input.below(40) {
        let len = 1 + input.below(MTU - front - back);
        let fill = input.u8();
        let start = input.take(len.min(20));
        let mut payload = vec![fill; len];
        payload[..start.len()].copy_from_slice(start);
        batch.push_with(|body| {
            body[..len].copy_from_slice(&payload);
            len
        });
        payloads.push(payload);
    }
    Sealer::new(&security, seed)
        .seal(&mut batch)
        .expect("a fresh key");
    let nonces = NonceSource::new(seed);
    let mut nonces = nonces.reserve(payloads.len());
    let opener = Opener::new(&security);
    assert_eq!(batch.len(), payloads.len());
    for (sealed, payload) in batch.datagrams().zip(&payloads) {
        let mut single = vec![0; front];
        single.extend_from_slice(payload);
        single.resize(single.len() + back, 0);
        match security {
            Security::Legacy(_) => {
                let nonce = nonces.next_opaque().expect("reserved");
                Sealer::seal_with_nonce(&security, &mut single, &nonce);
            }
            _ => {
                let nonce = nonces.next_counted().expect("reserved");
                Sealer::seal_with_nonce(&security, &mut single, &nonce);
            }
        }
        assert_eq!(sealed, single);
        assert_eq!(opener.open(&mut single).as_deref(), Ok(&payload[..]));
    }
}

/// Compares with the set of all nonces received: a filter that is large enough is exact.
pub fn replay_filter(data: &[u8]) {
    let mut input = Input::new(data);
    let mut exact = ReplayFilter::new(input.array(), 100_000);
    // A small filter forgets, but not at once.
    let mut small = ReplayFilter::new(input.array(), usize::from(input.u8()));
    let mut seen = HashSet::new();
    let mut newest = [0_u32; SENDERS];
    // Fewer packets than may overtake one that is still accepted.
    for _ in 0..3000 {
        if input.is_empty() {
            break;
        }
        let choice = input.u8();
        let mut nonce = [0; 12];
        if choice >= 250 {
            nonce = input.array();
        } else {
            let sender = usize::from(choice) % SENDERS;
            let counter = input.near(newest[sender]);
            newest[sender] = counter;
            nonce[0] = sender as u8;
            nonce[8..].copy_from_slice(&counter.to_be_bytes());
        }
        assert_eq!(exact.accept(&nonce), seen.insert(nonce), "{nonce:?}");
        let _ = small.accept(&nonce);
        assert!(!small.accept(&nonce), "twice in a row");
    }
}

/// One of the ciphers, with a key from the input.
fn any_security(input: &mut Input<'_>) -> Security {
    let name = input.pick(Security::NAMES);
    let key: [u8; 32] = input.array();
    let made = [32, 24, 16].map(|len| Security::from_name(name, &key[..len]));
    let made = made.into_iter().find_map(Result::ok);
    made.expect("one of the lengths is right")
}

fn seal(sealer: &Sealer, security: &Security, payload: &[u8]) -> Vec<u8> {
    let layout = PacketLayout::new(MTU, security.overhead(), false).expect("has room");
    let mut batch = TransmitBatch::new(layout, 1);
    batch.push_with(|body| {
        body[..payload.len()].copy_from_slice(payload);
        payload.len()
    });
    sealer.seal(&mut batch).expect("a fresh key");
    let sealed = batch.datagrams().next().expect("one was laid");
    sealed.to_vec()
}

const MTU: usize = 1500;

/// Senders whose nonces have counters.
const SENDERS: usize = 7;
