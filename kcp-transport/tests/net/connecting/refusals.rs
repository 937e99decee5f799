//! Input that cannot work, and peers that cannot be reached: each error contains what was wrong and
//! what is allowed.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpEndpoint, KcpListener, KcpStream};

use super::CLEAR;
use crate::stream::{LOOPBACK, cipher, quick};

/// The kind and text of a refusal that comes at once.
pub(crate) async fn refusal<T: std::fmt::Debug>(
    connecting: impl Future<Output = io::Result<T>>,
) -> (io::ErrorKind, String) {
    let refused = tokio::time::timeout(Duration::from_secs(5), connecting).await;
    let error = refused.expect("is known at once").expect_err("is refused");
    (error.kind(), error.to_string())
}

#[tokio::test]
async fn address_without_port_is_refused_with_the_form_that_is_allowed() {
    for target in ["example.com", "127.0.0.1", "4000"] {
        for (kind, text) in [
            refusal(KcpStream::connect(target, CLEAR)).await,
            refusal(KcpListener::bind(target, CLEAR)).await,
        ] {
            assert_eq!(kind, io::ErrorKind::InvalidInput, "{target}: {text}");
            assert!(text.contains("expected host and port"), "{text}");
            assert!(text.contains("example.com:4000"), "{text}");
        }
    }
}

#[tokio::test]
async fn address_without_host_is_refused_with_the_form_that_is_allowed() {
    let endpoint = KcpEndpoint::bind(LOOPBACK, CLEAR).await.expect("binds");
    for (kind, text) in [
        refusal(KcpStream::connect(":4000", CLEAR)).await,
        refusal(KcpStream::connect(("", 4000), CLEAR)).await,
        refusal(endpoint.connect(String::from(":4000"))).await,
        refusal(KcpListener::bind(":4000", CLEAR)).await,
        refusal(KcpEndpoint::bind(":4000", CLEAR)).await,
    ] {
        assert_eq!(kind, io::ErrorKind::InvalidInput, "{text}");
        assert!(text.starts_with("no host before the port"), "{text}");
        assert!(text.contains("expected host and port"), "{text}");
    }
    let (_, text) = refusal(KcpListener::bind(":4000", CLEAR)).await;
    assert!(
        text.contains("\"[::]:4000\" stands for all addresses"),
        "{text}"
    );
}

#[tokio::test]
async fn unknown_host_is_distinguished_from_one_that_does_not_answer() {
    // RFC 6761, section 6.4: no name under `invalid` exists.
    let (kind, text) = refusal(KcpStream::connect("no-such-host.invalid:9", CLEAR)).await;
    assert_eq!(kind, io::ErrorKind::NotFound, "{text}");
    assert!(
        text.starts_with("cannot resolve no-such-host.invalid: "),
        "{text}"
    );
    let none: &[SocketAddr] = &[];
    let (kind, text) = refusal(KcpStream::connect(none, CLEAR)).await;
    assert_eq!(kind, io::ErrorKind::NotFound, "{text}");
    assert_eq!(text, "the host has no address");
}

/// Where client sockets are connected, closed ports are reported.
#[cfg(any(target_os = "linux", target_os = "android", windows))]
#[tokio::test]
async fn host_without_a_reachable_address_is_an_error_with_each_address_and_its_reason() {
    let sockets = [(); 2].map(|()| UdpSocket::bind(LOOPBACK).expect("binds"));
    let closed = sockets.map(|it| it.local_addr().expect("bound"));
    let (kind, text) = refusal(KcpStream::connect(&closed[..], CLEAR)).await;
    assert_eq!(kind, io::ErrorKind::ConnectionRefused);
    assert!(
        text.starts_with("no connection to any of 2 addresses: "),
        "{text}"
    );
    for addr in closed {
        let reason = format!("{addr}: no socket listens at the peer's address");
        assert!(text.contains(&reason), "{text}");
    }
}

#[tokio::test]
async fn addresses_that_no_peer_can_have_are_refused_at_once() {
    let endpoint = KcpEndpoint::bind("[::]:0", CLEAR).await.expect("binds");
    for (target, reason) in [
        ("127.0.0.1:0", "port 0"),
        ("224.0.0.1:9", "multicast"),
        ("[fe80::1]:9", "scope id"),
    ] {
        for (kind, text) in [
            refusal(KcpStream::connect(target, CLEAR)).await,
            refusal(endpoint.connect(target)).await,
        ] {
            assert_eq!(kind, io::ErrorKind::InvalidInput, "{target}");
            assert!(text.contains(reason), "{target}: {text}");
        }
    }
}

#[tokio::test]
async fn socket_of_the_wrong_family_is_refused_with_both_families() {
    let own = UdpSocket::bind(LOOPBACK).expect("binds");
    let endpoint = KcpEndpoint::bind(LOOPBACK, CLEAR).await.expect("binds");
    let builder = || KcpStream::builder(CLEAR);
    for (kind, text) in [
        refusal(builder().local_addr(LOOPBACK).connect("[::1]:9")).await,
        refusal(builder().socket(own).connect("[::1]:9")).await,
        refusal(endpoint.connect("[::1]:9")).await,
    ] {
        assert_eq!(kind, io::ErrorKind::InvalidInput);
        assert!(text.contains("from an IPv4 address"), "{text}");
        assert!(text.contains("[::1]:9"), "{text}");
    }
}

/// Where client sockets are connected.
#[cfg(any(target_os = "linux", target_os = "android", windows))]
#[tokio::test]
async fn connecting_to_a_closed_port_is_refused() {
    let socket = tokio::net::UdpSocket::bind(LOOPBACK).await.expect("binds");
    let addr = socket.local_addr().expect("bound");
    drop(socket);
    let error = KcpStream::connect(addr, &cipher("null"))
        .await
        .expect_err("no socket");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn connecting_to_a_silent_peer_times_out() {
    let silent = tokio::net::UdpSocket::bind(LOOPBACK).await.expect("binds");
    let addr = silent.local_addr().expect("bound");
    let config = quick().build().expect("in range");
    let error = KcpStream::builder(&cipher("null"))
        .config(&config)
        .connect(addr)
        .await
        .expect_err("silent");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn wrong_key_times_out_with_a_hint_what_to_check() {
    let config = quick().build().expect("in range");
    for name in ["aes-128-gcm", "aes", "salsa20"] {
        let listener = KcpListener::builder(&cipher(name))
            .config(&config)
            .bind(LOOPBACK)
            .await
            .expect("binds");
        let addr = listener.local_addr().expect("bound");
        let other = Security::from_password(name, "another", b"kcp-go").expect("known name");
        let error = KcpStream::builder(&other)
            .config(&config)
            .connect(addr)
            .await
            .expect_err("wrong key");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{name}");
        assert!(error.to_string().contains("cipher and key"), "{error}");
        assert!(
            listener.stats().unauthentic > 0,
            "{name}: {:?}",
            listener.stats()
        );
    }
}

#[tokio::test]
async fn bad_mtu_is_refused_before_a_socket_is_made() {
    let config = Config::builder()
        .mtu(40)
        .build()
        .expect("fits without a cipher");
    let security = cipher("aes-128-gcm");
    let bind = KcpListener::builder(&security)
        .config(&config)
        .bind(LOOPBACK)
        .await
        .expect_err("too small");
    let connect = KcpStream::builder(&security)
        .config(&config)
        .connect(LOOPBACK)
        .await
        .expect_err("same");
    for error in [bind, connect] {
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("mtu is 40"), "{error}");
    }
}
