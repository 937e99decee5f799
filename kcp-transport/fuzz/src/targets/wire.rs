//! Headers: bytes to values and back.

use kcp_transport::session::{Destination, Unsolicited};
use kcp_transport::wire::{
    Command, ConversationId, Frame, FrameWriter, Frames, Hello, MAX_EXTENSION_LEN, Received,
    SEGMENT_HEADER_LEN, SHARD_HEADER_LEN, SegmentHeader, Segments, SeqNumber, ShardHeader,
    ShardKind, Timestamp, Token,
};

use super::input::Input;

/// Any bytes are decoded without a panic, and encoding the result gives the same bytes.
pub fn wire_parse(data: &[u8]) {
    let mut consumed = 0;
    for segment in Segments::new(data) {
        let Ok((header, payload)) = segment else {
            break;
        };
        let mut head = [0; SEGMENT_HEADER_LEN];
        header.encode(&mut head);
        let (there, rest) = data[consumed..].split_at(SEGMENT_HEADER_LEN);
        assert_eq!(head, there);
        assert_eq!(payload, &rest[..payload.len()]);
        assert_eq!(payload.len(), header.payload_len as usize);
        assert_eq!(
            SegmentHeader::peek_conversation(&data[consumed..]),
            Some(header.conversation)
        );
        consumed += SEGMENT_HEADER_LEN + payload.len();
    }
    assert!(consumed <= data.len());
    let Some((header, shard)) = ShardHeader::detect(data) else {
        return;
    };
    assert_eq!(consumed, 0, "a shard that is a segment as well");
    let mut head = [0; SHARD_HEADER_LEN];
    header.encode(&mut head);
    assert_eq!(head, data[..SHARD_HEADER_LEN]);
    if let Ok(body) = ShardHeader::body(shard) {
        let mut again = shard[..2 + body.len()].to_vec();
        ShardHeader::encode_size(&mut again);
        assert_eq!(again, shard[..again.len()]);
    }
}

/// Encoded headers decode to the same values, and numbers survive being cut and widened.
pub fn wire_roundtrip(data: &[u8]) {
    let mut input = Input::new(data);
    let mut bytes = Vec::new();
    let mut written = Vec::new();
    for _ in 0..1 + input.below(8) {
        let len = input.below(600);
        let payload = input.take(len);
        let header = SegmentHeader {
            conversation: ConversationId::new(input.u32()),
            command: any_command(&mut input),
            fragments_left: input.u8(),
            window: input.u16(),
            timestamp: Timestamp::from_wire(input.u32()),
            sequence: input.u32(),
            unacknowledged: input.u32(),
            payload_len: payload.len() as u32,
        };
        let start = bytes.len();
        bytes.resize(start + SEGMENT_HEADER_LEN, 0);
        header.encode(&mut bytes[start..]);
        bytes.extend_from_slice(payload);
        written.push((header, payload));
    }
    let read: Result<Vec<_>, _> = Segments::new(&bytes).collect();
    assert_eq!(read.as_deref(), Ok(&written[..]));
    assert_eq!(ShardHeader::detect(&bytes), None);

    let kind = input.pick(&[ShardKind::Data, ShardKind::Parity, ShardKind::OutOfBand]);
    let header = ShardHeader {
        sequence: input.u32(),
        kind,
    };
    let mut packet = vec![0; SHARD_HEADER_LEN + 2];
    header.encode(&mut packet);
    packet.extend_from_slice(&bytes);
    ShardHeader::encode_size(&mut packet[SHARD_HEADER_LEN..]);
    let (read, shard) = ShardHeader::detect(&packet).expect("has a header");
    assert_eq!(read, header);
    assert_eq!(ShardHeader::body(shard), Ok(&bytes[..]));

    let start = SeqNumber::first(input.u32()).advance(input.u32() as usize);
    let wire = input.near(start.to_wire());
    let distance = wire.wrapping_sub(start.to_wire()) as i32;
    let widened = start.widen(wire);
    assert_eq!(widened.to_wire(), wire);
    let apart = distance.unsigned_abs() as usize;
    if distance >= 0 {
        assert_eq!(widened.offset_from(start), Some(apart));
        assert_eq!(start.advance(apart), widened);
    } else {
        assert_eq!(start.offset_from(widened), Some(apart));
        assert_eq!(widened.offset_from(start), None);
    }
}

