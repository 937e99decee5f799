//! Errors, one type per kind of operation.

mod connect;
mod system;

use std::io;

pub use connect::{ConnectAttempt, ConnectError, ConnectErrorReason};
pub use system::SystemError;

/// Why bytes from the network could not be decoded.
///
/// Such bytes are counted and ignored; they never end a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The datagram ends before a header or its payload does.
    #[error("datagram ends in the middle of a header or payload")]
    Truncated,
    /// A segment's command is none of push, ack, window probe and window update.
    #[error("segment has unknown command {0}; known: 81 to 84")]
    UnknownCommand(u8),
    /// A segment belongs to another conversation.
    #[error("segment belongs to another conversation")]
    ForeignConversation,
    /// A segment acknowledges data that was never sent.
    #[error("segment acknowledges data that was never sent")]
    AcknowledgesUnsent,
    /// An ack echoes a time at which its segment was not sent.
    #[error("ack echoes a time at which its segment was not sent")]
    EchoesUnsent,
    /// A message has more fragments than the receive window can hold, or its fragments do not count
    /// down by one.
    #[error("message fragments cannot be reassembled")]
    BadFragments,
    /// A FEC shard's size field is smaller than itself.
    #[error("shard has a size of {0}, less than its size field")]
    ShardSize(u16),
    /// The number of a FEC packet is outside the range that a sender uses.
    #[error("shard number is out of range")]
    ShardSequence,
}

/// Why an encrypted or checksummed packet was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The packet is shorter than nonce, checksum and tag together.
    #[error("packet is too short for its nonce and checksum or tag")]
    TooShort,
    /// The checksum or authentication tag is wrong: the packet is corrupted, forged, or sealed with
    /// another key.
    #[error("packet fails its checksum or authentication tag")]
    Unauthentic,
    /// This endpoint sealed the packet itself, and it was reflected.
    #[error("packet was sealed by the endpoint that received it")]
    Reflected,
    /// The packet is authentic but was received before.
    #[error("packet was received before")]
    Replayed,
}

/// Why packets were not encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The key has sealed as many packets as are safe.
    #[error("key has sealed as many packets as are safe; change it on both sides")]
    KeyExhausted,
}

/// Why a configuration was refused: the option, the given value and the allowed values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// An option is outside its range or has no such value.
    #[error("{option} is {given}; allowed: {allowed}")]
    OutOfRange {
        /// The option's name.
        option: &'static str,
        /// The value that was given.
        given: String,
        /// The values that are allowed.
        allowed: &'static str,
    },
    /// The mtu leaves no room for data after all headers.
    #[error("mtu is {given}; allowed with this cipher and FEC setting: {minimum} to 9000")]
    MtuTooSmall {
        /// The mtu that was given.
        given: usize,
        /// The smallest mtu that leaves room for one byte of data.
        minimum: usize,
    },
    /// A cipher's key has the wrong length.
    #[error("key for {cipher} has {given} bytes; allowed: {allowed}")]
    KeyLength {
        /// The cipher's name.
        cipher: &'static str,
        /// Length of the key that was given, in bytes.
        given: usize,
        /// The lengths that are allowed.
        allowed: &'static str,
    },
    /// No cipher has this name.
    #[error("unknown cipher {given:?}; allowed: {allowed}")]
    UnknownCipher {
        /// The name that was given.
        given: String,
        /// The names that are allowed.
        allowed: &'static str,
    },
    /// The cipher is left out, because a feature of this crate is off.
    #[error("cipher {cipher} is not compiled in; enable the feature {feature} of kcp-transport")]
    CipherDisabled {
        /// The cipher's name.
        cipher: &'static str,
        /// The feature that has the cipher.
        feature: &'static str,
    },
    /// An option of an open connection cannot change in this way.
    #[error("{option} of an open connection cannot change from {current} to {given}; {hint}")]
    Fixed {
        /// The option's name.
        option: &'static str,
        /// The value that the connection has.
        current: String,
        /// The value that was given.
        given: String,
        /// What is allowed, or what to do instead.
        hint: &'static str,
    },
    /// A key ring holds two keys already.
    #[error("key ring has two keys already; retire one before adding another")]
    KeyRingFull,
}

