//! Frames on the wire.

use super::*;
use proptest::prelude::*;

fn token() -> impl Strategy<Value = Token> {
    (1..=u64::MAX).prop_map(Token::new)
}

fn frame() -> impl Strategy<Value = Frame> {
    let hello = (
        any::<bool>(),
        any::<u32>(),
        token(),
        proptest::option::of(token()),
    );
    prop_oneof![
        hello.prop_map(
            |(confirmed, capabilities, token, echo)| Frame::Hello(Hello {
                confirmed,
                capabilities,
                token,
                echo,
            })
        ),
        (token(), any::<u32>()).prop_map(|(tag, end)| Frame::Fin { tag, end }),
        (token(), any::<u32>()).prop_map(|(tag, end)| Frame::FinAck { tag, end }),
        (token(), any::<u32>()).prop_map(|(tag, code)| Frame::Reset { tag, code }),
        any::<u64>().prop_map(Frame::Ping),
        any::<u64>().prop_map(Frame::Pong),
        any::<u64>().prop_map(Frame::PathChallenge),
        (token(), any::<u64>()).prop_map(|(tag, data)| Frame::PathResponse { tag, data }),
        (token(), received()).prop_map(|(tag, segments)| Frame::Received { tag, segments }),
    ]
}

fn received() -> impl Strategy<Value = Received> {
    let offsets = proptest::collection::vec(0..Received::MAX_SEGMENTS, 0..20);
    (any::<u32>(), offsets).prop_map(|(base, offsets)| {
        let mut received = Received::new(base);
        offsets.into_iter().for_each(|offset| {
            received.add(offset);
        });
        received
    })
}

fn payload(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = PREAMBLE.to_vec();
    for frame in frames {
        let mut out = [0; 256];
        let len = frame.encode(&mut out).expect("fits");
        bytes.extend_from_slice(&out[..len]);
    }
    bytes
}

#[test]
fn hello_is_laid_out_as_documented() {
    let frame = Frame::Hello(Hello {
        confirmed: true,
        capabilities: 0x0403_0201,
        token: Token::new(0x1817_1615_1413_1211),
        echo: Some(Token::new(0x2827_2625_2423_2221)),
    });
    let expected = b"KCPX\x01\x01\x15\x01\x01\x02\x03\x04\
        \x11\x12\x13\x14\x15\x16\x17\x18\x21\x22\x23\x24\x25\x26\x27\x28";
    assert_eq!(payload(&[frame]), expected);
}

#[test]
fn received_is_laid_out_as_documented() {
    let mut segments = Received::new(0x0403_0201);
    for offset in [1, 8, 11] {
        segments.add(offset);
    }
    let tag = Token::new(0x1817_1615_1413_1211);
    let frame = Frame::Received { tag, segments };
    let expected = b"KCPX\x01\x09\x0e\x11\x12\x13\x14\x15\x16\x17\x18\x01\x02\x03\x04\x02\x09";
    assert_eq!(payload(&[frame]), expected);
}

#[test]
fn room_for_received_is_used_up() {
    for limit in 0..400 {
        let mut writer = FrameWriter::new(limit);
        writer.push(&Frame::Ping(1));
        let most = writer.room_for_received(0);
        assert!(most <= Received::MAX_SEGMENTS);
        let tag = Token::new(1);
        let mut segments = Received::new(0);
        let fits = most > 0 && segments.add(most - 1);
        assert_eq!(
            fits && writer.push(&Frame::Received { tag, segments }),
            most > 0
        );
        assert!(writer.payload().len() <= limit.max(PREAMBLE.len()));
    }
}

#[test]
fn unknown_frames_are_skipped() {
    let mut bytes = payload(&[Frame::Ping(1)]);
    bytes.extend_from_slice(&[200, 3, 1, 2, 3]);
    bytes.extend_from_slice(&payload(&[Frame::Pong(2)])[PREAMBLE.len()..]);
    let frames: Vec<_> = Frames::new(&bytes).collect();
    assert_eq!(frames, [Ok(Frame::Ping(1)), Ok(Frame::Pong(2))]);
}

#[test]
fn longer_value_of_a_known_frame_is_read_as_far_as_known() {
    let mut bytes = payload(&[Frame::Ping(7)]);
    bytes[PREAMBLE.len() + 1] += 1;
    bytes.push(0xff);
    assert_eq!(
        Frames::new(&bytes).collect::<Vec<_>>(),
        [Ok(Frame::Ping(7))]
    );
}

#[test]
fn payloads_of_others_have_no_frames() {
    let good = payload(&[Frame::Ping(1)]);
    for at in 0..PREAMBLE.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert_eq!(Frames::new(&bad).next(), None);
    }
    assert_eq!(Frames::new(&[]).next(), None);
}

#[test]
fn writer_keeps_to_its_limit() {
    let ping = Frame::Ping(1);
    let mut writer = FrameWriter::new(24);
    assert_eq!(writer.payload(), []);
    assert!(writer.push(&ping));
    assert!(!writer.push(&ping), "5 + 10 + 10 bytes");
    assert_eq!(writer.payload(), payload(&[ping]));
    assert!(!FrameWriter::new(0).push(&ping));
}

#[test]
fn token_stays_hidden() {
    assert_eq!(format!("{:?}", Token::new(12345)), "Token(..)");
}

proptest! {
    #[test]
    fn frames_survive_the_wire(frames in proptest::collection::vec(frame(), 0..8)) {
        let decoded: Result<Vec<_>, _> = Frames::new(&payload(&frames)).collect();
        prop_assert_eq!(decoded, Ok(frames));
    }

    #[test]
    fn truncated_payloads_end_in_an_error(frames in proptest::collection::vec(frame(), 1..4), cut in 1_usize..8) {
        let bytes = payload(&frames);
        let short = &bytes[..bytes.len() - cut];
        let decoded: Vec<_> = Frames::new(short).collect();
        prop_assert!(decoded.len() <= frames.len());
        prop_assert_eq!(decoded.last(), Some(&Err(DecodeError::Truncated)));
    }

    #[test]
    fn garbage_never_panics(garbage: Vec<u8>) {
        Frames::new(&garbage).for_each(drop);
        Frames::new(&[&PREAMBLE, &garbage[..]].concat()).for_each(drop);
    }
}
