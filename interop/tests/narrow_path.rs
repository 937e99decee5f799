//! Paths with an MTU below Ethernet's, to and from stock kcp-go, between two network namespaces.
//!
//! `cargo test -p kcp-interop --test narrow_path` runs this. Without the privilege to create a namespace, the test
//! prints that it was left out. Otherwise it runs itself again in one namespace, and kcp-go in another:
//!
//! ```text
//! this crate, 10.79.0.1 [near] -------- veth -------- [far] 10.79.0.2, kcp-go
//! ```
#![cfg(target_os = "linux")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kcp_examples::relay::{Relay, RelayConfig};
use kcp_interop::case::{Case, Direction, Payload, Peer, Shape};
use kcp_interop::data;
use kcp_interop::process::{PeerServer, run_client};
use kcp_transport::config::Mode;
use kcp_transport::net::{KcpListener, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const NEAR: &str = "10.79.0.1";
const FAR: &str = "10.79.0.2";

/// Datagrams of kcp-go have this size from the beginning.
const CASE: Case = Case::new(Peer::KcpGo, Direction::RustToPeer);

#[test]
fn kcp_go_is_reached_and_served_through_narrow_paths() {
    if support::peers("narrow paths").is_none() {
        return;
    }
    let possible = Command::new("unshare").args(["-rn", "ip", "link"]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!("left out: not allowed to make a network namespace");
        return;
    }
    let status = Command::new("unshare")
        .arg("-rn")
        .arg(std::env::current_exe().expect("this program"))
        .args([
            "this_side_in_a_namespace",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .status();
    assert!(status.expect("unshare runs").success());
}

/// The namespace of kcp-go, which exists as long as this child process in it.
struct Far(Child);

impl Far {
    fn new() -> Self {
        // It is in its namespace once it prints.
        let mut child = Command::new("unshare")
            .args(["-n", "sh", "-c", "echo waits; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let mut line = String::new();
        let output = child.stdout.take().expect("is piped");
        let read = BufReader::new(output).read_line(&mut line);
        assert!(read.is_ok() && line == "waits\n", "{line}");
        let far = Self(child);
        ip(&format!(
            "link add near type veth peer name far netns {}",
            far.0.id()
        ));
        ip(&format!("addr add {NEAR}/24 dev near"));
        ip("link set near up");
        far.ip(&format!("addr add {FAR}/24 dev far"));
        far.ip("link set far up");
        far
    }

    /// A command line that runs a program in the namespace.
    fn within(&self, program: &str, args: impl IntoIterator<Item = String>) -> Vec<String> {
        let enter = ["-n".to_owned(), "-t".to_owned(), self.0.id().to_string()];
        let program = program.to_owned();
        enter.into_iter().chain([program]).chain(args).collect()
    }

    fn ip(&self, arguments: &str) {
        let arguments = arguments.split(' ').map(str::to_owned);
        let status = Command::new("nsenter")
            .args(self.within("ip", arguments))
            .status();
        assert!(status.expect("nsenter runs").success());
    }

    fn set_mtu(&self, mtu: u32) {
        ip(&format!("link set near mtu {mtu}"));
        self.ip(&format!("link set far mtu {mtu}"));
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.expect("ip runs").success(), "ip {arguments}");
}

#[tokio::test]
#[ignore = "configures the network of the host; the other test runs it in a namespace"]
async fn this_side_in_a_namespace() {
    let programs = support::peers("narrow paths").expect("are built");
    let program = programs.of(CASE.peer).to_str().expect("is text");
    let far = Far::new();
    for mtu in [1420, 1280] {
        far.set_mtu(mtu);
        to_kcp_go(&far, program, mtu as usize - 28).await;
        from_kcp_go(&far, program).await;
    }
}

/// Sends to an echo server of kcp-go and back, until nearly the largest size of datagrams that passes is
/// found.
async fn to_kcp_go(far: &Far, program: &str, passes: usize) {
    let mut args = CASE.peer_args("echo-server");
    args.push(format!("--listen={FAR}:0"));
    let server = PeerServer::start("nsenter".as_ref(), &far.within(program, args)).await;
    let server = server.expect("starts");
    let security = CASE.security().expect("known");
    let builder = KcpStream::builder(&security);
    let config = CASE.config().expect("in range");
    let stream = builder.config(&config).connect(server.addr()).await;
    let (mut read, mut write) = stream.expect("connects").into_split();
    let begun = Instant::now();
    let sent = data::bytes(1, BYTES);
    let expected = sent.clone();
    let writer = tokio::spawn(async move {
        write.write_all(&sent).await.expect("writes");
        write.flush().await.expect("flushes");
        write
    });
    let mut received = vec![0; BYTES];
    let all = timeout(PATIENCE, read.read_exact(&mut received)).await;
    all.expect("arrives in time").expect("arrives");
    assert!(received == expected);
    let mut write = writer.await.expect("ends");
    println!("to kcp-go: {:?}", begun.elapsed());
    // Data passes while the size is searched for.
    let searched_until = Instant::now() + PATIENCE;
    loop {
        write.write_all(&expected[..5000]).await.expect("writes");
        write.flush().await.expect("flushes");
        let all = timeout(PATIENCE, read.read_exact(&mut received[..5000])).await;
        all.expect("arrives in time").expect("arrives");
        let stats = write.info().stats();
        let found = usize::from(stats.path_mtu);
        if found <= passes && passes - found < 24 {
            break;
        }
        assert!(Instant::now() < searched_until, "{stats:?}");
    }
    println!("{:?}", write.info().stats());
}

/// Serves a client of kcp-go.
async fn from_kcp_go(far: &Far, program: &str) {
    let listener = KcpListener::builder(&CASE.security().expect("known"))
        .config(&CASE.config().expect("in range"))
        .bind(format!("{NEAR}:0"))
        .await
        .expect("binds");
    let mut args = CASE.peer_args("echo-client");
    let addr = listener.local_addr().expect("bound");
    args.extend([
        format!("--connect={addr}"),
        format!("--bind={FAR}:0"),
        format!("--bytes={BYTES}"),
    ]);
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("is open");
        let mut buffer = vec![0; 65_536];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            stream.write_all(&buffer[..read]).await.expect("writes");
        }
    });
    let begun = Instant::now();
    let args = far.within(program, args);
    let report = timeout(
        PATIENCE,
        run_client::<serde_json::Value>("nsenter".as_ref(), &args),
    );
    let report = report.await.expect("ends in time").expect("reports");
    serving.abort();
    println!("from kcp-go: {:?} {report}", begun.elapsed());
    assert_eq!(report["ok"], true, "{report}");
}

/// The relay loses what does not fit, as a path does that loses fragments.
#[tokio::test]
async fn messages_of_many_fragments_reach_kcp_go_on_a_narrow_path_that_loses_packets() {
    let Some(programs) = support::peers("messages on a narrow path") else {
        return;
    };
    let case = Case {
        payload: Payload::Echo(Shape {
            mode: Mode::Message,
            ..Shape::STREAM
        }),
        ..CASE
    };
    let mut args = case.peer_args("echo-server");
    // kcp-go does not search for the size.
    args.extend(["--listen=127.0.0.1:0", "--mtu=1200"].map(str::to_owned));
    let server = PeerServer::start(programs.of(case.peer), &args).await;
    let server = server.expect("starts");
    for mtu in [1200, 1300] {
        let relay = RelayConfig {
            mtu,
            loss: 0.1,
            ..RelayConfig::default()
        };
        let relay = Relay::start(server.addr(), relay).expect("a socket");
        let security = case.security().expect("known");
        let config = case.config().expect("in range");
        let builder = KcpStream::builder(&security).config(&config);
        let stream = builder.connect(relay.local_addr()).await;
        let (mut receiver, mut sender) = stream.expect("connects").into_messages().into_split();
        let message = data::bytes(7, MESSAGE);
        // kcp-go echoes each piece of 64 KiB that it reads, as messages of one segment.
        let (mut received, mut piece) = (Vec::new(), Vec::new());
        let echoing = async {
            for _ in 0..3 {
                sender.send(&message).await.expect("is short enough");
            }
            while received.len() < 3 * MESSAGE {
                receiver.recv(&mut piece).await.expect("arrives");
                received.extend_from_slice(&piece);
            }
        };
        timeout(PATIENCE, echoing).await.expect("arrives in time");
        assert!(received == message.repeat(3), "something else");
    }
}

const BYTES: usize = 500_000;

/// Length of a message, in bytes: more than a hundred fragments.
const MESSAGE: usize = 200_000;

const PATIENCE: Duration = Duration::from_secs(10);
