//! A client whose local address goes away, in a network namespace.
//!
//! `cargo test -p kcp-transport --test lost_address`; without the right to make a namespace the test
//! does nothing. The test runs itself again in the namespace, where it is the only thing there is.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods)]

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpListener, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// The server, the first address of the client, and the second.
const SERVER: &str = "10.77.1.1";
const FIRST: &str = "10.77.2.1";
const SECOND: &str = "10.77.3.1";

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.expect("ip runs").success(), "ip {arguments}");
}

/// Adds an address of this host, from which it reaches the server.
fn add(addr: &str) {
    ip(&format!("addr add {addr}/32 dev lo"));
    ip(&format!(
        "route replace local {SERVER} dev lo src {addr} table local"
    ));
}

#[test]
fn connection_goes_on_from_another_address_after_its_own_is_gone() {
    let possible = Command::new("unshare").args(["-rn", "ip", "link"]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!("not allowed to make a network namespace");
        return;
    }
    let this = std::env::current_exe().expect("this program");
    let status = Command::new("unshare")
        .arg("-rn")
        .arg(this)
        .args([
            "inside_the_namespace",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .status();
    assert!(status.expect("unshare runs").success());
}

#[tokio::test]
#[ignore = "changes the addresses of the host; the other test runs it in a namespace"]
async fn inside_the_namespace() {
    ip("link set lo up");
    ip(&format!("addr add {SERVER}/32 dev lo"));
    add(FIRST);
    let addr: SocketAddr = (SERVER.parse::<std::net::IpAddr>().expect("an address"), 0).into();
    let listener = KcpListener::bind(addr, &Security::Plaintext).await;
    let listener = listener.expect("binds");
    let addr = listener.local_addr().expect("bound");
    let (client, server) = tokio::join!(
        KcpStream::connect(addr, &Security::Plaintext),
        listener.accept()
    );
    let (mut client, mut server) = (client.expect("connects"), server.expect("accepts").0);
    exchange(&mut client, &mut server).await;
    let ip_of = |client: &KcpStream| client.local_addr().expect("bound").ip().to_string();
    assert_eq!(ip_of(&client), FIRST);
    ip(&format!("addr del {FIRST}/32 dev lo"));
    add(SECOND);
    let gone = Instant::now();
    let goes_on = timeout(Duration::from_secs(5), exchange(&mut client, &mut server));
    goes_on.await.expect("goes on");
    println!("went on after {:?}", gone.elapsed());
    assert_eq!(ip_of(&client), SECOND);
}

/// Sends some bytes back and forth.
async fn exchange(client: &mut KcpStream, server: &mut KcpStream) {
    let data = vec![7; 10_000];
    let mut received = vec![0; data.len()];
    client.write_all(&data).await.expect("writes");
    client.flush().await.expect("flushes");
    server.read_exact(&mut received).await.expect("reads");
    server.write_all(&data).await.expect("writes");
    server.flush().await.expect("flushes");
    client.read_exact(&mut received).await.expect("reads");
    assert_eq!(received, data);
}
