//! The dissector in docs/wireshark, run by tshark of Debian: it shows what this crate decodes.
//!
//! Each test is left out with a notice where tshark cannot be installed.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "the tests record real sessions")]

mod capture;
#[path = "../../../kcp-tower/tests/support/debian.rs"]
mod debian;
mod expected;
mod joined;
mod tshark;

use std::sync::Arc;

use capture::{PORT, Recorder};
use expected::{NAMES, Row};
use kcp_transport::crypto::Security;
use kcp_transport::wire::{
    Command as Kind, ConversationId, Frame, FrameWriter, Hello, Received, SEGMENT_HEADER_LEN,
    SegmentHeader, Timestamp, Token,
};
use kcp_transport::{Config, FecRatio, KcpListener, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tshark::Tshark;

fn with_fec() -> Config {
    let ratio = FecRatio::new(4, 2).unwrap();
    Config::builder().fec(ratio).build().unwrap()
}

/// The datagrams of a connection that sends data both ways, over a path that loses some, and ends.
#[tokio::main]
async fn session(security: &Security, config: &Config) -> Vec<Vec<u8>> {
    let listener = KcpListener::builder(security)
        .config(config)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let recorder = Arc::new(Recorder::new(|number| number % 9 == 5).await.unwrap());
    let client = KcpStream::builder(security)
        .config(config)
        .transport(recorder.clone());
    let (mut client, (mut server, _)) = tokio::try_join!(
        client.connect(listener.local_addr().unwrap()),
        listener.accept()
    )
    .unwrap();
    if config.fec().is_some() {
        client.send_datagram(b"out of band").unwrap();
    }
    let echo = async {
        let mut data = Vec::new();
        server.read_to_end(&mut data).await.unwrap();
        server.write_all(&data).await.unwrap();
        server.shutdown().await.unwrap();
    };
    let send = async {
        client.write_all(&[7; 30_000]).await.unwrap();
        client.shutdown().await.unwrap();
        client.read_to_end(&mut Vec::new()).await.unwrap();
    };
    tokio::join!(echo, send);
    recorder.datagrams()
}

/// How many rows have the text in the column.
fn count(rows: &[Row], name: &str, text: &str) -> usize {
    let column = NAMES.iter().position(|it| *it == name).unwrap();
    rows.iter()
        .filter(|row| row[column].split(',').any(|it| it == text))
        .count()
}

#[test]
fn unencrypted_session_is_recognized_and_dissected() {
    let Some(tshark) = Tshark::new() else { return };
    let datagrams = session(&Security::Plaintext, &Config::default());
    let rows = tshark.compare(&datagrams, &Security::Plaintext, &[]);
    for (command, least) in [("81", 40), ("82", 10), ("83", 1), ("84", 2)] {
        assert!(count(&rows, "kcp.cmd", command) >= least, "{command}");
    }
    // Hello, Fin, FinAck, and the bitmap of what arrived beyond a loss.
    for frame in ["1", "2", "3", "9"] {
        assert!(count(&rows, "kcp.ext.type", frame) > 0, "{frame}");
    }
}

#[test]
fn unencrypted_session_with_fec_is_recognized_and_dissected() {
    let Some(tshark) = Tshark::new() else { return };
    let datagrams = session(&Security::Plaintext, &with_fec());
    let rows = tshark.compare(&datagrams, &Security::Plaintext, &[]);
    for kind in ["0x00f1", "0x00f2", "0x00f3"] {
        assert!(count(&rows, "kcp.fec.type", kind) > 0, "{kind}");
    }
}

#[test]
fn encrypted_sessions_are_decrypted_by_password() {
    let Some(tshark) = Tshark::new() else { return };
    let port = PORT.to_string();
    let fec = with_fec();
    for (number, name) in Security::NAMES.iter().enumerate() {
        let security = Security::from_password(name, "a password", b"some salt").unwrap();
        let config = if number % 2 == 0 {
            &fec
        } else {
            &Config::default()
        };
        let datagrams = session(&security, config);
        let preferences = [
            ("ports", &*port),
            ("cipher", name),
            ("password", "a password"),
            ("salt", "some salt"),
        ];
        if UNSUPPORTED.contains(name) {
            let text = tshark.run(&datagrams[..1], &preferences, &["-V"]);
            assert!(
                text.contains(&format!(
                    "Not decrypted: {name} is not implemented by this dissector"
                )),
                "{text}"
            );
        } else {
            tshark.compare(&datagrams, &security, &preferences);
        }
    }
}

#[test]
fn documentation_names_the_ciphers_without_decryption() {
    let page = include_str!("../../../docs/wireshark.md");
    let names: Vec<_> = UNSUPPORTED.iter().map(|name| format!("`{name}`")).collect();
    let (last, others) = names.split_last().unwrap();
    let sentence = format!("All ciphers of kcp-go but {} and {last}", others.join(", "));
    assert!(page.contains(&sentence), "{sentence}");
}

#[test]
fn session_is_decrypted_by_key() {
    let Some(tshark) = Tshark::new() else { return };
    let port = PORT.to_string();
    let security = Security::from_name("aes-128-gcm", b"sixteen letters.").unwrap();
    let datagrams = session(&security, &Config::default());
    let key = "73 69 78 74 65 65 6e 20 6c 65 74 74 65 72 73 2e";
    let preferences = [("ports", &*port), ("cipher", "aes-128-gcm"), ("key", key)];
    tshark.compare(&datagrams, &security, &preferences);
    let preferences = [
        ("ports", &*port),
        ("cipher", "aes-128-gcm"),
        ("key", "73 69"),
    ];
    let text = tshark.run(&datagrams[..1], &preferences, &["-V"]);
    assert!(
        text.contains("Not decrypted: the key of aes-128-gcm has 32 hexadecimal digits"),
        "{text}"
    );
}

#[test]
fn wrong_password_is_reported() {
    let Some(tshark) = Tshark::new() else { return };
    let port = PORT.to_string();
    for (name, reason) in [
        ("aes", "the checksum is wrong"),
        ("aes-256-gcm", "the tag is wrong"),
    ] {
        let security = Security::from_password(name, "a password", Security::KCPTUN_SALT).unwrap();
        let datagrams = session(&security, &Config::default());
        let with = |password| [("ports", &*port), ("cipher", name), ("password", password)];
        let output = ["-T", "fields", "-e", "_ws.expert.message"];
        let text = tshark.run(&datagrams, &with("another password"), &output);
        let message =
            format!("Not decrypted: {reason}: another password, key or cipher, or no KCP");
        assert_eq!(text.lines().count(), datagrams.len());
        assert!(text.lines().all(|line| line == message), "{text}");
        let text = tshark.run(&datagrams, &with(""), &output);
        assert!(
            text.lines()
                .all(|line| line == "Not decrypted: neither a password nor a key is set"),
            "{text}"
        );
        assert_eq!(
            tshark.run(&datagrams, &with("a password"), &output).trim(),
            ""
        );
    }
}

#[test]
fn each_extension_frame_is_dissected() {
    let Some(tshark) = Tshark::new() else { return };
    let tag = Token::new(0x1817_1615_1413_1211);
    let mut hello = Hello::new(tag);
    hello.confirmed = true;
    hello.capabilities = 3;
    hello.echo = Some(Token::new(5));
    let mut segments = Received::new(u32::MAX);
    for offset in [0, 1, 9] {
        segments.add(offset);
    }
    let frames = [
        Frame::Hello(hello),
        Frame::Fin { tag, end: 20 },
        Frame::FinAck { tag, end: 21 },
        Frame::Reset {
            tag,
            code: 0xffff_ff04,
        },
        Frame::Ping(6),
        Frame::Pong(7),
        Frame::PathChallenge(8),
        Frame::PathResponse { tag, data: 9 },
        Frame::Received { tag, segments },
    ];
    let mut writer = FrameWriter::new(400);
    frames.iter().for_each(|frame| assert!(writer.push(frame)));
    let datagram = segment(Kind::WindowUpdate, writer.payload());
    let fields = [
        ("kcp.conv", "0x11223344"),
        ("kcp.cmd", "84"),
        ("kcp.frg", "2"),
        ("kcp.wnd", "100"),
        ("kcp.ts", "4000000000"),
        ("kcp.sn", "7"),
        ("kcp.una", "8"),
        ("kcp.len", &writer.payload().len().to_string()),
        ("kcp.ext.type", "1,2,3,4,5,6,7,8,9"),
        ("kcp.ext.version", "1"),
        ("kcp.hello.confirmed", "1"),
        ("kcp.hello.migration", "1"),
        ("kcp.hello.received", "1"),
        ("kcp.hello.token", "0x1817161514131211"),
        ("kcp.hello.echo", "0x0000000000000005"),
        ("kcp.fin.end", "20,21"),
        ("kcp.reset.code", "0xffffff04"),
        (
            "kcp.ext.data",
            "0x0000000000000006,0x0000000000000007,0x0000000000000008,0x0000000000000009",
        ),
        ("kcp.received.base", "4294967295"),
        ("kcp.received.bitmap", "0302"),
        ("kcp.received.sn", "4294967295,0,8"),
        ("_ws.expert.message", ""),
    ];
    let mut output = vec!["-T", "fields", "-E", "occurrence=a", "-E", "aggregator=,"];
    fields
        .iter()
        .for_each(|(name, _)| output.extend(["-e", name]));
    let text = tshark.run(&[datagram], &[], &output);
    let shown: Vec<_> = text.trim_end_matches('\n').split('\t').collect();
    for ((name, value), shown) in fields.iter().zip(&shown) {
        assert_eq!(shown, value, "{name}");
    }
    assert_eq!(shown.len(), fields.len());
}

#[test]
fn datagrams_that_are_no_kcp_are_left_to_others() {
    let Some(tshark) = Tshark::new() else { return };
    let good = segment(Kind::Push, b"data");
    let mut command = good.clone();
    command[4] = 85;
    let longer = [&good[..], b"x"].concat();
    let datagrams = [
        command,
        longer,
        good[..good.len() - 1].to_vec(),
        vec![0; 24],
        good,
    ];
    let output = ["-T", "fields", "-e", "kcp.cmd"];
    assert_eq!(tshark.run(&datagrams, &[], &output), "\n\n\n\n81\n");
}

#[test]
fn damaged_datagrams_cause_no_errors_of_lua() {
    let Some(tshark) = Tshark::new() else { return };
    let port = PORT.to_string();
    let fec = with_fec();
    let mut good = session(&Security::Plaintext, &fec);
    good.extend(session(&Security::Plaintext, &Config::default()));
    // Frames are where most fields of variable length are.
    good.sort_by_key(|datagram| !datagram.windows(4).any(|it| it == b"KCPX"));
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % below as u64).unwrap()
    };
    let damaged: Vec<Vec<u8>> = (0..1000)
        .map(|number| {
            let mut datagram = good[next(good.len().min(60))].clone();
            match number % 4 {
                0 => datagram.truncate(next(datagram.len())),
                1 => datagram
                    .iter_mut()
                    .for_each(|byte| *byte = u8::try_from(next(256)).unwrap()),
                _ => (0..=next(4)).for_each(|_| {
                    let at = next(datagram.len());
                    datagram[at] = u8::try_from(next(256)).unwrap();
                }),
            }
            datagram
        })
        .collect();
    for cipher in [
        "null",
        "none",
        "aes-128",
        "salsa20",
        "aes-128-gcm",
        "chacha20-poly1305",
        "3des",
    ] {
        let preferences = [
            ("ports", &*port),
            ("cipher", cipher),
            ("password", "a password"),
        ];
        let text = tshark.run(&damaged, &preferences, &["-V"]);
        assert!(text.contains("KCP"), "{cipher}");
    }
}

fn segment(command: Kind, payload: &[u8]) -> Vec<u8> {
    let header = SegmentHeader {
        conversation: ConversationId::new(0x1122_3344),
        command,
        fragments_left: 2,
        window: 100,
        timestamp: Timestamp::from_wire(4_000_000_000),
        sequence: 7,
        unacknowledged: 8,
        payload_len: u32::try_from(payload.len()).unwrap(),
    };
    let mut datagram = vec![0; SEGMENT_HEADER_LEN];
    header.encode(&mut datagram);
    datagram.extend(payload);
    datagram
}

/// Ciphers that the dissector does not implement.
const UNSUPPORTED: [&str; 5] = ["sm4", "twofish", "3des", "cast5", "blowfish"];
