//! Short sessions of stock kcp-go clients, one after the other.

mod support;

use kcp_interop::case::{Case, Direction, Peer};
use kcp_interop::process::run_client;
use kcp_transport::net::KcpListener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

const CASE: Case = Case::new(Peer::KcpGo, Direction::PeerToRust);

/// kcp-go's Close drops its last acknowledgement, so each of these sessions stays with a peer that is
/// not validated, until the user time-out. Above the limit of those, a session begins a round trip and
/// an interval of kcp-go's flushes later, and 200 ms later if its first datagram is not kept.
#[tokio::test]
async fn sessions_that_are_closed_at_once_delay_no_later_ones() {
    let Some(programs) = support::peers("short sessions") else {
        return;
    };
    let security = CASE.security().expect("known");
    let listener = KcpListener::builder(&security)
        .config(&CASE.config().expect("in range"))
        .bind("127.0.0.1:0")
        .await
        .expect("a socket");
    let mut args = CASE.peer_args("echo-cycles");
    args.push(format!(
        "--connect={}",
        listener.local_addr().expect("bound")
    ));
    // As many as 12 a second open within the user time-out.
    args.extend(["--cycles=360", "--rate=80"].map(str::to_owned));
    let client = run_client::<serde_json::Value>(programs.of(CASE.peer), &args);
    let mut echoing = JoinSet::new();
    tokio::pin!(client);
    let report = loop {
        tokio::select! {
            report = &mut client => break report.expect("reports"),
            accepted = listener.accept() => {
                let (mut stream, _) = accepted.expect("is open");
                echoing.spawn(async move {
                    let mut buffer = [0; 1000];
                    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                        if stream.write_all(&buffer[..read]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        }
    };
    let stats = listener.stats();
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["slow"], 0, "{report}\n{stats}");
    assert_eq!(stats.addresses_challenged, 0, "{report}\n{stats}");
}
