//! Two sessions under a schedule that the fuzzer chooses.

use std::collections::VecDeque;
use std::time::Duration;

use kcp_transport::config::{Config, Mode};
use kcp_transport::crypto::Overhead;
use kcp_transport::error::{ConnectionError, ResetCode};
use kcp_transport::packet::TransmitBatch;
use kcp_transport::session::{FirstNumbers, Role, Session, State};
use kcp_transport::time::Time;
use kcp_transport::wire::ConversationId;

use super::controller::{any_controller, check_above};
use super::input::Input;
use super::options::any_config;
use super::session::most_rounds;

/// Byte streams both ways: each side reads what the other wrote, and all of it unless a session reports an
/// end.
pub fn pair(data: &[u8]) {
    let mut input = Input::new(data);
    let configs = [(); 2].map(|()| any_config(&mut input, Mode::Stream));
    run(&mut input, &configs, Mode::Stream);
}

/// As [`pair`], with messages.
pub fn pair_messages(data: &[u8]) {
    let mut input = Input::new(data);
    let configs = [(); 2].map(|()| any_config(&mut input, Mode::Message));
    run(&mut input, &configs, Mode::Message);
}

/// As [`pair`], with controllers whose windows and rates the fuzzer chooses. They check what they are notified of.
pub fn pair_controlled(data: &[u8]) {
    let mut input = Input::new(data);
    let scripts = [(); 2].map(|()| any_controller(&mut input));
    let configs = scripts.each_ref().map(|script| {
        let config = any_config(&mut input, Mode::Stream);
        let config = config.to_builder().controller(script.clone());
        config.build().expect("valid with any controller")
    });
    let sides = run(&mut input, &configs, Mode::Stream);
    for (script, side) in scripts.iter().zip(&sides) {
        check_above(script.latest().count(), &side.session.stats());
    }
}

/// The byte at an offset of every stream.
pub fn pattern(at: u64) -> u8 {
    (at.wrapping_mul(0x9e37_79b9) >> 13) as u8
}

fn run(input: &mut Input<'_>, configs: &[Config; 2], mode: Mode) -> [Side; 2] {
    let mut world = World::new(input, configs, mode);
    for _ in 0..500 {
        if input.is_empty() {
            break;
        }
        let choice = input.u8();
        let side = usize::from(choice & 1);
        match choice >> 1 {
            0..=19 => world.deliver(side, input.u8(), false),
            20..=29 => world.deliver(side, input.u8(), true),
            30..=35 => world.lose(side, input.u8()),
            36..=55 => world.write(side, input.below(1500)),
            56..=75 => world.read(side, input.below(3000)),
            76..=99 => world.pass(input.u8()),
            100..=109 => world.pass_to_next(),
            110..=111 => world.sides[side].shut_down(world.now),
            112 => world.sides[side].let_go(world.now),
            113..=114 => world.sides[side].session.set_memory_pressure(input.flag()),
            115 => world.sides[side].reset(world.now, input.u8()),
            116..=119 => world.sides[side].send_out_of_band(world.now, input.below(64)),
            _ => world.exchange(1 + u32::from(choice & 15)),
        }
        world.settle();
    }
    world.heal();
    world.sides
}

struct World {
    now: Time,
    /// Longest time without progress on a network that works.
    patience: Duration,
    sides: [Side; 2],
    /// Datagrams on their way to each side.
    wires: [VecDeque<Vec<u8>>; 2],
    /// Nothing is lost any more.
    is_healed: bool,
}

struct Side {
    session: Session,
    batch: TransmitBatch,
    mode: Mode,
    written: u64,
    read: u64,
    /// Lengths of messages that the other side has not read.
    messages: VecDeque<usize>,
    shut: bool,
    gone: bool,
    reset: bool,
    /// Data segments, and all datagrams but parity, that were sent when data last left or could not, and
    /// when that was.
    data_left: (u64, u64, Time),
}

