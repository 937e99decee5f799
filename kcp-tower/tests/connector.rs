//! The connector: names, addresses, errors.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::future::{pending, ready};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use kcp_tower::{
    Config, ConnectError, KcpConnector, KcpConnectorBuilder, KcpIncoming, KcpIo, Name,
};
use support::network::{Link, Network};
use support::{Setup, deaf_addr, impatient};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower::make::MakeConnection;
use tower::{Service, ServiceExt, service_fn};

async fn connect<T>(connector: KcpConnector, target: T) -> io::Result<KcpIo>
where
    KcpConnector: Service<T, Response = KcpIo, Error = io::Error>,
{
    connector.oneshot(target).await
}

/// With a resolver that has one answer for all names.
fn resolving_to(connecting: KcpConnectorBuilder, addresses: Vec<SocketAddr>) -> KcpConnector {
    let resolver =
        service_fn(move |_: Name| ready(Ok::<_, io::Error>(addresses.clone().into_iter())));
    connecting.resolver(resolver).build().unwrap()
}

fn accept(mut incoming: KcpIncoming) -> JoinHandle<KcpIo> {
    tokio::spawn(async move { incoming.next().await.unwrap().unwrap() })
}

fn uri(text: &str) -> http::Uri {
    text.parse().unwrap()
}

#[tokio::test]
async fn connecting_to_a_closed_port_is_a_clear_error() {
    let addr = deaf_addr().await;
    let connecting = Setup::plaintext().connecting().config(&impatient());
    let connector = connecting.build().unwrap();
    let error = connect(connector, uri(&format!("http://{addr}")))
        .await
        .unwrap_err();
    assert!(matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut
    ));
    let message = error.to_string();
    let expected = format!("no connection to {addr}: ");
    assert!(message.starts_with(&expected), "{message}");
}

#[tokio::test]
async fn uri_without_host_is_invalid() {
    let connector = Setup::plaintext().connector();
    let error = connect(connector, uri("/path")).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(
        error.to_string(),
        "cannot connect to /path: the URI has no host"
    );
}

#[tokio::test]
async fn all_addresses_of_a_name_are_tried() {
    let setup = Setup::plaintext();
    let (incoming, addr) = setup.incoming().await;
    let accepted = accept(incoming);
    let addresses = vec![deaf_addr().await, deaf_addr().await, addr];
    let resolved = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&resolved);
    let config = Config::builder()
        .connect_timeout(3 * impatient().connect_timeout())
        .build()
        .unwrap();
    let resolver = service_fn(move |name: Name| {
        log.lock().unwrap().push(name.to_string());
        ready(Ok::<_, io::Error>(addresses.clone().into_iter()))
    });
    let connecting = setup.connecting().config(&config).resolver(resolver);
    let connector = connecting.build().unwrap();
    let io = connect(connector, uri("http://somewhere.example/x"))
        .await
        .unwrap();
    assert_eq!(io.info().peer_addr(), addr);
    assert_eq!(*resolved.lock().unwrap(), ["somewhere.example"]);
    accepted.abort();
}

#[tokio::test]
async fn error_names_every_address_tried() {
    let addresses = vec![deaf_addr().await, deaf_addr().await];
    let connecting = Setup::plaintext().connecting().config(&impatient());
    let connector = resolving_to(connecting, addresses.clone());
    let error = connect(connector, uri("ws://somewhere.example"))
        .await
        .unwrap_err();
    let message = error.to_string();
    let start = "no connection to somewhere.example:80: ";
    assert!(message.starts_with(start), "{message}");
    for addr in &addresses {
        assert!(message.contains(&format!("{addr}: ")), "{message}");
    }
    let inner = ConnectError::from_io(&error).unwrap();
    assert_eq!(inner.target(), Some("somewhere.example:80"));
    let tried: Vec<_> = inner.attempts().iter().map(|it| it.addr()).collect();
    assert_eq!(tried, addresses);
}

