//! Configurations under the names that kcptun's files have.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use kcp_transport::config::{
    AckPolicy, Config, Congestion, Extensions, ListenerConfig, Mode, MtuDiscovery, Percent, Preset,
    Redundancy, WriteCoalescing,
};
use kcp_transport::fec::FecRatio;
use serde_json::{Value, from_value, json, to_value};

fn unusual() -> Config {
    Config::builder()
        .no_delay(false)
        .flush_interval(Duration::from_micros(12_500))
        .fast_retransmit_after(None)
        .congestion(Congestion::Kcp)
        .mtu(1200)
        .mtu_discovery(MtuDiscovery::Off)
        .windows(128, 65_535)
        .fec(FecRatio::new(10, 3).expect("in range"))
        .ack_policy(AckPolicy::Batched)
        .dscp(46)
        .socket_buffer(None)
        .send_rate(NonZeroU64::new(1_000_000))
        .keepalive(None)
        .mode(Mode::Message)
        .write_coalescing(WriteCoalescing::Delayed)
        .connect_timeout(Duration::from_millis(1500))
        .user_timeout(None)
        .idle_timeout(Duration::from_secs(7))
        .linger(Duration::ZERO)
        .send_buffer(1 << 20)
        .receive_buffer(1 << 21)
        .redundancy(Redundancy::Always {
            copies: 2,
            overhead: Percent::new(150),
        })
        .extensions(Extensions::On)
        .build()
        .expect("in range")
}

fn read(value: Value) -> Result<Config, String> {
    from_value(value).map_err(|error| error.to_string())
}

#[test]
fn every_option_survives_serde() {
    let Value::Object(defaults) = to_value(Config::default()).expect("serializes") else {
        panic!("not a map");
    };
    for config in [Config::default(), unusual()] {
        let map = to_value(&config).expect("serializes");
        assert_eq!(read(map).as_ref(), Ok(&config));
    }
    let unusual = to_value(unusual()).expect("serializes");
    for (name, value) in &defaults {
        assert_ne!(&unusual[name], value, "{name} is not covered");
    }
    assert_eq!(defaults["interval"], json!(20));
    assert_eq!(defaults["nc"], json!("model"));
    assert_eq!(defaults["redundancy"], json!("adaptive:100%"));
    assert_eq!(unusual["redundancy"], json!("always:2:150%"));
    assert_eq!(unusual["interval"], json!(12.5));
    assert_eq!(unusual["connect_timeout"], json!(1.5));
}

#[test]
fn empty_map_is_the_default() {
    assert_eq!(read(json!({})), Ok(Config::default()));
}

#[test]
fn options_of_a_kcptun_file_mean_what_they_mean_there() {
    let config = read(json!({
        "mode": "fast3", "mtu": 1350, "sndwnd": 2048, "rcvwnd": 1024, "datashard": 10,
        "parityshard": 0, "dscp": 46, "acknodelay": false, "nodelay": 0, "interval": 50,
        "resend": 0, "nc": 0, "sockbuf": 16_777_217, "keepalive": 10, "ratelimit": 0,
    }));
    let expected = Config::builder()
        .preset(Preset::Fast3)
        .mtu(1350)
        .windows(2048, 1024)
        .dscp(46)
        .ack_policy(AckPolicy::Batched)
        .socket_buffer(16_777_217)
        .keepalive(Duration::from_secs(10))
        .build();
    assert_eq!(config, Ok(expected.expect("in range")));
    let manual = json!({ "mode": "manual", "nodelay": true, "interval": 30, "nc": "kcp" });
    let expected = Config::builder()
        .flush_interval(Duration::from_millis(30))
        .congestion(Congestion::Kcp);
    assert_eq!(read(manual), Ok(expected.build().expect("in range")));
}

#[test]
fn what_the_builder_refuses_is_refused_with_its_text() {
    for (option, expected) in [
        (
            json!({ "sndwnd": 0 }),
            "send window is 0; allowed: 1 to 65535 segments",
        ),
        (
            json!({ "rcvwnd": 65_536 }),
            "receive window is 65536; allowed",
        ),
        (json!({ "mtu": 9001 }), "mtu is 9001; allowed: 25 to 9000"),
        (
            json!({ "datashard": 200, "parityshard": 57 }),
            "fec ratio is 200/57; allowed",
        ),
        (json!({ "datashard": 10 }), "fec ratio is 10/0; allowed"),
        (
            json!({ "mode": "turbo" }),
            "mode is turbo; allowed: normal, fast, fast2, fast3, rpc, interactive, bulk",
        ),
        (
            json!({ "nc": "cubic" }),
            "congestion is cubic; allowed: kcp, unlimited",
        ),
        (
            json!({ "redundancy": "twice" }),
            "redundancy is twice; allowed: off, adaptive:BUDGET",
        ),
        (
            json!({ "redundancy": "always:4:100%" }),
            "redundancy copies is 4; allowed: 1 to 3",
        ),
        (json!({ "dscp": 300 }), "dscp is 300; allowed: 0 to 63"),
        (
            json!({ "interval": 0.5 }),
            "flush interval is 500µs; allowed: 1 ms to 5 s",
        ),
        (
            json!({ "keepalive": 0.001 }),
            "keepalive is 1ms; allowed: 10 ms to 30 days",
        ),
        (
            json!({ "ratelimit": 1499 }),
            "send rate is 1499; allowed: 1500 bytes",
        ),
        (
            json!({ "extensions": "yes" }),
            "extensions is yes; allowed: off, on, migration",
        ),
        (
            json!({ "linger": -1 }),
            "expected a number of seconds, not negative",
        ),
        (json!({ "nodelay": 2 }), "expected false, true, 0 or 1"),
        (
            json!({ "sndwindow": 5 }),
            "unknown field `sndwindow`, expected one of `mode`",
        ),
    ] {
        let error = read(option).expect_err("refused");
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
    }
}

#[test]
fn options_of_a_listener_are_a_map_of_their_own() {
    let unusual = ListenerConfig::builder()
        .backlog(7)
        .open_rate(NonZeroU32::MIN)
        .max_unvalidated(0)
        .shards(4)
        .share_port(true)
        .mirror_fec(false)
        .memory_budget(1 << 24)
        .build()
        .expect("in range");
    let read = |value| from_value::<ListenerConfig>(value).map_err(|error| error.to_string());
    let map = to_value(&unusual).expect("serializes");
    assert_eq!(read(map), Ok(unusual));
    assert_eq!(read(json!({})), Ok(ListenerConfig::default()));
    for (option, expected) in [
        (json!({ "backlog": 0 }), "backlog is 0; allowed: 1 to 65536"),
        (
            json!({ "shards": 70_000 }),
            "shards is 70000; allowed: 1 to 256",
        ),
        (json!({ "mtu": 1400 }), "unknown field"),
    ] {
        let error = read(option).expect_err("refused");
        assert!(error.contains(expected), "{error}");
    }
}