impl World {
    fn new(input: &mut Input<'_>, configs: &[Config; 2], mode: Mode) -> Self {
        let conversation = ConversationId::new(input.u32());
        let role = input.pick(&[Role::Connect, Role::ConnectLazy]);
        let first = FirstNumbers {
            sequence: if input.flag() {
                input.near(u32::MAX)
            } else {
                0
            },
            fec_groups_left: input.flag().then_some(2),
        };
        // Narrow, so that tokens differ and timestamps wrap.
        let mut seed = || (u128::from(input.u8()) + 1) << 64 | u128::from(input.near(0));
        let [client, server] = [(role, seed()), (Role::Accept, seed())];
        let side = |config: &Config, (role, seed): (Role, u128)| {
            let layout = config.layout(OVERHEAD).expect("has room");
            Side {
                session: Session::with_first_numbers(
                    config,
                    layout,
                    conversation,
                    role,
                    seed,
                    first,
                    Time::ZERO,
                ),
                batch: TransmitBatch::new(layout, 8),
                mode,
                written: 0,
                read: 0,
                messages: VecDeque::new(),
                shut: false,
                gone: false,
                reset: false,
                data_left: (0, 0, Time::ZERO),
            }
        };
        Self {
            now: Time::ZERO,
            patience: LONGEST_RTO * 3 + configs.iter().map(longest_message).sum::<Duration>(),
            sides: [side(&configs[0], client), side(&configs[1], server)],
            wires: Default::default(),
            is_healed: false,
        }
    }

    /// Delivers one of the datagrams on their way to `side`. With `again` it stays on its way too, so that
    /// it is duplicated.
    fn deliver(&mut self, side: usize, which: u8, again: bool) {
        let wire = &mut self.wires[side];
        if wire.is_empty() {
            return;
        }
        let index = usize::from(which) % wire.len();
        let datagram = if again {
            wire.get(index).cloned()
        } else {
            wire.remove(index)
        };
        self.sides[side].receive(self.now, &datagram.expect("within the queue"));
    }

    fn lose(&mut self, side: usize, which: u8) {
        let wire = &mut self.wires[side];
        if !wire.is_empty() {
            wire.remove(usize::from(which) % wire.len());
        }
    }

    fn write(&mut self, side: usize, len: usize) {
        let side = &mut self.sides[side];
        let data: Vec<u8> = (side.written..).take(len).map(pattern).collect();
        let taken = match side.mode {
            Mode::Message => match side.session.write_message(self.now, &data) {
                Ok(true) => {
                    side.messages.push_back(len);
                    len
                }
                Ok(false) | Err(_) => 0,
            },
            _ => side.session.write(self.now, &data),
        };
        assert!(
            taken == 0 || !(side.shut || side.gone),
            "written after the end"
        );
        side.written += taken as u64;
    }

    fn read(&mut self, side: usize, len: usize) {
        let other = 1 - side;
        let mut out = vec![0; len];
        let mut message = Vec::new();
        let reader = &mut self.sides[side];
        let read: &[u8] = match reader.mode {
            Mode::Message => {
                if !reader.session.read_message(self.now, &mut message) {
                    return;
                }
                &message
            }
            _ => {
                let read = reader.session.read(self.now, &mut out);
                &out[..read]
            }
        };
        assert!(read.is_empty() || !reader.gone, "read after letting go");
        for byte in read {
            assert_eq!(*byte, pattern(reader.read), "byte {}", reader.read);
            reader.read += 1;
        }
        let (read, total) = (read.len(), reader.read);
        assert!(
            total <= self.sides[other].written,
            "read more than was written"
        );
        if self.sides[side].mode == Mode::Message {
            assert_eq!(self.sides[other].messages.pop_front(), Some(read));
        }
    }

    fn pass(&mut self, time: u8) {
        // Up to 65 s; long pauses are rarer.
        self.now += Duration::from_millis(u64::from(time).pow(2));
    }