#[tokio::test]
async fn name_without_an_address_and_failed_resolution_are_distinguished() {
    let connecting = || Setup::plaintext().connecting();
    let empty = resolving_to(connecting(), Vec::new());
    let error = connect(empty, uri("http://somewhere.example"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert_eq!(error.to_string(), "somewhere.example has no address");
    let failing = service_fn(|_: Name| ready(Err::<std::iter::Empty<_>, _>("no name server")));
    let failing = connecting().resolver(failing).build().unwrap();
    let error = connect(failing, uri("http://somewhere.example"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot resolve somewhere.example: no name server"
    );
}

#[tokio::test]
async fn resolution_is_bounded_by_the_connect_timeout() {
    let never = service_fn(|_: Name| pending::<io::Result<std::iter::Empty<SocketAddr>>>());
    let connecting = Setup::plaintext().connecting().config(&impatient());
    let connector = connecting.resolver(never).build().unwrap();
    let error = connect(connector, uri("http://somewhere.example"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn connect_timeout_bounds_lookup_and_attempts_together() {
    let network = Network::new(Link::LAN);
    let silent = network.host().addr();
    let slow = service_fn(move |_: Name| async move {
        tokio::time::sleep(Duration::from_secs(6)).await;
        Ok::<_, io::Error>(std::iter::once(silent))
    });
    let connecting = Setup::plaintext().connecting().resolver(slow);
    let connecting = connecting.transport(move |_| Ok(network.host()));
    let start = Instant::now();
    let error = connect(connecting.build().unwrap(), uri("http://somewhere.example"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let (elapsed, limit) = (start.elapsed(), Config::default().connect_timeout());
    assert!(
        elapsed.abs_diff(limit) < Duration::from_millis(50),
        "{elapsed:?}"
    );
}

#[tokio::test]
async fn resolver_of_hyper_util_is_taken_as_it_is() {
    let setup = Setup::plaintext();
    let (incoming, addr) = setup.incoming().await;
    let accepted = accept(incoming);
    let connecting = setup.connecting().resolver(GaiResolver::new());
    let connector = connecting.build().unwrap();
    let target = uri(&format!("http://localhost:{}", addr.port()));
    let io = connect(connector, target).await.unwrap();
    assert_eq!(io.info().peer_addr(), addr);
    accepted.abort();
}

#[tokio::test]
async fn localhost_is_resolved_by_the_system() {
    let setup = Setup::plaintext();
    let (incoming, addr) = setup.incoming().await;
    let accepted = accept(incoming);
    let target = uri(&format!("kcp://localhost:{}", addr.port()));
    let io = connect(setup.connector(), target).await.unwrap();
    assert_eq!(io.info().peer_addr(), addr);
    accepted.abort();
}

#[tokio::test]
async fn ipv6_addresses_work() {
    let setup = Setup::plaintext();
    let any: SocketAddr = "[::1]:0".parse().unwrap();
    let bound = KcpIncoming::bind(any, &setup.security).await;
    let incoming = match bound {
        Ok(incoming) => incoming,
        // Some machines have no IPv6 at all.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => return,
        Err(error) => panic!("{error}"),
    };
    let addr = incoming.local_addr().unwrap();
    let accepted = accept(incoming);
    let io = connect(setup.connector(), uri(&format!("http://{addr}")))
        .await
        .unwrap();
    assert_eq!(io.info().peer_addr(), addr);
    accepted.abort();
}

#[tokio::test]
async fn connector_is_a_make_connection_of_tower() {
    async fn make<M: MakeConnection<SocketAddr>>(mut make: M, addr: SocketAddr) -> bool {
        make.make_connection(addr).await.is_ok()
    }
    let setup = Setup::plaintext();
    let (incoming, addr) = setup.incoming().await;
    let accepted = accept(incoming);
    assert!(make(setup.connector(), addr).await);
    accepted.abort();
}
