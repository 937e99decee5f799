//! Checks what a session sends against what it received and sent before.

use kcp_transport::config::Congestion;
use kcp_transport::session::State;
use kcp_transport::stats::Stats;
use kcp_transport::time::Time;
use kcp_transport::wire::{
    Command, Frame, Frames, SegmentHeader, Segments, ShardHeader, ShardKind,
};

use super::Watch;
use crate::watch::frames::SentFrames;
use crate::watch::ledger::{Ledger, Record, Sender};
use crate::world::app::pattern;

impl Watch {
    /// A payload that the session laid out is about to be sealed.
    pub(crate) fn on_sent(
        &mut self,
        now: Time,
        payload: &[u8],
        sender: &Sender,
        own: &mut Ledger,
        other: &mut Ledger,
    ) -> Result<(), String> {
        let most = self.layout.segments_len() + self.layout.shard_header();
        if payload.len() > most {
            return Err(format!(
                "payload of {} bytes, {most} allowed",
                payload.len()
            ));
        }
        let segments = match (&mut self.fec, ShardHeader::detect(payload)) {
            (None, None) => payload,
            (None, Some(_)) => return Err("FEC header without FEC".into()),
            // A probe of the path's mtu is in no group.
            (Some(_), None) if is_path_probe(payload) => payload,
            (Some(_), None) => return Err("no FEC header".into()),
            (Some(fec), Some((header, shard))) => match fec.on_sent(now, header)? {
                ShardKind::Data => ShardHeader::body(shard).map_err(|it| it.to_string())?,
                _ => return Ok(()),
            },
        };
        let Sender { stats, .. } = sender;
        let unread = stats.unread;
        let (mut asks, mut acks) = (false, false);
        let mut frames: &[u8] = &[];
        for segment in Segments::new(segments) {
            let (header, data) = segment.map_err(|error| error.to_string())?;
            if !frames.is_empty() {
                return Err(format!("frames are not the last in a datagram: {header:?}"));
            }
            asks |= header.command == Command::WindowProbe;
            acks |= header.command == Command::Ack;
            if header.command == Command::WindowUpdate {
                frames = data;
            }
            if usize::from(header.window) + unread > usize::from(self.receive_window) {
                return Err(format!("{unread} unread, but {header:?}"));
            }
            self.sent_window = header.window;
            self.check((now, stats), &header, data, (own, other))
                .map_err(|error| format!("{error}: {header:?}"))?;
        }
        if frames.is_empty() {
            if asks {
                self.frames.on_lone_probe();
            }
            return match sender.state {
                State::Closed(_) => Err("an ended session goes on".into()),
                _ => Ok(()),
            };
        }
        self.check_told((now, acks), frames)?;
        let outgoing = SentFrames {
            payload: frames,
            sender,
            // Narrowing is the point.
            next: (own.segments.len() as u32).wrapping_add(self.identity.first_sequence),
            asks,
            blind: self.receives_parity(),
        };
        self.frames
            .on_sent(&outgoing, &mut own.frames, &other.frames)
    }

    fn check(
        &mut self,
        (now, stats): (Time, &Stats),
        header: &SegmentHeader,
        data: &[u8],
        (own, other): (&mut Ledger, &mut Ledger),
    ) -> Result<(), String> {
        if header.conversation.get() != self.identity.conversation {
            return Err("foreign conversation".into());
        }
        let una = self.place(header.unacknowledged);
        if una > other.segments.len() as u64 {
            return Err("una beyond what was sent".into());
        }
        if una < self.sent_una {
            return Err(format!("una falls back from {}", self.sent_una));
        }
        self.sent_una = una;
        other.told = other.told.max(una);
        match header.command {
            Command::Push => {
                self.window_probes.on_asked();
                self.check_push((now, stats), header, data, own)
            }
            Command::Ack => {
                let stamp = (header.sequence, header.timestamp.to_wire());
                if !other.stamps.contains(&stamp) {
                    return Err("acknowledges what was never sent, or under another time".into());
                }
                self.arrivals.on_acknowledged(self.place(header.sequence));
                Ok(())
            }
            Command::WindowProbe if !data.is_empty() => Err("a probe with a payload".into()),
            Command::WindowProbe => {
                self.window_probes.on_asked();
                Ok(())
            }
            Command::WindowUpdate => Ok(()),
        }
    }

