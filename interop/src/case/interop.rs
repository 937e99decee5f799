//! gRPC's interoperability cases.

/// A case of gRPC's interoperability tests, see
/// <https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InteropCase {
    /// An empty request and an empty reply.
    EmptyUnary,
    /// 271 828 bytes, and 314 159 bytes back.
    LargeUnary,
    /// A stream of requests.
    ClientStreaming,
    /// A stream of replies.
    ServerStreaming,
    /// Requests and replies in turn.
    PingPong,
    /// A call in both directions without messages.
    EmptyStream,
    /// A deadline that passes.
    TimeoutOnSleepingServer,
    /// A call that is cancelled before its first message.
    CancelAfterBegin,
    /// A call that is cancelled after its first reply.
    CancelAfterFirstResponse,
    /// An error with a code and a message.
    StatusCodeAndMessage,
    /// An error whose message has to be escaped.
    SpecialStatusMessage,
    /// A method that the server does not implement.
    UnimplementedMethod,
    /// A service that the server does not have.
    UnimplementedService,
    /// Metadata in headers and trailers.
    CustomMetadata,
    /// Large calls, one after the other, on one channel.
    RpcSoak,
    /// Large calls, one after the other, each on a channel of its own.
    ChannelSoak,
}

impl InteropCase {
    /// All cases.
    pub const ALL: [Self; 16] = [
        Self::EmptyUnary,
        Self::LargeUnary,
        Self::ClientStreaming,
        Self::ServerStreaming,
        Self::PingPong,
        Self::EmptyStream,
        Self::TimeoutOnSleepingServer,
        Self::CancelAfterBegin,
        Self::CancelAfterFirstResponse,
        Self::StatusCodeAndMessage,
        Self::SpecialStatusMessage,
        Self::UnimplementedMethod,
        Self::UnimplementedService,
        Self::CustomMetadata,
        Self::RpcSoak,
        Self::ChannelSoak,
    ];

    /// The name in the specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EmptyUnary => "empty_unary",
            Self::LargeUnary => "large_unary",
            Self::ClientStreaming => "client_streaming",
            Self::ServerStreaming => "server_streaming",
            Self::PingPong => "ping_pong",
            Self::EmptyStream => "empty_stream",
            Self::TimeoutOnSleepingServer => "timeout_on_sleeping_server",
            Self::CancelAfterBegin => "cancel_after_begin",
            Self::CancelAfterFirstResponse => "cancel_after_first_response",
            Self::StatusCodeAndMessage => "status_code_and_message",
            Self::SpecialStatusMessage => "special_status_message",
            Self::UnimplementedMethod => "unimplemented_method",
            Self::UnimplementedService => "unimplemented_service",
            Self::CustomMetadata => "custom_metadata",
            Self::RpcSoak => "rpc_soak",
            Self::ChannelSoak => "channel_soak",
        }
    }
}
