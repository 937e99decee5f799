//! Endpoints from a DNS server, dnsmasq of Debian.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[path = "support/debian.rs"]
mod debian;

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use debian::{Running, own_address, program};
use futures_core::Stream;
use kcp_tower::balance::{Change, Discovery, DnsResolver};
use tokio::net::UdpSocket;

/// A name server on an address of its own, with these options.
fn serve(number: u8, options: &[&str]) -> Option<(Running, SocketAddr)> {
    let ip = own_address(number);
    let mut dnsmasq = Command::new(program("dnsmasq", "dnsmasq-base")?);
    dnsmasq.args(["--no-daemon", "--conf-file=/dev/null", "--pid-file="]);
    dnsmasq.args([
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
        "--user=root",
        "--group=root",
    ]);
    dnsmasq.args([format!("--listen-address={ip}"), format!("--port={PORT}")]);
    let child = dnsmasq.args(options).spawn().unwrap();
    Some((Running(child), SocketAddr::new(ip, PORT)))
}

const PORT: u16 = 5353;

const EVERY: Duration = Duration::from_millis(100);

/// The next change as text.
async fn next(discovery: &mut Discovery) -> String {
    let next = poll_fn(|cx| Pin::new(&mut *discovery).poll_next(cx)).await;
    match next.unwrap() {
        Ok(Change::Insert(_, endpoint)) => format!("+ {endpoint}"),
        Ok(Change::Remove(key)) => format!("- {key}"),
        Err(error) => error.to_string(),
    }
}

/// The next change that is no error: a name server that starts does not answer yet.
async fn next_found(discovery: &mut Discovery) -> String {
    loop {
        let found = next(discovery).await;
        if found.starts_with(['+', '-']) {
            return found;
        }
    }
}

/// A name server that passes queries on to another one, which can change.
struct Relay {
    addr: SocketAddr,
    upstream: Arc<Mutex<SocketAddr>>,
}

impl Relay {
    async fn to(upstream: SocketAddr) -> Self {
        let socket = udp().await;
        let addr = socket.local_addr().unwrap();
        let upstream = Arc::new(Mutex::new(upstream));
        let current = Arc::clone(&upstream);
        tokio::spawn(async move {
            let mut query = [0; 4096];
            loop {
                let (len, from) = socket.recv_from(&mut query).await.unwrap();
                let upstream = *current.lock().unwrap();
                let forward = udp().await;
                if forward.send_to(&query[..len], upstream).await.is_err() {
                    continue;
                }
                let mut answer = [0; 4096];
                let answered = forward.recv_from(&mut answer);
                if let Ok(Ok((len, _))) = tokio::time::timeout(EVERY, answered).await {
                    socket.send_to(&answer[..len], from).await.unwrap();
                }
            }
        });
        Self { addr, upstream }
    }

    fn lead_to(&self, upstream: SocketAddr) {
        *self.upstream.lock().unwrap() = upstream;
    }
}

#[allow(clippy::disallowed_methods, reason = "a socket of the name server")]
async fn udp() -> UdpSocket {
    let any = IpAddr::from([127, 0, 0, 1]);
    UdpSocket::bind((any, 0)).await.unwrap()
}

#[tokio::test]
async fn srv_records_and_addresses_are_followed_and_kept_while_there_is_no_answer() {
    let before = [
        "--srv-host=_kcp._udp.test,a.test,4000,0,3",
        "--srv-host=_kcp._udp.test,b.test,4001,1,0",
        "--host-record=a.test,10.0.0.1,fd00::1",
    ];
    let after = [
        "--srv-host=_kcp._udp.test,a.test,4000,0,4",
        "--host-record=a.test,10.0.0.2",
    ];
    let Some((_one, one)) = serve(1, &before) else {
        return;
    };
    let Some((_two, two)) = serve(2, &after) else {
        return;
    };
    let relay = Relay::to(one).await;
    let resolver = DnsResolver::at([relay.addr]).unwrap();
    let mut services = Discovery::srv(resolver.clone(), "_kcp._udp.test.", "kcp", EVERY);
    assert_eq!(
        next_found(&mut services).await,
        "+ kcp://a.test:4000 weight=3"
    );
    assert_eq!(
        next_found(&mut services).await,
        "+ kcp://b.test:4001 priority=1"
    );
    let uri = http::Uri::from_static("kcp://a.test.:9");
    let mut addresses = Discovery::dns_with(resolver.clone(), uri, EVERY);
    assert_eq!(next_found(&mut addresses).await, "+ kcp://10.0.0.1:9");
    assert_eq!(next_found(&mut addresses).await, "+ kcp://[fd00::1]:9");

    let mut nothing = Discovery::srv(resolver, "_none._udp.test.", "kcp", EVERY);
    let error = next(&mut nothing).await;
    assert!(
        error.starts_with("cannot resolve SRV _none._udp.test.: "),
        "{error}"
    );

    // The name server is away: an error, and no change.
    relay.lead_to(SocketAddr::new(own_address(3), PORT));
    for discovery in [&mut services, &mut addresses] {
        let error = next(discovery).await;
        assert!(error.starts_with("cannot resolve "), "{error}");
    }
    relay.lead_to(two);
    assert_eq!(
        next_found(&mut services).await,
        "+ kcp://a.test:4000 weight=4"
    );
    assert_eq!(next_found(&mut services).await, "- kcp://b.test:4001/");
    assert_eq!(next_found(&mut addresses).await, "+ kcp://10.0.0.2:9");
    assert_eq!(next_found(&mut addresses).await, "- kcp://10.0.0.1:9/");
    assert_eq!(next_found(&mut addresses).await, "- kcp://[fd00::1]:9/");
}
