//! Segments that were sent and are not yet covered by the peer's `una`.

use std::collections::VecDeque;

use crate::arq::buffers::{Buffers, Data};
use crate::time::Time;
use crate::wire::{SEGMENT_HEADER_LEN, SeqNumber};

/// One transmission of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::arq) struct Transmission {
    /// Counts all transmissions of the conversation, in their order.
    pub(in crate::arq) number: u64,
    pub(in crate::arq) at: Time,
}

/// A segment that was sent at least once.
///
/// A window has a thousand and more of them, so what is rarely needed takes little room.
#[derive(Debug)]
pub(in crate::arq) struct Sent {
    /// Empty once acknowledged.
    pub(in crate::arq) data: Data,
    pub(in crate::arq) first_sent: Time,
    last: Transmission,
    /// The transmissions before `last`, the newest first.
    earlier: [Earlier; RECENT - 1],
    #[doc(alias = "xmit")]
    pub(in crate::arq) transmissions: u32,
    pub(in crate::arq) fragments_left: u8,
    pub(in crate::arq) acked: bool,
    pub(in crate::arq) state: SentState,
    /// Why it was last sent again, copies aside, and how many copies were sent since.
    resent: Option<(Resent, u8)>,
}

/// A transmission, as the distance to the next one of its segment.
#[derive(Clone, Copy, Debug, Default)]
struct Earlier {
    /// 0 if there is no such transmission, or if the distance is too large.
    numbers: u32,
    micros: u32,
}

impl Earlier {
    fn new(at: Transmission, next: Transmission) -> Self {
        let numbers = u32::try_from(next.number - at.number);
        let micros = u32::try_from((next.at - at.at).as_micros());
        match (numbers, micros) {
            (Ok(numbers), Ok(micros)) => Self { numbers, micros },
            _ => Self::default(),
        }
    }

    fn before(self, next: Transmission) -> Option<Transmission> {
        (self.numbers > 0).then(|| Transmission {
            number: next.number - u64::from(self.numbers),
            at: Time::from_micros(next.at.as_micros() - u64::from(self.micros)),
        })
    }
}

/// What becomes of a segment next.
///
/// ```text
/// Flying -> Lost ---> Flying      loss detection, then a retransmission
/// Flying -> Probing -> Flying     the probe time-out passes, then a retransmission
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::arq) enum SentState {
    /// Its last transmission may yet be acknowledged.
    Flying,
    /// Its last transmission is lost; it is queued for another.
    Lost,
    /// It is queued for another transmission, to make the peer acknowledge something.
    Probing,
}

/// Why a segment is queued to be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::arq) enum Resend {
    /// Nothing is acknowledged, and this is among the oldest.
    Probe,
    /// Enough later transmissions have arrived.
    Fast,
    /// A later transmission has arrived, and this one is overdue.
    Early,
}

impl Resend {
    /// What a segment is while it is queued for that.
    pub(super) fn state(self) -> SentState {
        match self {
            Self::Probe => SentState::Probing,
            Self::Fast | Self::Early => SentState::Lost,
        }
    }
}

/// Why a segment was sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::arq) enum Resent {
    /// It was taken for lost.
    Lost,
    /// Nothing was acknowledged for too long.
    Probe,
}

impl Sent {
    pub(in crate::arq) fn new(data: Data, fragments_left: u8, first: Transmission) -> Self {
        Self {
            data,
            first_sent: first.at,
            last: first,
            earlier: [Earlier::default(); RECENT - 1],
            transmissions: 1,
            fragments_left,
            acked: false,
            state: SentState::Flying,
            resent: None,
        }
    }

    /// The newest transmission.
    pub(in crate::arq) fn last(&self) -> Transmission {
        self.last
    }

