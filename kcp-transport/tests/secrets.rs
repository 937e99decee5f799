//! Keys appear neither in `Debug` output nor in the memory that a dropped cipher leaves behind.
#![allow(clippy::disallowed_methods)]

use std::fmt::{Debug, Write};

use kcp_transport::config::Config;
use kcp_transport::crypto::{KeyRing, NonceSource, Security};
use kcp_transport::net::{KcpEndpoint, KcpListener, KcpStream};
use kcp_transport::packet::{Opener, ReplayFilter, Sealer, TransmitBatch};
use kcp_transport::testing::{Pair, PairConfig, Rng};
use tokio::io::AsyncWriteExt;

/// All that was printed, in both forms, without white space.
#[derive(Default)]
struct Print(String);

impl Print {
    fn add(&mut self, value: &dyn Debug) {
        write!(self.0, "{value:?}{value:#?}").expect("strings take everything");
    }

    /// Panics if the print shows four bytes of a secret in a row, in any way that numbers are shown.
    fn check(mut self, context: &str, secret: &[u8]) {
        self.0.retain(|letter| !letter.is_whitespace());
        let print = self.0.to_lowercase();
        assert!(!print.is_empty());
        for bytes in secret.windows(4) {
            let four: [u8; 4] = bytes.try_into().expect("four");
            let [big, little] = [u32::from_be_bytes(four), u32::from_le_bytes(four)];
            let list = |show: fn(&u8) -> String| bytes.iter().map(show).collect::<Vec<_>>();
            for shown in [
                list(u8::to_string).join(","),
                list(|byte| format!("{byte:x}")).join(","),
                list(|byte| format!("0x{byte:x}")).join(","),
                list(|byte| format!("{byte:02x}")).concat(),
                big.to_string(),
                little.to_string(),
                format!("{big:x}"),
                format!("{little:x}"),
            ] {
                assert!(!print.contains(&shown), "{context} shows {shown}");
            }
        }
        for bytes in secret.windows(8) {
            let eight: [u8; 8] = bytes.try_into().expect("eight");
            for number in [u64::from_be_bytes(eight), u64::from_le_bytes(eight)] {
                assert!(!print.contains(&number.to_string()), "{context}");
            }
        }
    }
}

fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Rng::new(seed).fill(&mut bytes);
    bytes
}

/// Each cipher with a key of its own, and that key.
fn ciphers() -> impl Iterator<Item = (Security, Vec<u8>)> {
    (1..).zip(Security::NAMES).map(|(seed, name)| {
        let made = [0, 16, 24, 32].iter().find_map(|&len| {
            let key = random(seed, len);
            Security::from_name(name, &key).ok().map(|it| (it, key))
        });
        made.expect("one of these lengths")
    })
}

#[test]
fn a_print_with_a_secret_is_found() {
    let secret = random(1, 16);
    let words: Vec<u32> = secret
        .chunks(4)
        .map(|bytes| u32::from_be_bytes(bytes.try_into().expect("four")))
        .collect();
    for value in [&secret as &dyn Debug, &words] {
        let mut print = Print::default();
        print.add(value);
        let check = std::panic::AssertUnwindSafe(|| print.check("it", &secret));
        assert!(std::panic::catch_unwind(check).is_err());
    }
}

#[test]
fn debug_of_ciphers_and_what_uses_them_shows_no_key() {
    for (security, key) in ciphers() {
        let seed = random(99, 32);
        let sealer = Sealer::new(&security, seed[..].try_into().expect("32 bytes"));
        let layout = Config::default().layout(security.overhead());
        let mut batch = TransmitBatch::new(layout.expect("has room"), 4);
        batch.push_with(|payload| payload.len());
        sealer.seal(&mut batch).expect("far from the limit");
        let config = PairConfig {
            security: security.clone(),
            ..PairConfig::default()
        };
        let mut pair = Pair::new(1, &config);
        pair.transfer(b"some data").expect("arrives");
        let mut print = Print::default();
        print.add(&security);
        print.add(&sealer);
        print.add(&sealer.opener());
        print.add(&sealer.replay_filter(100));
        print.add(&Opener::new(&security));
        print.add(&config);
        print.add(&pair);
        if let Security::Aead(aead) = &security {
            let ring = KeyRing::new(aead.clone());
            ring.add_receive(aead.clone()).expect("has one");
            print.add(aead);
            print.add(&ring);
            print.add(&Security::Ring(ring));
        }
        print.add(&Security::from_name(
            security.name(),
            &key[1.min(key.len())..],
        ));
        let both = [key, seed].concat();
        print.check(security.name(), &both);
    }
}

