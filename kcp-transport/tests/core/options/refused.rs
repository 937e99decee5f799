//! Bad input, and the error that names it.

use super::*;

#[test]
fn each_bad_input_has_an_error_of_its_own_before_anything_is_sent() {
    let config = |builder: ConfigBuilder| builder.build().expect_err("out of range").to_string();
    let shards = |data, parity| {
        FecRatio::new(data, parity)
            .expect_err("refused")
            .to_string()
    };
    let window = "allowed: 1 to 65535 segments";
    let ratio = "data and parity of at least 1 each, together at most 256";
    let aead = Overhead {
        front: 12,
        back: 16,
    };
    let tight = Config::builder()
        .mtu(60)
        .fec(FecRatio::new(10, 3).expect("in range"));
    let tight = tight.build().expect("has room without a cipher");
    let cipher = Security::from_password("rot13", "secret", Security::KCPTUN_SALT);
    let mut session = lazy(Config::builder().fec(FecRatio::new(10, 3).expect("in range")));
    let datagram = session.send_out_of_band(at(0), &[0; 1400]);
    for (error, parts) in [
        (shards(200, 57), ["200/57", ratio]),
        (shards(0, 3), ["0/3", ratio]),
        (shards(10, 0), ["10/0", ratio]),
        (
            config(Config::builder().mtu(24)),
            ["mtu is 24", "25 to 9000"],
        ),
        (
            tight.layout(aead).expect_err("no room").to_string(),
            ["mtu is 60", "61 to 9000"],
        ),
        (
            config(Config::builder().windows(0, 1)),
            ["send window is 0", window],
        ),
        (
            config(Config::builder().windows(65_536, 1)),
            ["send window is 65536", window],
        ),
        (
            config(Config::builder().windows(1, 0)),
            ["receive window is 0", window],
        ),
        (
            config(Config::builder().windows(1, 65_536)),
            ["receive window is 65536", window],
        ),
        (
            datagram.expect_err("too long").to_string(),
            ["out-of-band datagram has 1400 bytes", "at most 1388"],
        ),
        (
            cipher.expect_err("unknown").to_string(),
            ["unknown cipher \"rot13\"", "aes-128-gcm"],
        ),
    ] {
        for part in parts {
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        }
    }
    assert_eq!(datagrams(&mut session, at(0)), Vec::<Vec<u8>>::new());
}

#[test]
fn message_errors_name_what_was_given_and_what_is_allowed() {
    let mut session = lazy(Config::builder().mode(Mode::Message));
    let refused = session.write_message(at(0), b"");
    assert_eq!(refused, Err(MessageError::Empty));
    let most = 32 * 1376;
    assert_eq!(
        session.max_message_len(),
        most,
        "nothing is known of the peer"
    );
    assert_eq!(
        questions(&mut session, most + 1),
        [0, 10, 30, 70, 150, 310, 630]
    );
    let refused = session.write_message(at(1270), &vec![0; most + 1]);
    let expected = "message has 44033 bytes; at most 44032 are allowed";
    assert_eq!(refused.expect_err("too long").to_string(), expected);
    assert_eq!(session.write_message(at(1270), &vec![0; most]), Ok(true));

    let mut session = lazy(Config::builder().mode(Mode::Message));
    let longest = 255 * 1376;
    let refused = session.write_message(at(0), &vec![0; longest + 1]);
    assert!(refused.is_err(), "no peer takes that");
}
