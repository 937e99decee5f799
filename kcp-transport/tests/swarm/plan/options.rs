//! Drawing a configuration.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use kcp_transport::config::{
    AckPolicy, Config, Congestion, Extensions, Percent, Preset, Redundancy, WriteCoalescing,
};
use kcp_transport::fec::FecRatio;
use kcp_transport::testing::{Rng, ScriptedControllers};

use crate::class::{Class, Classes};

/// Any options that fit the troubles to come.
pub(crate) fn draw(rng: &mut Rng, classes: Classes, calm: bool) -> Config {
    let preset = [Preset::Normal, Preset::Fast, Preset::Fast2, Preset::Fast3];
    let windows = [1, 2, 3, 8, 32, 128, 1024, 4096];
    let ratios = [(10, 3), (2, 1), (1, 1), (3, 2), (20, 5)];
    let mtus = [120, 200, 576, 1200, 1400, 1500];
    let fec = rng.chance(0.4).then(|| pick(rng, &ratios));
    let fec = fec.map(|(data, parity)| FecRatio::new(data, parity).expect("in range"));
    let mut builder = Config::builder()
        .preset(pick(rng, &preset))
        .windows(pick(rng, &windows), pick(rng, &windows))
        .fec(fec)
        .mtu(pick(rng, &mtus))
        .congestion(pick(rng, &CONGESTION))
        .ack_policy(either(rng, 0.3, AckPolicy::Batched, AckPolicy::Immediate));
    if rng.chance(0.4) {
        let overhead = Percent::new(pick(rng, &[10, 100, 100, 200, 400]));
        let copies = 1 + rng.below(3) as u8;
        builder = builder.redundancy(either(
            rng,
            0.3,
            Redundancy::Always { copies, overhead },
            Redundancy::Adaptive { overhead },
        ));
    }
    if rng.chance(0.25) {
        builder = builder.write_coalescing(WriteCoalescing::Delayed);
    }
    if rng.chance(0.2) {
        builder = builder.fast_retransmit_after(NonZeroU32::new(rng.below(5) as u32));
    }
    if rng.chance(0.1) {
        let most = if calm { 60 } else { 300 };
        builder = builder.flush_interval(Duration::from_millis(1 + rng.below(most)));
    }
    if rng.chance(0.1) {
        builder = builder.send_rate(NonZeroU64::new(40_000 + rng.below(3_000_000)));
    }
    if rng.chance(0.15) {
        builder = builder.send_buffer(1500 + rng.below(20_000) as usize);
    }
    if rng.chance(0.1) {
        builder = builder.receive_buffer(16_384 + rng.below(40_000) as usize);
    }
    // One host of three has no extensions, so about half of all pairs are mixed.
    let extensions = [
        Extensions::Off,
        Extensions::Off,
        Extensions::On,
        Extensions::Migration,
        Extensions::Migration,
        Extensions::Migration,
    ];
    // Apart, so that all else stays as it was drawn before there was this.
    let sends_received = rng.clone().chance(0.7);
    draw_times(rng, builder, classes)
        .extensions(pick(rng, &extensions))
        .sends_received(sends_received)
        .build()
        .expect("all options are in range")
}

/// Controllers for one host of eight. The generator is apart, so that all else stays as it was drawn before
/// there were these.
pub(crate) fn draw_controllers(mut rng: Rng) -> Option<ScriptedControllers> {
    let seed = u64::from(rng.next_u32());
    let mut rng = Rng::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut answer = || {
        let window = match rng.below(4) {
            0 => 0,
            1 => u64::MAX,
            _ => rng.below(100_000),
        };
        let rate = rng.chance(0.5).then(|| 40_000 + rng.below(3_000_000));
        (window, rate.and_then(NonZeroU64::new))
    };
    let answers = (0..1 + seed % 5).map(|_| answer()).collect();
    (seed >> 8)
        .is_multiple_of(8)
        .then(|| ScriptedControllers::new(answers))
}

/// Time-outs short enough to be seen where a peer may be gone, and longer than any trouble where
/// it may not: then none may pass.
fn draw_times(
    rng: &mut Rng,
    builder: kcp_transport::config::ConfigBuilder,
    classes: Classes,
) -> kcp_transport::config::ConfigBuilder {
    let keepalive = Duration::from_millis(500 + rng.below(10_000));
    let user = Duration::from_millis(4_000 + rng.below(20_000));
    let idle = Duration::from_millis(4_000 + rng.below(20_000));
    let connect = Duration::from_millis(2_000 + rng.below(10_000));
    let linger = Duration::from_millis(1_000 + rng.below(10_000));
    let switched_off = classes.has(Class::Patience);
    if classes.has_any(&Class::ENDS) {
        return builder
            .keepalive(keepalive)
            .user_timeout(user)
            .idle_timeout(keepalive * 3 + idle)
            .connect_timeout(connect)
            .linger(linger);
    }
    let long = Duration::from_secs(120);
    let on = |time: Duration, off: bool| (!off).then_some(time);
    builder
        .keepalive(on(keepalive, switched_off))
        .user_timeout(on(long, switched_off && rng.chance(0.5)))
        .idle_timeout(on(long * 2, switched_off))
        .connect_timeout(long)
        .linger(long)
}

fn pick<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.below(choices.len() as u64) as usize]
}

fn either<T>(rng: &mut Rng, probability: f64, this: T, that: T) -> T {
    if rng.chance(probability) { this } else { that }
}

/// The default most often.
const CONGESTION: [Congestion; 5] = [
    Congestion::Kcp,
    Congestion::Unlimited,
    Congestion::Model,
    Congestion::Model,
    Congestion::Model,
];