impl From<ConfigError> for io::Error {
    fn from(error: ConfigError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

/// Why an out-of-band datagram cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatagramError {
    /// FEC is off, but out-of-band datagrams need its header.
    #[error("out-of-band datagrams need FEC on the sending side; set the fec option")]
    FecOff,
    /// The datagram does not fit into one packet.
    #[error("out-of-band datagram has {len} bytes; at most {most} are allowed")]
    TooLong {
        /// Length of the datagram in bytes.
        len: usize,
        /// Maximum length of a datagram in bytes.
        most: usize,
    },
    /// The session has ended.
    #[error("session has ended")]
    Closed,
}

impl DatagramError {
    /// The kind an [`io::Error`] made of this has.
    #[must_use]
    pub const fn kind(self) -> io::ErrorKind {
        match self {
            Self::FecOff => io::ErrorKind::Unsupported,
            Self::TooLong { .. } => io::ErrorKind::InvalidInput,
            Self::Closed => io::ErrorKind::NotConnected,
        }
    }
}

impl From<DatagramError> for io::Error {
    fn from(error: DatagramError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// Why a connection ended before its user ended it.
///
/// Reads and writes return it as the source of an [`io::Error`]; [`ConnectionError::from_io`] finds it
/// there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The peer did not answer while connecting. [`io::ErrorKind::TimedOut`].
    #[error(
        "peer did not answer; check its address, and that cipher and key (with kcp-go 5.4, FEC too) are the same on both sides"
    )]
    ConnectTimeout,
    /// The peer's host reported that no socket listens there. [`io::ErrorKind::ConnectionRefused`].
    #[error("no socket listens at the peer's address")]
    Refused,
    /// The peer refused the connection, and gave the reason: it is shutting down, or had no room
    /// until the connect time-out. [`io::ErrorKind::ConnectionRefused`].
    #[error("peer refused the connection: {0}")]
    Rejected(ResetCode),
    /// Datagrams to the peer could not be sent: the first of a connection, because there is no route, or
    /// all of them until a time-out passed. Has the kind of the system's error, as TCP has.
    #[error("the peer cannot be reached: {0}")]
    Unreachable(SystemError),
    /// Sent data stayed unacknowledged for longer than the user time-out.
    /// [`io::ErrorKind::TimedOut`].
    #[doc(alias = "dead_link")]
    #[error("peer acknowledged nothing within the user time-out")]
    PeerUnresponsive,
    /// As [`PeerUnresponsive`](Self::PeerUnresponsive), though the peer answers probes of up to so many
    /// bytes of UDP payload: the path has become too narrow for datagrams that were cut before, or for
    /// the fragments of a long message, and loses them. [`io::ErrorKind::TimedOut`].
    ///
    /// Not reported before the user time-out has passed: until then, a path that stays narrow looks like
    /// one that is narrow for some seconds while routes change, and a connection outlives that.
    #[error(
        "peer acknowledged no data within the user time-out, but probes of {0} bytes: \
         the path carries no larger datagrams; set a smaller mtu on both sides"
    )]
    PathTooNarrow(u16),
    /// Nothing was received for longer than the idle time-out. [`io::ErrorKind::TimedOut`].
    #[error("nothing was received within the idle time-out")]
    IdleTimeout,
    /// The peer's host reported again and again that no socket listens there any more: the program of
    /// the peer has ended without closing the connection. [`io::ErrorKind::ConnectionRefused`].
    #[error("no socket listens at the peer's address any more; its program has ended")]
    PeerGone,
    /// The peer has lost the state of the conversation, for example by a restart.
    /// [`io::ErrorKind::ConnectionReset`].
    #[error("peer has lost the state of this connection")]
    PeerRestarted,
    /// The peer gave up the connection. [`io::ErrorKind::ConnectionReset`].
    #[error("peer has reset the connection: {0}")]
    Reset(ResetCode),
    /// The peer violated the protocol irreparably. [`io::ErrorKind::InvalidData`].
    #[error("peer violated the protocol: {0}")]
    Protocol(DecodeError),
    /// The linger time passed before everything written was acknowledged.
    /// [`io::ErrorKind::TimedOut`].
    #[error("linger time-out expired before the peer acknowledged everything")]
    LingerTimeout,
    /// The key has sealed as many packets as are safe, and no other key has replaced it.
    /// [`io::ErrorKind::QuotaExceeded`].
    #[error("key has sealed as many packets as are safe; change it on both sides")]
    KeyExhausted,
    /// The socket or the runtime that drove the connection is gone.
    /// [`io::ErrorKind::ConnectionAborted`].
    #[error("the endpoint that drove this connection is closed")]
    EndpointClosed,
}

