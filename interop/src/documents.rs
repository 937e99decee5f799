//! The Rust in documents of the repository, compiled as documentation tests.

macro_rules! documents {
    ($($name:ident $path:literal)*) => {$(
        #[doc = include_str!($path)]
        pub struct $name;
    )*};
}

documents! {
    ComingFromKcpGo "../../docs/coming-from-kcp-go.md"
    ComingFromRpcx "../../docs/coming-from-rpcx.md"
    ComingFromTokioKcp "../../docs/coming-from-tokio-kcp.md"
    ComingFromTonicOverTcp "../../docs/coming-from-tonic-over-tcp.md"
    Security "../../docs/security.md"
    Tuning "../../docs/tuning.md"
}