    /// Counts another transmission, which is a copy if there is no reason for it.
    pub(in crate::arq) fn on_sent(&mut self, transmission: Transmission, reason: Option<Resent>) {
        self.earlier.copy_within(..RECENT - 2, 1);
        self.earlier[0] = Earlier::new(self.last, transmission);
        self.last = transmission;
        self.transmissions = self.transmissions.saturating_add(1);
        self.resent = match (reason, self.resent) {
            (Some(reason), _) => Some((reason, 0)),
            (None, before) => before.map(|(reason, copies)| (reason, copies.saturating_add(1))),
        };
    }

    /// The transmissions that are remembered, the newest first.
    pub(in crate::arq) fn recent(&self) -> impl Iterator<Item = Transmission> {
        let mut earlier = self.earlier.iter();
        let before = move |next: &Transmission| earlier.next()?.before(*next);
        std::iter::successors(Some(self.last), before)
    }

    /// Why it was last sent again, copies aside.
    pub(in crate::arq) fn resent(&self) -> Option<Resent> {
        self.resent.map(|(reason, _)| reason)
    }

    /// Why it was last sent again, if that was after this transmission.
    pub(in crate::arq) fn resent_after(&self, transmission: Transmission) -> Option<Resent> {
        let (reason, copies) = self.resent?;
        let place = self.recent().position(|it| it == transmission)?;
        (place > usize::from(copies)).then_some(reason)
    }

    /// Bytes it takes in a datagram.
    pub(in crate::arq) fn wire_len(&self) -> u64 {
        (self.data.len() + SEGMENT_HEADER_LEN) as u64
    }
}

/// The segments from `una` on, in order, indexed by their distance from `una`.
#[derive(Debug)]
pub(in crate::arq) struct Flight {
    una: SeqNumber,
    /// Number of the first segment of the conversation.
    first: u32,
    ring: VecDeque<Sent>,
    /// At most a window, which has 16 bits.
    unacked: u16,
    /// Segments from `una` on that the peer has room for, as it last said.
    #[doc(alias = "rmt_wnd")]
    remote_window: u16,
    /// Bytes of the segments that are neither acknowledged nor lost, their headers included.
    flying: u64,
    /// Bytes of all segments' buffers.
    bytes: usize,
}

impl Flight {
    pub(in crate::arq) fn new(first: SeqNumber) -> Self {
        Self {
            una: first,
            first: first.to_wire(),
            ring: VecDeque::new(),
            unacked: 0,
            remote_window: INITIAL_REMOTE_WINDOW,
            flying: 0,
            bytes: 0,
        }
    }

    /// How many segments from `una` on the peer has room for, as it last said.
    pub(in crate::arq) fn remote_window(&self) -> u16 {
        self.remote_window
    }

    pub(in crate::arq) fn set_remote_window(&mut self, window: u16) {
        self.remote_window = window;
    }

    /// Whether the peer has room for this segment, as far as it said. For the first one it may have in
    /// spite of a closed window.
    pub(super) fn is_within_window(&self, sequence: SeqNumber) -> bool {
        sequence < self.una.advance(usize::from(self.remote_window).max(1))
    }

    /// Number of the first segment of the conversation.
    pub(in crate::arq) fn first(&self) -> u32 {
        self.first
    }

    /// First sequence number that the peer has not confirmed to have received in order.
    #[doc(alias = "snd_una")]
    pub(in crate::arq) fn una(&self) -> SeqNumber {
        self.una
    }

    /// Sequence number of the next new segment.
    #[doc(alias = "snd_nxt")]
    pub(in crate::arq) fn next(&self) -> SeqNumber {
        self.una.advance(self.ring.len())
    }

    /// Number of segments from `una` to `next`, acknowledged ones included. The windows limit this
    /// number.
    pub(in crate::arq) fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether the segment at `una` is acknowledged.
    pub(in crate::arq) fn is_first_acked(&self) -> bool {
        self.ring.front().is_some_and(|sent| sent.acked)
    }

    /// Number of segments that are not acknowledged.
    pub(in crate::arq) fn unacked(&self) -> usize {
        usize::from(self.unacked)
    }