impl ConnectionError {
    /// Why the connection ended, if an [`io::Error`] of a stream or of connecting has that reason:
    /// directly, as the last attempt of a [`ConnectError`], or as the source of the user's own error.
    ///
    /// ```
    /// use kcp_transport::error::ConnectionError;
    ///
    /// fn was_refused(error: &std::io::Error) -> bool {
    ///     ConnectionError::from_io(error) == Some(&ConnectionError::Refused)
    /// }
    /// # assert!(was_refused(&ConnectionError::Refused.into()));
    /// ```
    #[must_use]
    pub fn from_io(error: &io::Error) -> Option<&Self> {
        Self::find(error.get_ref()?)
    }

    /// As [`ConnectionError::from_io`], anywhere in a chain of errors, as those of hyper and tonic.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            if let Some(io) = error.downcast_ref::<io::Error>() {
                // Its source is that of the error inside, which would be passed over.
                return Self::from_io(io);
            }
            if let Some(connect) = error.downcast_ref::<ConnectError>() {
                return Self::from_io(connect.attempts().last()?.error());
            }
            next = error.source();
        }
        None
    }

    /// The kind an [`io::Error`] made of this has.
    #[must_use]
    pub const fn kind(self) -> io::ErrorKind {
        match self {
            Self::ConnectTimeout
            | Self::PeerUnresponsive
            | Self::PathTooNarrow(_)
            | Self::IdleTimeout
            | Self::LingerTimeout => io::ErrorKind::TimedOut,
            Self::Refused | Self::Rejected(_) | Self::PeerGone => io::ErrorKind::ConnectionRefused,
            Self::Unreachable(error) => error.kind(),
            Self::PeerRestarted | Self::Reset(_) => io::ErrorKind::ConnectionReset,
            Self::Protocol(_) => io::ErrorKind::InvalidData,
            Self::KeyExhausted => io::ErrorKind::QuotaExceeded,
            Self::EndpointClosed => io::ErrorKind::ConnectionAborted,
        }
    }
}

impl From<SealError> for ConnectionError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::KeyExhausted => Self::KeyExhausted,
        }
    }
}