    /// What it tells of the segments that have arrived must be true.
    fn check_told(&mut self, (now, acks): (Time, bool), frames: &[u8]) -> Result<(), String> {
        for frame in Frames::new(frames).map_while(Result::ok) {
            if let Frame::Received { segments, .. } = frame {
                if !acks {
                    return Err("tells what has arrived without an acknowledgement".into());
                }
                let (base, una) = (self.place(segments.base()), self.sent_una);
                let blind = self.receives_parity();
                let checked = self.arrivals.check(now, (base, una), &segments, blind);
                checked.map_err(|error| format!("{error}: {una}, {segments:?}"))?;
            }
        }
        Ok(())
    }

    fn check_push(
        &mut self,
        (now, stats): (Time, &Stats),
        header: &SegmentHeader,
        data: &[u8],
        own: &mut Ledger,
    ) -> Result<(), String> {
        let place = self.place(header.sequence);
        let stamp = self.stamp(now);
        let count = own.segments.len() as u64;
        // Acknowledgements of packets rebuilt from parity are not visible here.
        let delivered = if self.receives_parity() {
            count
        } else {
            self.delivered
        };
        let was_received = place < delivered || place >= u64::from(u32::MAX) / 2;
        if was_received && (data.is_empty() || header.timestamp.to_wire() != stamp) {
            if data.iter().any(|&byte| byte != 0) {
                return Err("data of long ago".into());
            }
            // A challenge, or a probe of the path's mtu. Its segment number was received before, so
            // acknowledging it proves receipt.
            let question = (header.sequence, header.timestamp.to_wire());
            own.stamps.insert(question);
            return Ok(());
        }
        if header.timestamp.to_wire() != stamp {
            return Err(format!("timestamp is not {stamp}"));
        }
        if place > count {
            return Err(format!("{count} segments were sent, {place} is next"));
        }
        if data.is_empty() || data.len() > self.layout.mss() {
            return Err("segment has a wrong size".into());
        }
        own.stamps.insert((header.sequence, stamp));
        if place < count {
            return self.check_resend((now, stats), place, header, data, own);
        }
        if own.frames.end.is_some() {
            return Err("a segment after the end".into());
        }
        let limit = self.limit();
        if place - own.told.min(place) >= limit {
            return Err(format!(
                "{place} does not fit into {limit} from {}",
                own.told
            ));
        }
        if data != pattern(self.identity.stream, own.bytes, data.len()) {
            return Err("bytes differ from what was written".into());
        }
        if header.fragments_left > 0 && !self.identity.messages {
            return Err("a stream has no fragments".into());
        }
        let record = Record {
            len: header.payload_len,
            fragments_left: header.fragments_left,
            at: own.bytes,
            sending: self.reasons.on_new(now, data.len()),
        };
        own.bytes += data.len() as u64;
        own.segments.push(record);
        Ok(())
    }

    fn check_resend(
        &mut self,
        (now, stats): (Time, &Stats),
        place: u64,
        header: &SegmentHeader,
        data: &[u8],
        own: &mut Ledger,
    ) -> Result<(), String> {
        self.resends += 1;
        if place < self.received_una {
            return Err(format!(
                "sent again, though {} was heard",
                self.received_una
            ));
        }
        if self.acked.contains(&place) {
            return Err("sent again, though it was acknowledged".into());
        }
        let record = &mut own.segments[place as usize];
        let same = record.len == header.payload_len
            && record.fragments_left == header.fragments_left
            && data == pattern(self.identity.stream, record.at, data.len());
        if !same {
            return Err(format!("sent again, but not the same: {record:?}"));
        }
        self.reasons
            .on_resend(now, place, (&mut record.sending, data.len()), stats);
        Ok(())
    }

    /// Most segments in flight, as far as can be seen from outside.
    fn limit(&self) -> u64 {
        let remote = self.widest.unwrap_or(32).into();
        let congestion = match self.congestion {
            Congestion::Kcp if self.above_window.is_none() && !self.receives_parity() => {
                1 + self.advances + 4 * self.resends
            }
            _ => u64::MAX,
        };
        self.send_window.min(remote).min(congestion)
    }
}

/// Whether a payload is one data segment of zeros, which no application sends here.
fn is_path_probe(payload: &[u8]) -> bool {
    let mut segments = Segments::new(payload).map_while(Result::ok);
    let is_padding = |(header, data): (SegmentHeader, &[u8])| {
        header.command == Command::Push && data.iter().all(|&byte| byte == 0)
    };
    segments.next().is_some_and(is_padding) && segments.next().is_none()
}