    /// Bytes that are under way, as far as is known, headers included.
    pub(in crate::arq) fn flying(&self) -> u64 {
        self.flying
    }

    /// The segment with this number, if it is in flight, acknowledged or not.
    pub(in crate::arq) fn get(&self, sequence: SeqNumber) -> Option<&Sent> {
        self.ring.get(sequence.offset_from(self.una)?)
    }

    /// The segment with this number, if it is in flight and not acknowledged.
    pub(in crate::arq) fn outstanding(&self, sequence: SeqNumber) -> Option<&Sent> {
        self.get(sequence).filter(|sent| !sent.acked)
    }

    fn outstanding_mut(&mut self, sequence: SeqNumber) -> Option<&mut Sent> {
        let index = sequence.offset_from(self.una)?;
        self.ring.get_mut(index).filter(|sent| !sent.acked)
    }

    /// When a transmission was sent, if it is the last of its segment and may yet be acknowledged.
    pub(in crate::arq) fn flying_since(&self, sequence: SeqNumber, number: u64) -> Option<Time> {
        let sent = self.outstanding(sequence)?;
        let is_flying = sent.state == SentState::Flying && sent.last.number == number;
        is_flying.then_some(sent.last.at)
    }

    /// Whether [`Self::flying_since`] has an answer.
    pub(in crate::arq) fn is_flying(&self, sequence: SeqNumber, number: u64) -> bool {
        self.flying_since(sequence, number).is_some()
    }

    pub(in crate::arq) fn push(&mut self, sent: Sent) {
        self.bytes += sent.data.capacity();
        self.flying += sent.wire_len();
        self.ring.push_back(sent);
        self.unacked += 1;
    }

    /// The last transmission of a segment is lost, or it is to be sent again as a probe.
    pub(in crate::arq) fn queue_again(&mut self, sequence: SeqNumber, state: SentState) {
        let Some(sent) = self.outstanding_mut(sequence) else {
            return;
        };
        let was_flying = sent.state != SentState::Lost;
        sent.state = state;
        let len = sent.wire_len();
        if was_flying && state == SentState::Lost {
            self.flying -= len;
        }
    }

    /// A segment is sent again.
    pub(in crate::arq) fn on_sent_again(
        &mut self,
        sequence: SeqNumber,
        transmission: Transmission,
        resent: Resent,
    ) -> Option<&Sent> {
        let sent = self.outstanding_mut(sequence)?;
        sent.on_sent(transmission, Some(resent));
        let was_lost = sent.state == SentState::Lost;
        sent.state = SentState::Flying;
        let len = sent.wire_len();
        if was_lost {
            self.flying += len;
        }
        self.outstanding(sequence)
    }

    /// A segment is sent again before it is known whether that is needed.
    pub(in crate::arq) fn on_copied(&mut self, sequence: SeqNumber, transmission: Transmission) {
        if let Some(sent) = self.outstanding_mut(sequence) {
            sent.on_sent(transmission, None);
        }
    }

    /// Marks one segment as acknowledged and releases its data.
    ///
    /// It keeps its entry until `una` covers it, because the peer's window counts from its `una`,
    /// and that does not advance while its reader is slow, however much was acknowledged. Returns
    /// the number of bytes released, or `None` if the segment was not outstanding.
    pub(in crate::arq) fn acknowledge(
        &mut self,
        sequence: SeqNumber,
        buffers: &mut Buffers,
    ) -> Option<usize> {
        let sent = self.outstanding_mut(sequence)?;
        sent.acked = true;
        let was_flying = sent.state != SentState::Lost;
        let wire_len = sent.wire_len();
        let data = std::mem::take(&mut sent.data);
        if was_flying {
            self.flying -= wire_len;
        }
        let len = data.len();
        self.bytes -= data.capacity();
        buffers.give(data);
        self.unacked -= 1;
        Some(len)
    }