impl From<ConnectionError> for io::Error {
    fn from(error: ConnectionError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// The reason for which a side gave up a connection, as sent to its peer.
///
/// Applications define their own codes below [`ResetCode::FIRST_RESERVED`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResetCode(u32);

impl ResetCode {
    /// The first code reserved for the transport.
    pub const FIRST_RESERVED: u32 = 0xffff_ff00;
    /// Data was received for a stream that was dropped.
    pub const UNREAD: Self = Self(0xffff_ff01);
    /// A time-out passed: no acknowledgements or no packets were received.
    pub const TIMED_OUT: Self = Self(0xffff_ff02);
    /// The peer violated the protocol.
    pub const PROTOCOL: Self = Self(0xffff_ff03);
    /// The listener, the endpoint or the program of the connection is ending.
    pub const GOING_AWAY: Self = Self(0xffff_ff04);
    /// The connection was given up before everything was delivered.
    pub const CANCELLED: Self = Self(0xffff_ff05);
    /// As many connections as the backlog holds wait to be accepted. Connecting goes on until its
    /// time-out.
    pub const BACKLOG_FULL: Self = Self(0xffff_ff06);
    /// The memory budget of the listener is spent. Connecting goes on until its time-out.
    pub const OVER_BUDGET: Self = Self(0xffff_ff07);

    /// An application's code.
    ///
    /// # Errors
    ///
    /// [`ConfigError::OutOfRange`] for a reserved code.
    pub fn new(code: u32) -> Result<Self, ConfigError> {
        if code < Self::FIRST_RESERVED {
            Ok(Self(code))
        } else {
            Err(ConfigError::OutOfRange {
                option: "reset code",
                given: code.to_string(),
                allowed: "0 to 4294967039",
            })
        }
    }

    /// The code that a peer has sent.
    pub(crate) const fn from_wire(code: u32) -> Self {
        Self(code)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl std::fmt::Debug for ResetCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match *self {
            Self::UNREAD => "UNREAD",
            Self::TIMED_OUT => "TIMED_OUT",
            Self::PROTOCOL => "PROTOCOL",
            Self::GOING_AWAY => "GOING_AWAY",
            Self::CANCELLED => "CANCELLED",
            Self::BACKLOG_FULL => "BACKLOG_FULL",
            Self::OVER_BUDGET => "OVER_BUDGET",
            Self(code) => return write!(f, "ResetCode({code})"),
        };
        write!(f, "ResetCode::{name}")
    }
}

impl std::fmt::Display for ResetCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::UNREAD => f.write_str("the peer no longer reads"),
            Self::TIMED_OUT => f.write_str("the connection timed out at the peer"),
            Self::PROTOCOL => f.write_str("protocol violation"),
            Self::GOING_AWAY => f.write_str("the peer is shutting down"),
            Self::CANCELLED => f.write_str("the peer gave up before everything was delivered"),
            Self::BACKLOG_FULL => f.write_str("its backlog of connections to accept is full"),
            Self::OVER_BUDGET => f.write_str("its memory budget for connections is exhausted"),
            Self(code) => write!(f, "code {code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("request failed")]
    struct Request(#[source] io::Error);

    #[test]
    fn reset_codes_of_the_transport_show_their_names() {
        let code = ResetCode::new(7).expect("not reserved");
        let shown = format!("{:?} {code:?}", ResetCode::GOING_AWAY);
        assert_eq!(shown, "ResetCode::GOING_AWAY ResetCode(7)");
    }

    #[test]
    fn reason_is_found_through_whatever_wraps_it() {
        let reason = ConnectionError::IdleTimeout;
        let plain = io::Error::from(reason);
        assert_eq!(ConnectionError::from_io(&plain), Some(&reason));
        let twice = io::Error::other(plain);
        assert_eq!(ConnectionError::from_io(&twice), Some(&reason));
        let request = io::Error::other(Request(twice));
        assert_eq!(ConnectionError::from_io(&request), Some(&reason));
        assert_eq!(ConnectionError::find(&Request(request)), Some(&reason));
    }

    #[test]
    fn reason_of_the_last_attempt_is_that_of_connecting() {
        let attempts = [ConnectionError::ConnectTimeout, ConnectionError::Refused]
            .map(|it| ConnectAttempt::new(([10, 0, 0, 1], 9).into(), it.into()));
        let error = io::Error::from(ConnectErrorReason::Failed(attempts.into()));
        let found = ConnectionError::from_io(&error);
        assert_eq!(found, Some(&ConnectionError::Refused));
    }

    #[test]
    fn errors_of_the_system_and_of_the_user_have_no_reason() {
        let system = io::Error::from_raw_os_error(1);
        assert_eq!(ConnectionError::from_io(&system), None);
        let none = io::Error::from(ConnectErrorReason::Failed(Vec::new()));
        assert_eq!(ConnectionError::from_io(&none), None);
        assert_eq!(ConnectionError::find(&Request(none)), None);
    }
}
