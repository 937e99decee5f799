//! Short sessions of a stock kcp-go client, one at a time.

mod support;

use kcp_interop::case::{Case, Direction, Peer};
use kcp_interop::process::run_client;
use kcp_transport::net::KcpListener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

const CASE: Case = Case::new(Peer::KcpGo, Direction::PeerToRust);

/// kcp-go's Close drops its last acknowledgement, so that the peer of each session stays unvalidated until the
/// user time-out. Above the limit of such sessions, opening takes a round trip and a flush interval of kcp-go
/// longer, and 200 ms longer if the first datagram is not kept.
#[tokio::test]
async fn sessions_closed_at_once_do_not_delay_later_ones() {
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
    // Opens as many within the user time-out as 12 per second for ever.
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
    // What a session may wait for: a challenge of its address, or room.
    let waited_for = [
        stats.addresses_challenged,
        stats.over_rate,
        stats.backlog_full,
    ];
    assert_eq!(waited_for, [0; 3], "{report}\n{stats}");
}