    /// Drops every segment before `una`, calls `acked` for those that were outstanding, and returns
    /// what that changed.
    pub(in crate::arq) fn advance(
        &mut self,
        una: SeqNumber,
        buffers: &mut Buffers,
        mut acked: impl FnMut(SeqNumber, &Sent),
    ) -> Advance {
        let mut advance = Advance::default();
        while self.una < una
            && let Some(sent) = self.ring.pop_front()
        {
            let sequence = self.una;
            self.una = sequence.next();
            advance.segments += 1;
            if !sent.acked {
                acked(sequence, &sent);
                self.unacked -= 1;
                advance.newly_acked += 1;
                advance.bytes += sent.data.len();
                self.bytes -= sent.data.capacity();
                if sent.state != SentState::Lost {
                    self.flying -= sent.wire_len();
                }
                buffers.give(sent.data);
            }
        }
        advance
    }

    /// Returns the buffers of all segments.
    pub(in crate::arq) fn clear(&mut self, buffers: &mut Buffers) {
        for sent in self.ring.drain(..) {
            buffers.give(sent.data);
        }
        self.bytes = 0;
    }

    /// Releases unused memory.
    pub(in crate::arq) fn shrink(&mut self) {
        self.ring.shrink_to_fit();
    }

    /// Bytes of heap memory.
    pub(in crate::arq) fn memory(&self) -> usize {
        self.bytes + self.ring.capacity() * size_of::<Sent>()
    }
}

/// What moving `una` changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::arq) struct Advance {
    pub(in crate::arq) segments: usize,
    pub(in crate::arq) newly_acked: usize,
    pub(in crate::arq) bytes: usize,
}

/// Window assumed for a peer that has not advertised one.
#[doc(alias = "IKCP_WND_RCV")]
pub(in crate::arq) const INITIAL_REMOTE_WINDOW: u16 = 32;

/// Transmissions of a segment that an acknowledgement can be told by: one, a copy and a probe.
pub(in crate::arq) const RECENT: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn transmission(number: u64, seconds: u64) -> Transmission {
        let at = Time::from_millis(1000 * seconds);
        Transmission { number, at }
    }

    #[test]
    fn last_three_transmissions_are_remembered_unless_they_are_an_hour_apart() {
        let mut sent = Sent::new(Data::default(), 0, transmission(1, 0));
        let recent = |sent: &Sent| sent.recent().collect::<Vec<_>>();
        assert_eq!(recent(&sent), [transmission(1, 0)]);
        let later = [(2, 1), (90, 2000), (1 << 31, 4000)].map(|(n, at)| transmission(n, at));
        for transmission in later {
            sent.on_sent(transmission, None);
        }
        assert_eq!(sent.transmissions, 4);
        assert_eq!(recent(&sent), [later[2], later[1], later[0]]);
        sent.on_sent(transmission(1 << 32, 9000), None);
        assert_eq!(recent(&sent), [transmission(1 << 32, 9000)]);
    }

    #[test]
    fn repetition_is_told_from_what_was_sent_before_it_and_from_later_copies() {
        let sends = [1, 2, 3, 4].map(|n| transmission(n, n));
        let mut sent = Sent::new(Data::default(), 0, sends[0]);
        sent.on_sent(sends[1], None);
        assert_eq!((sent.resent(), sent.resent_after(sends[0])), (None, None));
        sent.on_sent(sends[2], Some(Resent::Lost));
        let lost = Some(Resent::Lost);
        let after = |sent: &Sent| [0, 1, 2, 3].map(|place: usize| sent.resent_after(sends[place]));
        assert_eq!(after(&sent), [lost, lost, None, None]);
        sent.on_sent(sends[3], None);
        assert_eq!(sent.resent(), lost);
        // The first is not remembered any more.
        assert_eq!(after(&sent), [None, lost, None, None]);
    }

    #[test]
    fn entry_of_a_segment_is_small() {
        // A window has a thousand, and the allocator keeps what many connections held at a time.
        const { assert!(size_of::<Sent>() <= 80) };
    }
}
