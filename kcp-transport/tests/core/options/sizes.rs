//! Options that set how much goes at once.

use super::*;

#[test]
fn mtu_is_the_largest_datagram() {
    for mtu in [100, 576, 1400, 1500] {
        let mut session = lazy(Config::builder().mtu(mtu));
        session.write(at(0), &[7; 20_000]);
        let sent = datagrams(&mut session, at(0));
        assert_eq!(sent.iter().map(Vec::len).max(), Some(mtu));
    }
}

#[test]
fn send_window_limits_what_is_in_flight() {
    for window in [1, 4, 20] {
        let mut session = lazy(Config::builder().windows(window, 32));
        session.write(at(0), &[7; 20 * 1376]);
        assert_eq!(pushes(&mut session, at(0)), window as usize);
    }
}

#[test]
fn advertised_window_excludes_what_is_unread() {
    let mut sender = lazy(Config::builder());
    let mut reader = accepting(Config::builder().windows(32, 500));
    sender.write(at(0), &[7; 3 * 1376]);
    carry(at(0), &mut sender, &mut reader);
    let acks = headers(&mut reader, at(0));
    assert!(acks.iter().all(|ack| ack.window == 497), "{acks:?}");
    assert_eq!(reader.stats().unread, 3);
}

#[test]
fn congestion_window_starts_small_and_unlimited_has_none() {
    for (congestion, first) in [(Congestion::Kcp, 1), (Congestion::Unlimited, 32)] {
        let mut session = lazy(Config::builder().congestion(congestion));
        session.write(at(0), &[7; 100 * 1376]);
        assert_eq!(pushes(&mut session, at(0)), first, "{congestion:?}");
    }
}

#[test]
fn mode_decides_whether_writes_share_a_segment() {
    for (mode, segments) in [(Mode::Stream, 1), (Mode::Message, 2)] {
        let mut session = lazy(Config::builder().mode(mode));
        session.write(at(0), b"one");
        session.write(at(0), b"two");
        assert_eq!(pushes(&mut session, at(0)), segments, "{mode:?}");
    }
}

#[test]
fn fec_adds_parity_to_each_group() {
    let ratio = FecRatio::new(4, 2).expect("in range");
    let mut session = lazy(Config::builder().fec(ratio));
    session.write(at(0), &[7; 8 * 1300]);
    let kinds: Vec<ShardKind> = datagrams(&mut session, at(0))
        .iter()
        .map(|datagram| ShardHeader::detect(datagram).expect("FEC is on").0.kind)
        .collect();
    use ShardKind::{Data, Parity};
    let group = [Data, Data, Data, Data, Parity, Parity];
    assert_eq!(kinds[..12], [group, group].concat());
}

#[test]
fn send_buffer_bounds_what_a_write_takes() {
    let mut small = lazy(Config::builder().send_buffer(5000));
    assert_eq!(small.write(at(0), &[7; 10_000]), 5000);
    let mut default = lazy(Config::builder().windows(10, 10));
    assert_eq!(default.write(at(0), &[7; 100_000]), 10 * 1376);
}

#[test]
fn writer_goes_on_when_a_quarter_of_what_is_taken_is_free() {
    for preset in [Preset::Rpc, Preset::Bulk] {
        let mut sender = lazy(Config::builder().preset(preset));
        let mut reader = accepting(Config::builder().preset(preset));
        let taken = sender.write(at(0), &vec![7; 32 << 20]);
        assert!(taken <= 1_500_000, "{taken}");
        let mut now = 0;
        while !sender.is_writable() {
            now += 50;
            assert!(now < 60_000, "{preset}: nothing is free");
            carry(at(now), &mut sender, &mut reader);
            while reader.read(at(now), &mut [0; 65_536]) > 0 {}
            carry(at(now + 40), &mut reader, &mut sender);
        }
        assert!(sender.send_capacity() < taken, "{preset}: all is free");
    }
}

/// A segment costs some dozens of bytes beside its data.
#[test]
fn send_buffer_of_tiny_segments_holds_no_more_memory_than_one_of_large_ones() {
    for (mtu, send_buffer) in [(25, 60_000), (64, 60_000), (25, 1_000_000), (152, 60_000)] {
        let options = Config::builder().windows(32, 32).mtu(mtu);
        let mut session = lazy(options.send_buffer(send_buffer));
        let taken = session.write(at(0), &vec![7; send_buffer]);
        let mss = mtu - 24;
        assert_eq!(taken, send_buffer.min(mss * (send_buffer / 128).max(32)));
        let held = session.memory();
        assert!(
            held <= 3 * send_buffer,
            "{held} for {taken} bytes at an mtu of {mtu}"
        );
        // What it takes at a time it takes again.
        assert!(!session.is_writable());
    }
}

#[test]
fn presets_set_the_four_numbers_of_their_names() {
    let numbers = |preset| {
        let config = Config::builder().preset(preset).build().expect("in range");
        let resend = config.fast_retransmit_after().map_or(0, NonZeroU32::get);
        (
            config.no_delay(),
            config.flush_interval(),
            resend,
            config.congestion() == Congestion::Unlimited,
        )
    };
    assert_eq!(numbers(Preset::Normal), (false, ms(40), 2, true));
    assert_eq!(numbers(Preset::Fast), (false, ms(30), 2, true));
    assert_eq!(numbers(Preset::Fast2), (true, ms(20), 2, true));
    assert_eq!(numbers(Preset::Fast3), (true, ms(10), 2, true));
}
