//! When written data is sent under delayed coalescing, and the maximum length of messages.

use super::*;

fn delayed(mode: Mode) -> Arq {
    let mut arq = arq(ArqConfig {
        write_coalescing: WriteCoalescing::Delayed,
        mode,
        ..config()
    });
    direct(&mut arq, at(0), &tell(0, 1000));
    arq
}

#[test]
fn immediate_write_is_sent_at_once_and_delayed_after_the_flush_interval() {
    let mut immediate = arq(config());
    immediate.write(b"a");
    assert_eq!(immediate.poll_timeout(), Some(Time::ZERO));
    assert_eq!(pushes(&mut immediate, at(5)), [0]);

    let mut delayed = delayed(Mode::Stream);
    delayed.write(b"a");
    assert_eq!(pushes(&mut delayed, at(5)), []);
    assert_eq!(delayed.poll_timeout(), Some(at(25)));
    delayed.write(b"b");
    assert_eq!(pushes(&mut delayed, at(24)), []);
    let sent = datagrams(&mut delayed, at(25));
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0][SEGMENT_HEADER_LEN..], *b"ab");
}

#[test]
fn delay_restarts_with_each_first_byte() {
    let mut arq = delayed(Mode::Stream);
    arq.write(b"a");
    transmit(&mut arq, at(0));
    assert_eq!(pushes(&mut arq, at(20)), [0]);
    direct(&mut arq, at(21), &ack(0, at(20), 1));
    assert_eq!(arq.poll_timeout(), None, "no timer runs");
    arq.write(b"b");
    assert_eq!(pushes(&mut arq, at(500)), []);
    assert_eq!(pushes(&mut arq, at(520)), [1]);
}

#[test]
fn delayed_data_is_sent_when_a_datagram_is_full_and_the_rest_waits() {
    let mut arq = delayed(Mode::Stream);
    arq.write(&[1; MSS + 10]);
    assert_eq!(pushes(&mut arq, at(0)), [0]);
    assert_eq!(pushes(&mut arq, at(19)), []);
    assert_eq!(pushes(&mut arq, at(20)), [1]);
}

#[test]
fn delayed_messages_share_a_datagram() {
    let mut arq = delayed(Mode::Message);
    assert_eq!(arq.write_message(b"one"), Ok(true));
    assert_eq!(arq.write_message(b"two"), Ok(true));
    assert_eq!(datagrams(&mut arq, at(0)).len(), 0);
    let sent = datagrams(&mut arq, at(20));
    assert_eq!(sent.len(), 1);
    assert_eq!(segments(&sent[0]).len(), 2);
}

#[test]
fn delayed_data_is_sent_when_the_send_window_is_full() {
    let mut arq = delayed(Mode::Message);
    let mut arq_of_two = Arq::new(
        ArqConfig {
            send_window: 2,
            ..arq.config
        },
        CONVERSATION,
        OFFSET,
    );
    for arq in [&mut arq, &mut arq_of_two] {
        assert_eq!(arq.write_message(b"a"), Ok(true));
        assert_eq!(arq.write_message(b"b"), Ok(true));
    }
    assert_eq!(pushes(&mut arq, at(0)), []);
    assert_eq!(pushes(&mut arq_of_two, at(0)), [0, 1]);
}

#[test]
fn delayed_data_rides_along_with_an_ack() {
    let mut arq = delayed(Mode::Stream);
    arq.write(b"a");
    assert_eq!(pushes(&mut arq, at(0)), []);
    direct(&mut arq, at(1), &push(0, b"x"));
    assert_eq!(commands(&mut arq, at(1)), [Command::Ack, Command::Push]);
}

#[test]
fn nothing_is_held_back_once_writing_has_ended() {
    let mut arq = delayed(Mode::Stream);
    arq.write(b"a");
    assert_eq!(pushes(&mut arq, at(0)), []);
    arq.finish_writing();
    assert_eq!(arq.poll_timeout(), Some(Time::ZERO));
    assert_eq!(pushes(&mut arq, at(1)), [0]);
}

#[test]
fn message_is_as_long_as_the_peers_window_and_255_fragments_allow() {
    let mut arq = arq(ArqConfig {
        mode: Mode::Message,
        send_buffer: 1 << 20,
        ..config()
    });
    assert_eq!(arq.max_message_len(), 32 * MSS, "nothing is known yet");
    direct(&mut arq, at(0), &tell(0, 16));
    assert_eq!(arq.max_message_len(), 16 * MSS);
    direct(&mut arq, at(0), &tell(0, 1000));
    assert_eq!(arq.max_message_len(), 255 * MSS);
    direct(&mut arq, at(0), &tell(0, 0));
    assert_eq!(arq.max_message_len(), 255 * MSS, "only full for now");
    assert_eq!(arq.write_message(&[1; 255 * MSS]), Ok(true));
    assert_eq!(
        arq.write_message(&[1; 255 * MSS + 1])
            .expect_err("too long")
            .to_string(),
        "message has 25501 bytes; at most 25500 are allowed"
    );
    direct(&mut arq, at(0), &tell(0, 1000));
    let sent = transmit(&mut arq, at(0));
    assert_eq!(sent.len(), 64, "the send window limits what is in flight");
    assert_eq!(sent[0].fragments_left, 254);
}

#[test]
fn empty_message_of_a_c_peer_is_delivered() {
    let mut arq = arq(ArqConfig {
        mode: Mode::Message,
        ..config()
    });
    direct(&mut arq, at(0), &push(0, b""));
    direct(&mut arq, at(0), &push(1, b"next"));
    assert!(arq.readable());
    let mut message = Vec::new();
    assert!(arq.read_message(&mut message));
    assert_eq!(message, b"");
    assert!(arq.read_message(&mut message));
    assert_eq!(message, b"next");
    assert!(!arq.read_message(&mut message));
}
