//! Paths that carry less than an Ethernet frame, between two network namespaces.
//!
//! `cargo test -p kcp-transport --test narrow_path`; without the right to make a namespace the test
//! is left out and prints so. It runs itself again in one namespace, and from there in another:
//!
//! ```text
//! client, 10.78.0.1 [near] -------- veth -------- [far] 10.78.0.2, server
//! ```
//!
//! A datagram that exceeds the mtu of the sending end is refused by the system; one that exceeds that
//! of the receiving end is lost without a word.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use kcp_transport::config::{Config, MtuDiscovery};
use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpListener, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const NEAR: &str = "10.78.0.1";
const FAR: &str = "10.78.0.2";

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.expect("ip runs").success(), "ip {arguments}");
}

/// This program, running one of its tests in a namespace of its own.
fn within_namespace(flags: &str, test: &str) -> Command {
    let mut command = Command::new("unshare");
    command
        .arg(flags)
        .arg(std::env::current_exe().expect("this program"))
        .args([test, "--exact", "--ignored", "--nocapture"]);
    command
}

#[test]
fn streams_pass_through_narrow_paths_both_ways() {
    let possible = Command::new("unshare").args(["-rn", "ip", "link"]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!("left out: not allowed to make a network namespace");
        return;
    }
    let status = within_namespace("-rn", "client_in_a_namespace").status();
    assert!(status.expect("unshare runs").success());
}

/// The server, which ends when its input does.
struct Server {
    child: Child,
    _input: ChildStdin,
}

impl Server {
    fn start() -> Self {
        let mut child = within_namespace("-n", "server_in_a_namespace")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let output = BufReader::new(child.stdout.take().expect("is piped"));
        let mut lines = output.lines().map(|line| line.expect("is text"));
        // It is in its namespace once it prints.
        assert!(lines.any(|line| line.ends_with("waits")));
        ip("link add near type veth peer name far");
        ip(&format!("link set far netns {}", child.id()));
        ip(&format!("addr add {NEAR}/24 dev near"));
        ip("link set near up");
        let mut input = child.stdin.take().expect("is piped");
        input.write_all(b"the other end is there\n").expect("reads");
        assert!(lines.any(|line| line.ends_with("listens")));
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            _input: input,
        }
    }

    /// Sets the mtu of both ends.
    fn set_mtus(&self, near: u32, far: u32) {
        ip(&format!("link set near mtu {near}"));
        let far = format!("ip link set far mtu {far}");
        let status = Command::new("nsenter")
            .args(["-n", "-t", &self.child.id().to_string()])
            .args(far.split(' '))
            .status();
        assert!(status.expect("nsenter runs").success());
    }
}

#[tokio::test]
#[ignore = "configures the network of the host; the other test runs it in a namespace"]
async fn server_in_a_namespace() {
    println!("waits");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("is text");
    ip(&format!("addr add {FAR}/24 dev far"));
    ip("link set far up");
    let listener = KcpListener::bind(format!("{FAR}:4000"), &Security::Plaintext).await;
    let listener = listener.expect("binds");
    println!("listens");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo(stream));
        }
    });
    let mut all = Vec::new();
    let _ = tokio::io::stdin().read_to_end(&mut all).await;
}

async fn echo(mut stream: KcpStream) {
    let mut buffer = vec![0; 65_536];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
#[ignore = "configures the network of the host; the other test runs it in a namespace"]
async fn client_in_a_namespace() {
    ip("link set lo up");
    let server = Server::start();
    for (near, far, jumbo) in [
        (1500, 1500, false),
        (1420, 1420, false),
        (1280, 1280, false),
        // Lost without a word on the way there, or back.
        (1500, 1280, false),
        (1280, 1500, false),
        (9000, 1500, true),
        (9000, 9000, true),
        // Not even the first datagrams fit: they leave in fragments.
        (1000, 1000, false),
        (576, 576, false),
    ] {
        server.set_mtus(near, far);
        let mtu = if jumbo { 8972 } else { 1400 };
        let most = near.min(far) as usize - 28;
        let found = exchange(mtu, MtuDiscovery::On, mtu.min(most)).await;
        println!("{near} {far}: {found}");
    }
    // Without discovery too, as long as the mtu of the near end is the smallest.
    server.set_mtus(1420, 1420);
    exchange(1400, MtuDiscovery::Off, 1400).await;
    exchange_while_the_path_changes(&server).await;
}

/// Segments that were cut for the wider path leave in fragments.
async fn exchange_while_the_path_changes(server: &Server) {
    server.set_mtus(1500, 1500);
    let stream = KcpStream::connect(format!("{FAR}:4000"), &Security::Plaintext).await;
    let mut stream = stream.expect("connects");
    for mtu in [1500, 1280, 1000, 1500, 1280] {
        server.set_mtus(mtu, mtu);
        let begun = Instant::now();
        let sent: Vec<u8> = (0..500_000_u32).map(|at| (at % 251) as u8).collect();
        let mut received = vec![0; sent.len()];
        let (mut read, mut write) = stream.split();
        let sending = async {
            write.write_all(&sent).await?;
            write.flush().await
        };
        let both = async { tokio::try_join!(sending, read.read_exact(&mut received)) };
        let both = timeout(PATIENCE, both).await;
        both.expect("arrives in time").expect("arrives");
        assert_eq!(received, sent);
        println!("{mtu} during a connection: {:?}", begun.elapsed());
    }
}

/// Sends data there and back, within seconds, until nearly the largest size of datagrams that passes is
/// found, and returns that. Nothing is found below the size that datagrams have first.
async fn exchange(mtu: usize, discovery: MtuDiscovery, passes: usize) -> usize {
    let begun = Instant::now();
    let config = Config::builder().mtu(mtu).mtu_discovery(discovery);
    let config = config.build().expect("in range");
    let server = format!("{FAR}:4000");
    let builder = KcpStream::builder(&Security::Plaintext).config(&config);
    let stream = builder.connect(server).await.expect("connects");
    let (mut read, mut write) = stream.into_split();
    let data: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
    let expected = data.clone();
    let writer = tokio::spawn(async move {
        write.write_all(&data).await.expect("writes");
        write.flush().await.expect("flushes");
        write
    });
    let mut received = vec![0; expected.len()];
    let all = timeout(PATIENCE, read.read_exact(&mut received));
    all.await.expect("arrives in time").expect("arrives");
    assert_eq!(received, expected);
    let mut write = writer.await.expect("ends");
    let arrived = begun.elapsed();
    // Data passes while the size is searched for.
    let searched_until = Instant::now() + PATIENCE;
    loop {
        write.write_all(&expected[..5000]).await.expect("writes");
        write.flush().await.expect("flushes");
        let all = timeout(PATIENCE, read.read_exact(&mut received[..5000]));
        all.await.expect("arrives in time").expect("arrives");
        let found = usize::from(write.info().stats().path_mtu);
        if passes < FIRST || (found <= passes && passes - found < 24) {
            break;
        }
        assert!(Instant::now() < searched_until, "{found} of {passes}");
    }
    let stats = write.info().stats();
    println!("{arrived:?}: {} sent again, {stats:?}", stats.retransmitted);
    stats.path_mtu.into()
}

/// The size of datagrams before a larger one has passed.
const FIRST: usize = 1200;

/// Far more than it takes, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(10);