    fn pass_to_next(&mut self) {
        let next = self.sides.iter().filter_map(|it| it.session.poll_timeout());
        self.now = self.now.max(next.min().unwrap_or(self.now));
    }

    /// Both sides handle what is due.
    fn settle(&mut self) {
        for index in 0..2 {
            let sent = self.sides[index].settle(self.now);
            self.wires[1 - index].extend(sent);
            if !self.is_healed {
                // A full queue on the path drops its oldest datagrams.
                let excess = self.wires[1 - index].len().saturating_sub(MOST_UNDER_WAY);
                self.wires[1 - index].drain(..excess);
            }
        }
    }

    /// Delivers everything for `turns` turns, and reads on both sides.
    fn exchange(&mut self, turns: u32) {
        for _ in 0..turns {
            for side in 0..2 {
                for datagram in std::mem::take(&mut self.wires[side]) {
                    self.sides[side].receive(self.now, &datagram);
                }
                self.read(side, 4096);
            }
            self.settle();
        }
    }

    /// Repairs the network: all data arrives, or a session reports why not.
    fn heal(&mut self) {
        self.is_healed = true;
        for side in &mut self.sides {
            side.session.set_memory_pressure(false);
            side.shut_down(self.now);
        }
        if !self.comes_to_rest() {
            return;
        }
        let ended = self.sides.iter().any(Side::is_cut);
        for (reader, writer) in [(0, 1), (1, 0)] {
            let all = self.sides[reader].read == self.sides[writer].written;
            assert!(all || ended, "data is lost and no session reports it");
        }
    }

    /// Runs the repaired network until nothing is left to do. `false` if that takes too many turns.
    fn comes_to_rest(&mut self) -> bool {
        let mut moved_at = self.now;
        let mut turns_at_once = 0;
        let most_resent = self.sides.each_ref().map(Side::most_resent);
        for _ in 0..400_000 {
            let before = self.progress();
            self.exchange(1);
            if self.is_over() {
                return true;
            }
            for (side, most) in self.sides.iter_mut().zip(most_resent) {
                side.check_share_of_data(self.now);
                let resent = side.resent();
                assert!(resent <= most, "{resent} segments are sent again");
            }
            turns_at_once += 1;
            if self.progress() != before {
                moved_at = self.now;
                turns_at_once = 0;
            }
            let waited = self.now - moved_at;
            assert!(waited <= self.patience, "no progress in {waited:?}");
            assert!(
                turns_at_once < 5000,
                "the sides answer each other without end"
            );
            if self.wires.iter().all(VecDeque::is_empty) {
                let next = self.sides.iter().filter_map(|it| it.session.poll_timeout());
                let Some(next) = next.min() else { return true };
                assert!(next > self.now, "a timeout stays due after it was handled");
                // Timers have a resolution of a millisecond.
                self.now = next.max(self.now + Duration::from_millis(1));
                turns_at_once = 0;
                self.settle();
            }
        }
        false
    }

    fn progress(&self) -> [u64; 2] {
        [self.sides[0].read, self.sides[1].read]
    }

    /// Everything has arrived and is acknowledged, or a session was cut so that it need not.
    fn is_over(&self) -> bool {
        let all = self.sides[0].read == self.sides[1].written
            && self.sides[1].read == self.sides[0].written;
        all && self.sides.iter().all(|it| it.session.is_drained())
            || self.sides.iter().any(Side::is_cut)
    }
}

impl Side {
    fn receive(&mut self, now: Time, datagram: &[u8]) {
        self.session.handle_datagram(now, datagram);
    }

    /// Segments that were found lost and sent again.
    fn resent(&self) -> u64 {
        let stats = self.session.stats();
        stats.fast_retransmitted + stats.early_retransmitted
    }

    /// How many are on a network that loses nothing more: a few times what is in flight.
    fn most_resent(&self) -> u64 {
        let in_flight = self.session.stats().in_flight as u64;
        self.resent() + 4 * in_flight + 1000
    }

