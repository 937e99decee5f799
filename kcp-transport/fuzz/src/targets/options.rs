//! Options of connections.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use kcp_transport::config::{
    AckPolicy, Config, ConfigBuilder, Congestion, Extensions, Mode, Percent, Preset, Redundancy,
    WriteCoalescing,
};
use kcp_transport::crypto::Overhead;
use kcp_transport::fec::FecRatio;
use kcp_transport::packet::TransmitBatch;
use kcp_transport::session::{Role, Session};
use kcp_transport::time::Time;
use kcp_transport::wire::ConversationId;

use super::input::Input;

/// No value of any option makes the builder panic, and a session works with every accepted value.
pub fn config(data: &[u8]) {
    let mut input = Input::new(data);
    let mut builder = Config::builder();
    while !input.is_empty() {
        builder = set_any(builder, &mut input);
    }
    let Ok(config) = builder.build() else {
        return;
    };
    assert_eq!(config.to_builder().build().as_ref(), Ok(&config));
    let Ok(layout) = config.layout(Overhead {
        front: 12,
        back: 16,
    }) else {
        return;
    };
    let conversation = ConversationId::new(1);
    let mut session = Session::new(&config, layout, conversation, Role::Connect, 1, Time::ZERO);
    session.write(Time::ZERO, b"a few bytes");
    let mut batch = TransmitBatch::new(layout, 4);
    let mut now = Time::ZERO;
    for _ in 0..4 {
        session.poll_transmit(now, &mut batch);
        assert!(batch.datagrams().all(|it| it.len() <= config.mtu()));
        batch.clear();
        let Some(next) = session.poll_timeout() else {
            break;
        };
        now = now.max(next);
        session.handle_timeout(now);
    }
}

fn set_any(builder: ConfigBuilder, input: &mut Input<'_>) -> ConfigBuilder {
    match input.below(29) {
        0 => builder.mtu(any_size(input)),
        1 => builder.windows(input.u32(), input.u32()),
        2 => builder.windows(input.u16().into(), input.u16().into()),
        3 => builder.no_delay(input.flag()),
        4 => builder.flush_interval(any_duration(input)),
        5 => builder.fast_retransmit_after(NonZeroU32::new(input.u32())),
        6 => builder.congestion(any_congestion(input)),
        7 => builder.mode(input.pick(&[Mode::Stream, Mode::Message])),
        8 => builder.ack_policy(input.pick(&[AckPolicy::Immediate, AckPolicy::Batched])),
        9 => builder.fec(FecRatio::new(any_size(input), any_size(input)).ok()),
        10 => builder.connect_timeout(any_duration(input)),
        11 => builder.keepalive(input.flag().then(|| any_duration(input))),
        12 => builder.user_timeout(input.flag().then(|| any_duration(input))),
        13 => builder.idle_timeout(input.flag().then(|| any_duration(input))),
        14 => builder.linger(any_duration(input)),
        15 => builder.send_buffer(input.flag().then(|| any_size(input))),
        16 => builder.receive_buffer(input.flag().then(|| any_size(input))),
        18 => builder.dscp(input.u8()),
        19 => builder.socket_buffer(input.flag().then(|| any_size(input))),
        20 => builder.write_coalescing(any_coalescing(input)),
        21 => builder.send_rate(NonZeroU64::new(input.u64())),
        24 => builder.extensions(any_extensions(input)),
        27 => builder.preset(any_preset(input)),
        _ => builder.redundancy(any_redundancy(input.u8())),
    }
}

fn any_redundancy(choice: u8) -> Redundancy {
    let overhead = Percent::new(u16::from(choice) * 10);
    match choice & 3 {
        0 | 1 => Redundancy::Off,
        2 => Redundancy::Adaptive { overhead },
        _ => Redundancy::Always {
            copies: choice % 5,
            overhead,
        },
    }
}

/// Valid options that matter to a session.
pub fn any_config(input: &mut Input<'_>, mode: Mode) -> Config {
    let windows = [1, 2, 3, 8, 32, 128, 256, 1024, 65_535];
    // A message of that many fragments may arrive before the peer knows the window.
    let least = if mode == Mode::Message { 32 } else { 1 };
    let timing = input.u8();
    let mut builder = Config::builder()
        .mode(mode)
        .preset(any_preset(input))
        .mtu(input.pick(&[1400, 1500, 600, 200, 100, 64, 40, 33]))
        .windows(input.pick(&windows), input.pick(&windows).max(least))
        .fec(any_ratio(input))
        .extensions(any_extensions(input))
        .congestion(any_congestion(input))
        .write_coalescing(any_coalescing(input))
        .ack_policy(input.pick(&[AckPolicy::Immediate, AckPolicy::Batched]))
        .fast_retransmit_after(NonZeroU32::new(u32::from(timing >> 6)))
        .redundancy(any_redundancy(timing >> 4 & 7));
    if timing & 1 != 0 {
        builder = builder
            .keepalive(Duration::from_millis(10 + u64::from(input.u16())))
            .idle_timeout(Duration::from_millis(20 + u64::from(input.u16())))
            .user_timeout(Duration::from_millis(20 + u64::from(input.u16())))
            .linger(Duration::from_millis(u64::from(input.u16())));
    }
    if timing & 2 != 0 {
        builder = builder
            .send_buffer(1500 + usize::from(input.u16()))
            .receive_buffer(16 * 1024 + usize::from(input.u16()));
    }
    if timing & 12 == 12 {
        builder = builder.send_rate(NonZeroU64::new(1500 + 64 * u64::from(input.u16())));
    }
    builder.build().expect("in range")
}

/// Mostly none; otherwise small, or any.
pub fn any_ratio(input: &mut Input<'_>) -> Option<FecRatio> {
    match input.below(4) {
        0 | 1 => None,
        2 => FecRatio::new(1 + input.below(10), 1 + input.below(4)).ok(),
        _ => FecRatio::new(input.below(256), input.below(256)).ok(),
    }
}

fn any_preset(input: &mut Input<'_>) -> Preset {
    input.pick(&[Preset::Fast2, Preset::Normal, Preset::Fast, Preset::Fast3])
}

fn any_congestion(input: &mut Input<'_>) -> Congestion {
    input.pick(&[
        Congestion::Unlimited,
        Congestion::Kcp,
        Congestion::Model,
        Congestion::Model,
    ])
}

fn any_extensions(input: &mut Input<'_>) -> Extensions {
    input.pick(&[Extensions::Migration, Extensions::On, Extensions::Off])
}

fn any_coalescing(input: &mut Input<'_>) -> WriteCoalescing {
    input.pick(&[WriteCoalescing::Immediate, WriteCoalescing::Delayed])
}

fn any_size(input: &mut Input<'_>) -> usize {
    match input.below(3) {
        0 => usize::from(input.u8()),
        1 => usize::from(input.u16()),
        // Truncated on 32-bit targets, where any number will do.
        _ => input.u64() as usize,
    }
}

fn any_duration(input: &mut Input<'_>) -> Duration {
    match input.below(4) {
        0 => Duration::from_millis(input.u16().into()),
        1 => Duration::from_secs(input.u32().into()),
        2 => Duration::from_nanos(input.u64()),
        _ => Duration::new(input.u64(), input.u32() % 1_000_000_000),
    }
}
