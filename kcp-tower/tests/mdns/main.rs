//! Servers that announce themselves by multicast DNS, in a network namespace.
//!
//! `cargo test -p kcp-tower --features mdns --test mdns`; without the right to make a namespace the test is
//! left out and prints so. It runs itself again in a namespace with one network, so that nothing of it is
//! sent elsewhere.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::future::poll_fn;
use std::pin::Pin;
use std::process::Command;
use std::time::Duration;

use futures_core::Stream;
use kcp_tower::balance::{Change, Discovery, Endpoint, MdnsRegistration};

const SERVICE: &str = "_kcp-test._udp";

#[test]
fn announced_servers_are_found_followed_and_removed() {
    let possible = Command::new("unshare").args(["-rn", "ip", "link"]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!("left out: not allowed to make a network namespace");
        return;
    }
    let mut command = Command::new("unshare");
    command.arg("-rn").arg(std::env::current_exe().unwrap());
    command.args(["within_a_namespace", "--exact", "--ignored", "--nocapture"]);
    assert!(command.status().unwrap().success());
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.unwrap().success(), "ip {arguments}");
}

/// The next change as text.
async fn next(discovery: &mut Discovery) -> String {
    let next = poll_fn(|cx| Pin::new(&mut *discovery).poll_next(cx));
    let next = tokio::time::timeout(Duration::from_secs(30), next).await;
    match next.expect("something changes").unwrap() {
        Ok(Change::Insert(key, endpoint)) => format!("+ {key} {endpoint}"),
        Ok(Change::Remove(key)) => format!("- {key}"),
        Err(error) => error.to_string(),
    }
}

fn announce(text: &str) -> (MdnsRegistration, Endpoint) {
    let endpoint = Endpoint::parse(text).unwrap();
    (MdnsRegistration::new(SERVICE, &endpoint).unwrap(), endpoint)
}

#[tokio::test]
#[ignore = "configures the network of the host; the other test runs it in a namespace"]
async fn within_a_namespace() {
    ip("link add lan type veth peer name other");
    ip("link set other up");
    ip("addr add 10.79.0.1/24 dev lan");
    ip("addr add 10.79.0.2/24 dev lan");
    ip("link set lan up multicast on");
    ip("link set lo up");

    let mut discovery = Discovery::mdns(SERVICE, "kcp");
    assert_eq!(next(&mut discovery).await, "- ", "there is no server yet");
    let (first, endpoint) = announce("kcp://10.79.0.1:4000 weight=3 zone=eu");
    let name = "10-79-0-1-4000._kcp-test._udp.local.";
    let found = format!("+ {name} kcp://10.79.0.1:4000 weight=3 zone=eu");
    assert_eq!(next(&mut discovery).await, found);
    let (_second, _) = announce("kcp://10.79.0.2:4001");
    let other = "10-79-0-2-4001._kcp-test._udp.local.";
    let found = format!("+ {other} kcp://10.79.0.2:4001");
    assert_eq!(next(&mut discovery).await, found);

    first.update(&endpoint.weight(3).active(false)).unwrap();
    let changed = format!("+ {name} kcp://10.79.0.1:4000 weight=3 zone=eu inactive");
    assert_eq!(next(&mut discovery).await, changed);
    drop(first);
    assert_eq!(next(&mut discovery).await, format!("- {name}"));

    // Another client finds what is there.
    let mut late = Discovery::mdns(SERVICE, "kcp");
    assert_eq!(next(&mut late).await, found);
}
