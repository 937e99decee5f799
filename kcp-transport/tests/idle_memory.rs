//! The memory of idle client connections, with the allocator of glibc. Alone in its process, to be
//! measured; the server is a process of its own.
#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![allow(clippy::disallowed_methods)]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kcp_transport::config::Config;
use kcp_transport::crypto::{AeadKey, Security};
use kcp_transport::net::{KcpListener, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::sleep;

const CLIENTS: usize = 500;

/// Resident bytes that a connection may have.
const LIMIT: usize = 16 << 10;

fn security() -> Security {
    Security::Aead(AeadKey::aes_128_gcm(&[7; 16]).expect("16 bytes"))
}

/// Long enough for memory to be freed between two probes.
fn config() -> Config {
    let config = Config::builder().keepalive(Some(Duration::from_millis(1500)));
    config.build().expect("in range")
}

/// The process of the server, which ends with this value.
struct Server(Child, SocketAddr);

impl Server {
    fn start() -> Self {
        let this = std::env::current_exe().expect("this program");
        let mut child = Command::new(this)
            .args(["server_process", "--exact", "--ignored", "--nocapture"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let addr = lines.map_while(Result::ok).find_map(|line| {
            let (_, addr) = line.split_once("listening on ")?;
            addr.parse().ok()
        });
        Self(child, addr.expect("the address of the server"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
#[ignore = "the server of the other test, which starts it"]
async fn server_process() {
    let listener = KcpListener::bind("127.0.0.1:0", &security())
        .await
        .expect("binds");
    println!("listening on {}", listener.local_addr().expect("bound"));
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                stream.write_all(&buffer[..read]).await?;
                stream.flush().await?;
            }
            std::io::Result::Ok(())
        });
    }
}

/// Resident bytes of this process.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this is Linux");
    let pages = statm.split_whitespace().nth(1).expect("has fields");
    pages.parse::<usize>().expect("a number") * 4096
}

async fn connect(server: SocketAddr) -> KcpStream {
    KcpStream::builder(&security())
        .config(&config())
        .connect(server)
        .await
        .expect("connects")
}

/// Has data echoed.
async fn talk(stream: &mut KcpStream, len: usize) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let data = [1; 100];
    let (written, read) = tokio::join!(
        async {
            for _ in 0..len / data.len() {
                writer.write_all(&data).await?;
            }
            writer.flush().await
        },
        async {
            let mut echo = [0; 100];
            for _ in 0..len / data.len() {
                reader.read_exact(&mut echo).await?;
                assert_eq!(echo, data);
            }
            std::io::Result::Ok(())
        }
    );
    written.expect("writes");
    read.expect("reads");
}

#[tokio::test]
async fn idle_client_connections_take_at_most_16_kib_each() {
    let server = Server::start();
    // What the process needs in any case.
    talk(&mut connect(server.1).await, 1_000_000).await;
    let before = resident();
    let mut streams = Vec::new();
    // Many at a time: what they hold for a moment must not stay with the allocator.
    while streams.len() < CLIENTS {
        let mut opening = JoinSet::new();
        for _ in 0..50 {
            let addr = server.1;
            opening.spawn(async move {
                let mut stream = connect(addr).await;
                for len in [1000, 20_000, 200_000] {
                    talk(&mut stream, len).await;
                }
                stream
            });
        }
        streams.extend(opening.join_all().await);
    }
    println!("{} bytes each when busy", (resident() - before) / CLIENTS);
    let received = |streams: &[KcpStream]| -> Vec<u64> {
        streams
            .iter()
            .map(|stream| stream.stats().datagrams_received)
            .collect()
    };
    let calm = received(&streams);
    let started = Instant::now();
    // Three answers to keepalive probes, and a while until memory is freed.
    loop {
        let each = resident().saturating_sub(before) / CLIENTS;
        let probed = received(&streams)
            .iter()
            .zip(&calm)
            .all(|(now, calm)| *now >= calm + 3);
        if probed && each <= LIMIT {
            println!("{each} bytes each after {:?}", started.elapsed());
            break;
        }
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{each} bytes each"
        );
        sleep(Duration::from_millis(100)).await;
    }
}