#[test]
fn debug_of_nonces_shows_no_seed() {
    let seed = random(1, 32);
    let source = NonceSource::new(seed[..].try_into().expect("32 bytes"));
    let mut nonces = source.reserve(3);
    let counted = nonces.next_counted().expect("reserved");
    let mut filter = ReplayFilter::new(seed[..16].try_into().expect("16 bytes"), 100);
    assert!(filter.accept(&counted));
    let mut print = Print::default();
    print.add(&source);
    print.add(&nonces);
    print.add(&filter);
    // The prefix is no secret, but it belongs in no log.
    print.check("nonces", &[&seed, &counted[..8]].concat());
}

#[tokio::test]
async fn debug_of_streams_and_endpoints_shows_no_key() {
    for (security, key) in ciphers() {
        let config = Config::default();
        let listener = KcpListener::builder(&security)
            .config(&config)
            .bind("127.0.0.1:0")
            .await
            .expect("binds");
        let addr = listener.local_addr().expect("bound");
        let endpoint = KcpEndpoint::builder(&security)
            .config(&config)
            .bind("127.0.0.1:0")
            .await
            .expect("binds");
        let connected = KcpStream::builder(&security).config(&config).connect(addr);
        let (one, other) = tokio::join!(connected, endpoint.connect(addr));
        let (mut one, other) = (one.expect("connects"), other.expect("connects"));
        one.write_all(&[0; 1000]).await.expect("takes it");
        let mut print = Print::default();
        print.add(&listener);
        print.add(&endpoint);
        print.add(&one);
        print.add(&other.into_split());
        print.check(security.name(), &key);
    }
}

#[cfg(target_os = "linux")]
mod memory {
    use std::fs::{self, File};
    use std::io::{Read, Seek, SeekFrom};

    use super::*;

    /// How often eight bytes with this fingerprint are in writable memory of this process.
    fn count(fingerprint: u64) -> usize {
        let maps = fs::read_to_string("/proc/self/maps").expect("Linux has it");
        let mut memory = File::open("/proc/self/mem").expect("may read itself");
        let mut chunk = vec![0; 1 << 16];
        let mut found = 0;
        for line in maps.lines().filter(|line| line.contains(" rw")) {
            let (from, rest) = line.split_once('-').expect("a range");
            let to = rest.split(' ').next().expect("its end");
            let [mut at, end] =
                [from, to].map(|place| u64::from_str_radix(place, 16).expect("hexadecimal"));
            while at < end {
                // What was read before lies in the chunk itself.
                let own = chunk.as_ptr() as u64;
                let own = own..own + chunk.len() as u64;
                if own.contains(&at) {
                    at = own.end;
                    continue;
                }
                let stop = if at < own.start {
                    own.start.min(end)
                } else {
                    end
                };
                let len = chunk
                    .len()
                    .min(usize::try_from(stop - at).expect("64 bits"));
                let bytes = &mut chunk[..len];
                if memory.seek(SeekFrom::Start(at)).is_ok() && memory.read_exact(bytes).is_ok() {
                    let windows = bytes.windows(8);
                    found += windows
                        .filter(|it| fingerprint_of(it) == fingerprint)
                        .count();
                }
                // The last window begins again with the next chunk.
                at += if at + len as u64 == stop {
                    len
                } else {
                    len - 7
                } as u64;
            }
        }
        found
    }

    /// Does not show the bytes, so that looking for them does not find them.
    fn fingerprint_of(bytes: &[u8]) -> u64 {
        let eight = bytes.try_into().expect("eight");
        u64::from_le_bytes(eight).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// Zeros deep into the stack, where the test leaves traces of its own.
    #[inline(never)]
    fn overwrite_stack() {
        std::hint::black_box(&mut [0_u8; 1 << 16]);
    }

    /// The cipher, and the fingerprint of its key.
    #[inline(never)]
    fn make(name: &str, seed: u64) -> (Security, u64) {
        let key = zeroize::Zeroizing::new(random(seed, 32));
        let made = [0, 16, 24, 32]
            .iter()
            .find_map(|&len| Security::from_name(name, &key[..len]).ok());
        (
            made.expect("one of these lengths"),
            fingerprint_of(&key[..8]),
        )
    }

    #[test]
    fn dropped_ciphers_leave_no_key_in_memory() {
        for (seed, name) in (1000..).zip(Security::NAMES) {
            let (security, fingerprint) = make(name, seed);
            overwrite_stack();
            let live = count(fingerprint);
            drop(security);
            let left = count(fingerprint);
            let known = match *name {
                // `ring` does not clear what it frees.
                "aes-128-gcm" | "aes-256-gcm" | "chacha20-poly1305" => 1,
                _ => 0,
            };
            assert!(left <= known, "{name} leaves {left} of {live}");
            // It holds the key as it is, so that it shows whether keys are found at all.
            assert!(live > 0 || *name != "salsa20");
        }
    }
}
