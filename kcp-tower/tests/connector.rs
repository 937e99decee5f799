//! The connector: names, addresses, errors.

mod support;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use kcp_tower::kcp_transport::config::Config;
use kcp_tower::{ConnectError, KcpConnector, KcpIo};
use support::{Setup, deaf_addr, impatient};
use tower::make::MakeConnection;
use tower::{Service, ServiceExt};

async fn connect<T>(connector: KcpConnector, target: T) -> io::Result<KcpIo>
where
    KcpConnector: Service<T, Response = KcpIo, Error = io::Error>,
{
    connector.oneshot(target).await
}

fn uri(text: &str) -> http::Uri {
    text.parse().unwrap()
}

#[tokio::test]
async fn nobody_there_is_a_clear_error() {
    let addr = deaf_addr().await;
    let connector = Setup::plaintext().connector().with_config(impatient());
    let error = connect(connector, uri(&format!("http://{addr}")))
        .await
        .unwrap_err();
    assert!(matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut
    ));
    let message = error.to_string();
    let expected = format!("no KCP connection to {addr}: ");
    assert!(message.starts_with(&expected), "{message}");
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn uri_without_host_is_invalid() {
    let connector = Setup::plaintext().connector();
    let error = connect(connector, uri("/path")).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "cannot connect to /path: it has no host");
}

#[tokio::test]
async fn all_addresses_of_a_name_are_tried() {
    let setup = Setup::plaintext();
    let (mut incoming, addr) = setup.incoming().await;
    let accepted = tokio::spawn(async move {
        std::future::poll_fn(|cx| incoming.poll_accept(cx))
            .await
            .unwrap()
            .unwrap()
    });
    let addresses = vec![deaf_addr().await, deaf_addr().await, addr];
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let config = Config::builder()
        .connect_timeout(3 * impatient().connect_timeout())
        .build()
        .unwrap();
    let connector = setup
        .connector()
        .with_config(config)
        .with_resolver(move |host, port| {
            log.lock().unwrap().push((host, port));
            std::future::ready(Ok(addresses.clone()))
        });
    let io = connect(connector, uri("http://somewhere.example:4000/x"))
        .await
        .unwrap();
    assert_eq!(io.info().peer_addr(), addr);
    assert_eq!(
        *asked.lock().unwrap(),
        [("somewhere.example".to_owned(), 4000)]
    );
    accepted.abort();
}

#[tokio::test]
async fn error_names_every_address_tried() {
    let addresses = vec![deaf_addr().await, deaf_addr().await];
    let answer = addresses.clone();
    let connector = Setup::plaintext()
        .connector()
        .with_config(impatient())
        .with_resolver(move |_, _| std::future::ready(Ok(answer.clone())));
    let error = connect(connector, uri("https://somewhere.example"))
        .await
        .unwrap_err();
    let message = error.to_string();
    let expected = format!(
        "no KCP connection to somewhere.example:443, tried {}, {}: ",
        addresses[0], addresses[1]
    );
    assert!(message.starts_with(&expected), "{message}");
    let inner = error.get_ref().unwrap().downcast_ref::<ConnectError>();
    assert_eq!(inner.unwrap().addresses(), addresses);
}

#[tokio::test]
async fn names_without_addresses_are_told_apart() {
    let connector = Setup::plaintext().connector();
    let empty = connector
        .clone()
        .with_resolver(|_, _| std::future::ready(Ok(Vec::new())));
    let error = connect(empty, uri("http://somewhere.example"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    let failing = connector
        .with_resolver(|_, _| std::future::ready(Err(io::Error::other("name server on fire"))));
    let error = connect(failing, uri("http://somewhere.example"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot find the address of somewhere.example: name server on fire"
    );
}

#[tokio::test]
async fn lookup_is_bounded_by_the_connect_timeout() {
    let connector = Setup::plaintext()
        .connector()
        .with_config(impatient())
        .with_resolver(|_, _| std::future::pending());
    let error = connect(connector, uri("http://somewhere.example"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn system_resolver_knows_localhost() {
    let setup = Setup::plaintext();
    let (mut incoming, addr) = setup.incoming().await;
    let accepted = tokio::spawn(async move {
        std::future::poll_fn(|cx| incoming.poll_accept(cx))
            .await
            .unwrap()
            .unwrap()
    });
    let target = uri(&format!("kcp://localhost:{}", addr.port()));
    let io = connect(setup.connector(), target).await.unwrap();
    assert_eq!(io.info().peer_addr(), addr);
    accepted.abort();
}

#[tokio::test]
async fn ipv6_addresses_work() {
    let setup = Setup::plaintext();
    let any: SocketAddr = "[::1]:0".parse().unwrap();
    let bound = kcp_tower::KcpIncoming::bind(any, &setup.security).await;
    let mut incoming = match bound {
        Ok(incoming) => incoming,
        // Some machines have no IPv6 at all.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => return,
        Err(error) => panic!("{error}"),
    };
    let addr = incoming.local_addr().unwrap();
    let accepted = tokio::spawn(async move {
        std::future::poll_fn(|cx| incoming.poll_accept(cx))
            .await
            .unwrap()
            .unwrap()
    });
    let io = connect(setup.connector(), uri(&format!("http://{addr}")))
        .await
        .unwrap();
    assert_eq!(io.info().peer_addr(), addr);
    accepted.abort();
}

#[tokio::test]
async fn tower_takes_it_for_a_make_connection() {
    async fn make<M: MakeConnection<SocketAddr>>(mut make: M, addr: SocketAddr) -> bool {
        make.make_connection(addr).await.is_ok()
    }
    let setup = Setup::plaintext();
    let (mut incoming, addr) = setup.incoming().await;
    let accepted = tokio::spawn(async move {
        std::future::poll_fn(|cx| incoming.poll_accept(cx))
            .await
            .unwrap()
            .unwrap()
    });
    assert!(make(setup.connector(), addr).await);
    accepted.abort();
}
