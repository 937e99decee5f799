//! File descriptors of a client that opens and drops many connections. A program of its own, which
//! starts itself again with the usual limit.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods)]

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kcp_transport::config::{Config, Extensions};
use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpListener, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

/// The default soft limit of most systems.
const LIMIT: &str = "ulimit -n 1024 && exec \"$0\" --exact \"$1\" --nocapture";

/// Four times as many as there are descriptors.
const DIALS: usize = 4096;

/// As many at a time as keep two cores busy.
const WORKERS: usize = 16;

const RUNS_THE_STORM: &str = "KCP_TEST_DIAL_STORM";

#[test]
fn connections_that_are_dropped_leave_descriptors_for_others() {
    const NAME: &str = "connections_that_are_dropped_leave_descriptors_for_others";
    if std::env::var_os(RUNS_THE_STORM).is_none() {
        let own = std::env::current_exe().expect("has a path");
        let mut limited = Command::new("sh");
        limited.arg("-c").arg(LIMIT).arg(own).arg(NAME);
        let status = limited.env(RUNS_THE_STORM, "1").status();
        assert!(status.expect("starts").success());
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("starts");
    // A peer without extensions is like one of kcp-go: it does not signal its end.
    for extensions in [Extensions::On, Extensions::Off] {
        let config = Config::builder().extensions(extensions).build();
        runtime.block_on(storm(config.expect("in range")));
    }
}

async fn storm(server: Config) {
    let listener = KcpListener::builder(&Security::Plaintext)
        .config(&server)
        .bind("127.0.0.1:0")
        .await
        .expect("binds");
    let addr = listener.local_addr().expect("bound");
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo(stream));
        }
    });
    let (left, most) = (Arc::new(AtomicUsize::new(DIALS)), AtomicUsize::new(0));
    let most = Arc::new(most);
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(dial_and_drop(addr, Arc::clone(&left), Arc::clone(&most)));
    }
    while let Some(done) = workers.join_next().await {
        done.expect("no panic");
    }
    println!("at most {} descriptors", most.load(Ordering::Relaxed));
    accepting.abort();
}

async fn dial_and_drop(addr: SocketAddr, left: Arc<AtomicUsize>, most: Arc<AtomicUsize>) {
    let take = |left: usize| left.checked_sub(1);
    while left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
        .is_ok()
    {
        let connected = KcpStream::connect(addr, &Security::Plaintext).await;
        // Without descriptors this is EMFILE, "too many open files".
        let mut stream = connected.expect("connects");
        let mut answer = [0; 64];
        stream.write_all(&[7; 64]).await.expect("writes");
        stream.flush().await.expect("flushes");
        stream.read_exact(&mut answer).await.expect("reads");
        drop(stream);
        if left.load(Ordering::Relaxed).is_multiple_of(64) {
            let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
            most.fetch_max(open, Ordering::Relaxed);
        }
    }
}

async fn echo(mut stream: KcpStream) {
    let mut buffer = [0; 1024];
    while let Ok(len @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..len]).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}