    fn sent_without_parity(&self) -> u64 {
        let stats = self.session.stats();
        stats.datagrams_sent - stats.fec_parity_sent
    }

    /// On a working network, data that the peer has room for does not wait until there is nothing else to
    /// send.
    fn check_share_of_data(&mut self, now: Time) {
        let stats = self.session.stats();
        let (data, others) = (stats.data_segments_sent, self.sent_without_parity());
        let waits = stats.queued > 0 && stats.in_flight == 0 && stats.remote_window > 0;
        if !waits || data != self.data_left.0 {
            self.data_left = (data, others, now);
        }
        let since = others - self.data_left.1;
        // Coalescing holds data back for an interval, in which a path without delay carries any number.
        let is_held = now - self.data_left.2 <= LONGEST_INTERVAL;
        assert!(
            since < 500 || is_held,
            "data waits while {since} datagrams leave"
        );
    }

    fn settle(&mut self, now: Time) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        let before = self.sent_without_parity();
        let most_rounds = most_rounds(&self.session.stats());
        for round in 0.. {
            self.session.handle_timeout(now);
            while self.session.poll_transmit(now, &mut self.batch) {
                // A whole window of segments may be repeated at once, each with its parity.
                assert!(
                    self.sent_without_parity() - before < 200_000,
                    "sends without end"
                );
                sent.extend(self.batch.datagrams().map(<[u8]>::to_vec));
                self.batch.clear();
            }
            if self.session.poll_timeout().is_none_or(|at| at > now) {
                break;
            }
            assert!(
                round < most_rounds,
                "a timeout stays due after it was handled"
            );
        }
        assert!(
            !matches!(self.session.error(), Some(ConnectionError::Protocol(_))),
            "reports a protocol violation of an honest peer"
        );
        if !self.session.is_validated() {
            let stats = self.session.stats();
            let datagram = self.batch.layout().mtu().max(576) as u64;
            let most = 3 * stats.wire_bytes_received.max(datagram);
            let sent = stats.wire_bytes_sent;
            assert!(sent <= most, "amplifies: {sent} bytes, {most} allowed");
        }
        sent
    }

    fn shut_down(&mut self, now: Time) {
        self.shut = true;
        self.session.shutdown(now);
    }

    fn let_go(&mut self, now: Time) {
        self.shut = true;
        self.gone = true;
        self.session.abandon(now);
    }

    fn reset(&mut self, now: Time, code: u8) {
        self.shut = true;
        self.reset = true;
        let code = ResetCode::new(code.into()).expect("below the reserved ones");
        self.session.reset(now, code);
    }

    fn send_out_of_band(&mut self, now: Time, len: usize) {
        let _ = self.session.send_out_of_band(now, &vec![7; len]);
        while self.session.poll_out_of_band().is_some() {}
    }

    /// Whether data may remain undelivered, because this side closed or abandoned the session early.
    fn is_cut(&self) -> bool {
        self.gone || self.reset || matches!(self.session.state(), State::Closed(Some(_)))
    }
}

/// The time that a message with the most fragments takes at the rate that `config` allows, if each of its
/// datagrams waits for two others.
fn longest_message(config: &Config) -> Duration {
    let Some(rate) = config.send_rate() else {
        return Duration::ZERO;
    };
    let parity = config.fec().map_or(0, |fec| fec.parity());
    // At most 1500 times 256.
    let datagram = (config.mtu() * (1 + parity)) as u64;
    Duration::from_secs(3 * 256 * datagram).div_f64(rate.get() as f64)
}

/// KCP's upper bound.
const LONGEST_RTO: Duration = Duration::from_secs(60);

/// KCP's longest flush interval.
const LONGEST_INTERVAL: Duration = Duration::from_secs(5);

const OVERHEAD: Overhead = Overhead { front: 0, back: 0 };

const MOST_UNDER_WAY: usize = 1000;
