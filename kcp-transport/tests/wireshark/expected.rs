//! The fields that tshark shows, as this crate decodes them.

use kcp_transport::crypto::Security;
use kcp_transport::packet::Opener;
use kcp_transport::wire::{Command, Frame, Frames, Segments, ShardHeader, ShardKind};

/// The values of [`NAMES`], several of a field joined by commas.
pub(crate) type Row = Vec<String>;

pub(crate) const NAMES: [&str; 20] = [
    "kcp.fec.seqid",
    "kcp.fec.type",
    "kcp.fec.size",
    "kcp.conv",
    "kcp.cmd",
    "kcp.frg",
    "kcp.wnd",
    "kcp.ts",
    "kcp.sn",
    "kcp.una",
    "kcp.len",
    "kcp.data",
    "kcp.oob.data",
    "kcp.ext.type",
    "kcp.ext.tag",
    "kcp.hello.token",
    "kcp.hello.echo",
    "kcp.fin.end",
    "kcp.received.sn",
    "_ws.expert.message",
];

pub(crate) fn row(datagram: &[u8], security: &Security) -> Row {
    let mut datagram = datagram.to_vec();
    let payload = Opener::new(security).open(&mut datagram).unwrap();
    let mut fields = Fields::default();
    match ShardHeader::detect(payload) {
        Some((header, shard)) => {
            fields.add("kcp.fec.seqid", &header.sequence);
            fields.add("kcp.fec.type", &format!("0x{:04x}", header.kind as u16));
            if header.kind != ShardKind::Parity {
                let body = ShardHeader::body(shard).unwrap();
                fields.add("kcp.fec.size", &(body.len() + 2));
                if header.kind == ShardKind::Data {
                    fields.segments(body);
                } else {
                    let (conversation, datagram) = body.split_first_chunk().unwrap();
                    fields.add(
                        "kcp.conv",
                        &format!("0x{:08x}", u32::from_le_bytes(*conversation)),
                    );
                    fields.add("kcp.oob.data", &hex(datagram));
                }
            }
        }
        None => fields.segments(payload),
    }
    fields.0.into()
}

#[derive(Default)]
struct Fields([String; NAMES.len()]);

impl Fields {
    fn add(&mut self, name: &str, value: &impl ToString) {
        let column = NAMES.iter().position(|it| *it == name).unwrap();
        let cell = &mut self.0[column];
        if !cell.is_empty() {
            cell.push(',');
        }
        *cell += &value.to_string();
    }

    fn segments(&mut self, payload: &[u8]) {
        for segment in Segments::new(payload) {
            let (header, data) = segment.unwrap();
            self.add("kcp.conv", &format!("0x{:08x}", header.conversation.get()));
            self.add("kcp.cmd", &(header.command as u8));
            self.add("kcp.frg", &header.fragments_left);
            self.add("kcp.wnd", &header.window);
            self.add("kcp.ts", &header.timestamp.to_wire());
            self.add("kcp.sn", &header.sequence);
            self.add("kcp.una", &header.unacknowledged);
            self.add("kcp.len", &header.payload_len);
            if header.command == Command::WindowUpdate {
                Frames::new(data).for_each(|frame| self.frame(&frame.unwrap()));
            } else if !data.is_empty() {
                self.add("kcp.data", &hex(data));
            }
        }
    }

    fn frame(&mut self, frame: &Frame) {
        let wide = |number: u64| format!("0x{number:016x}");
        let (kind, tag) = match frame {
            Frame::Hello(_) => (1, None),
            Frame::Fin { tag, .. } => (2, Some(tag)),
            Frame::FinAck { tag, .. } => (3, Some(tag)),
            Frame::Reset { tag, .. } => (4, Some(tag)),
            Frame::Ping(_) => (5, None),
            Frame::Pong(_) => (6, None),
            Frame::PathChallenge(_) => (7, None),
            Frame::PathResponse { tag, .. } => (8, Some(tag)),
            Frame::Received { tag, .. } => (9, Some(tag)),
            other => panic!("{other:?} is unknown to this test"),
        };
        self.add("kcp.ext.type", &kind);
        if let Some(tag) = tag {
            self.add("kcp.ext.tag", &wide(tag.get()));
        }
        match frame {
            Frame::Hello(hello) => {
                self.add("kcp.hello.token", &wide(hello.token.get()));
                self.add(
                    "kcp.hello.echo",
                    &wide(hello.echo.map_or(0, |echo| echo.get())),
                );
            }
            Frame::Fin { end, .. } | Frame::FinAck { end, .. } => self.add("kcp.fin.end", &end),
            Frame::Received { segments, .. } => {
                for offset in segments.offsets() {
                    let offset = u32::try_from(offset).unwrap();
                    self.add("kcp.received.sn", &segments.base().wrapping_add(offset));
                }
            }
            _ => {}
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