/// Frames of any bytes are decoded without a panic, and encoded frames decode to the same values.
pub fn extension_frames(data: &[u8]) {
    for frame in Frames::new(data) {
        let Ok(frame) = frame else {
            break;
        };
        assert_eq!(written(&[frame], MAX_EXTENSION_LEN), [frame]);
    }
    let mut input = Input::new(data);
    let limit = usize::from(input.u8());
    let mut frames = Vec::new();
    while !input.is_empty() {
        frames.push(any_frame(&mut input, 1));
    }
    let read = written(&frames, limit);
    // The frames that fit, in order.
    let mut frames = frames.iter();
    assert!(read.iter().all(|it| frames.any(|frame| frame == it)));
}

/// The frames decoded from a payload that holds as many of `frames` as fit.
fn written(frames: &[Frame], limit: usize) -> Vec<Frame> {
    let mut writer = FrameWriter::new(limit);
    let count = frames.iter().filter(|it| writer.push(it)).count();
    assert!(writer.payload().len() <= limit.min(MAX_EXTENSION_LEN));
    let read: Result<Vec<_>, _> = Frames::new(writer.payload()).collect();
    let read = read.expect("frames of our own");
    assert_eq!(read.len(), count);
    read
}

/// Any frame, more often than not with the right token.
pub fn any_frame(input: &mut Input<'_>, token: u64) -> Frame {
    let kind = input.u8();
    let tag = Token::new(if kind < 192 { token } else { 1 | input.u64() });
    match kind % 9 {
        0 | 1 => {
            let (confirmed, capabilities) = (input.flag(), input.u8().into());
            let mut hello = Hello::new(Token::new(u64::from(input.u8()) + 1));
            hello.confirmed = confirmed;
            hello.capabilities = capabilities;
            hello.echo = input.flag().then_some(tag);
            Frame::Hello(hello)
        }
        2 => Frame::Fin {
            tag,
            end: input.near(0),
        },
        3 => Frame::FinAck {
            tag,
            end: input.near(0),
        },
        4 => Frame::Reset {
            tag,
            code: input.u32(),
        },
        5 if input.flag() => Frame::Ping(input.u64()),
        5 => Frame::Pong(input.u8().into()),
        6 => Frame::PathChallenge(input.u64()),
        7 => Frame::PathResponse {
            tag,
            data: input.u8().into(),
        },
        _ => {
            let mut segments = Received::new(input.near(0));
            for _ in 0..input.below(6) {
                segments.add(input.below(2000));
            }
            Frame::Received { tag, segments }
        }
    }
}

/// Payloads go to the session that an independent decoder of the headers finds.
pub fn demux(data: &[u8]) {
    let u32_at = |at: usize| {
        let bytes = data.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    let kind = data.get(4..6).map(|bytes| [bytes[0], bytes[1]]);
    // The range of the segments, if they are not encoded.
    let body = match kind {
        Some([0xf1 | 0xf3, 0]) => data.get(6..8).and_then(|size| {
            let end = 6 + usize::from(u16::from_le_bytes([size[0], size[1]]));
            (end >= 8 && end <= data.len()).then_some((8, end))
        }),
        Some([0xf2, 0]) => None,
        _ => Some((0, data.len())),
    };
    let wanted = match (kind, body) {
        (Some([0xf2, 0]), _) => Destination::Parity,
        (Some([0xf3, 0]), Some((at, end))) if end >= at + 4 => conversation(u32_at(at)),
        (Some([0xf3, 0]), _) | (_, None) => Destination::Malformed,
        (_, Some((at, end))) if end >= at + 24 => conversation(u32_at(at)),
        _ => Destination::Malformed,
    };
    assert_eq!(Destination::of(data), wanted);

    let unsolicited = Unsolicited::of(data);
    let segments = match kind {
        Some([0xf2 | 0xf3, 0]) => None,
        _ => body,
    };
    let opens = segments.is_some_and(|(at, end)| {
        let whole =
            end >= at + 24 && u32_at(at + 20).is_some_and(|len| len as usize <= end - at - 24);
        let command = data.get(at + 4);
        let (sequence, una) = (u32_at(at + 12), u32_at(at + 16));
        whole && matches!(command, Some(81 | 83)) && sequence == Some(0) && una == Some(0)
    });
    assert_eq!(unsolicited == Unsolicited::Opening, opens);
    if Destination::of(data) == Destination::Malformed {
        assert_eq!(unsolicited, Unsolicited::Other);
    }
}

fn conversation(id: Option<u32>) -> Destination {
    id.map_or(Destination::Malformed, |id| {
        Destination::Conversation(ConversationId::new(id))
    })
}

/// One of the four.
pub fn any_command(input: &mut Input<'_>) -> Command {
    input.pick(&[
        Command::Push,
        Command::Ack,
        Command::WindowProbe,
        Command::WindowUpdate,
    ])
}
