//! Metrics: the page that Prometheus fetches from the example, the tables in docs/metrics.md, and the
//! dashboard for Grafana.
#![allow(clippy::unwrap_used)]

mod board;
#[path = "../../examples/metrics.rs"]
#[allow(dead_code, reason = "its main function listens on a fixed port")]
mod example;
mod page;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use kcp_tonic::balance::BalanceStats;
use kcp_tonic::kcp_tower::kcp_transport::stats::{EndpointStats, Metric, MetricKind, Stats};
use kcp_tonic::{ChannelStats, ServerStats};
use page::Page;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The only test that installs a recorder, of which a process has one.
#[tokio::test]
async fn page_for_prometheus_has_every_metric_with_its_description() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let program = tokio::spawn(example::run(listener));
    let last = Mutex::new(Vec::new());
    // Some statistics are known after a few calls only. The program makes them while the page is fetched.
    let complete = async {
        loop {
            let page = Page::parse(&fetch(addr).await);
            let named: BTreeSet<&str> = page.samples.keys().map(String::as_str).collect();
            if named == all().map(|it| it.name).collect()
                && page.sum("kcp_balance_tries_total") > 4.0
            {
                return page;
            }
            let missing = all().map(|it| it.name).filter(|it| !named.contains(it));
            last.lock().unwrap().clone_from(&missing.collect());
        }
    };
    let page = tokio::time::timeout(Duration::from_secs(60), complete).await;
    program.abort();
    let page = page.unwrap_or_else(|_| panic!("not exported: {last:?}"));
    for metric in all() {
        let name = metric.name;
        assert_eq!(page.types[name], kind(&metric), "{name}");
        assert_eq!(page.helps[name], metric.description, "{name}");
        let is_of_channel = ["kcp_balance_", "kcp_channel_"]
            .iter()
            .any(|it| name.starts_with(it));
        let own = if is_of_channel { "channel" } else { "listener" };
        let expected: BTreeSet<_> = metric.labels.iter().copied().chain([own]).collect();
        for (labels, value) in &page.samples[name] {
            let labels: BTreeSet<_> = labels.keys().map(String::as_str).collect();
            assert_eq!(labels, expected, "{name}");
            assert!(*value >= 0.0, "{name}: {value}");
        }
    }
    for name in [
        "kcp_read_bytes_total",
        "kcp_smoothed_rtt_seconds",
        "kcp_endpoint_connections",
        "kcp_channel_call_duration_sum_seconds",
        "kcp_server_calls_started_total",
    ] {
        assert!(page.sum(name) > 0.0, "{name}");
    }
    let codes = |name: &str| {
        let labels = page.samples[name].iter().map(|(labels, _)| &labels["code"]);
        labels.map(String::as_str).collect::<BTreeSet<_>>()
    };
    // Ok and Unimplemented.
    let expected = BTreeSet::from(["0", "12"]);
    assert_eq!(codes("kcp_channel_calls_ended_total"), expected);
    // One of both servers, which may have got calls of one kind only.
    assert!(codes("kcp_server_calls_ended_total").is_subset(&expected));
    assert_eq!(
        page.samples["kcp_balance_tries_total"].len(),
        2,
        "endpoints"
    );
}

#[test]
fn table_in_the_documentation_lists_all_metrics() {
    let path = root().join("docs/metrics.md");
    let document = fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(BEGIN).expect("marks the tables");
    let (tables, after) = rest.split_once(END).expect("marks the end of the tables");
    let expected = expected_tables();
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(path, [before, BEGIN, &expected, END, after].concat()).unwrap();
    } else {
        assert_eq!(tables, expected, "run this test with UPDATE_GENERATED=1");
    }
}

fn expected_tables() -> String {
    let mut text = String::new();
    for (heading, metrics) in [
        ("Connections: `Stats`", Stats::metrics().collect::<Vec<_>>()),
        (
            "Endpoints: `EndpointStats`",
            EndpointStats::metrics().collect(),
        ),
        (
            "Balancers: `BalanceStats`",
            BalanceStats::metrics().collect(),
        ),
        (
            "Channels: `ChannelStats`",
            ChannelStats::metrics().collect(),
        ),
        ("Servers: `ServerStats`", ServerStats::metrics().collect()),
    ] {
        text += &format!(
            "\n### {heading}\n\n| name | type | unit | labels | meaning |\n|---|---|---|---|---|\n"
        );
        for metric in metrics {
            let unit = match metric.name.trim_end_matches("_total") {
                it if it.ends_with("_seconds") => "seconds",
                it if it.ends_with("_bytes") => "bytes",
                _ => "",
            };
            let labels: Vec<_> = metric.labels.iter().map(|it| format!("`{it}`")).collect();
            let (name, labels) = (metric.name, labels.join(", "));
            let row = format!(
                "| `{name}` | {} | {unit} | {labels} | {} |",
                kind(&metric),
                metric.description
            );
            text += &row.replace("|  |", "| |").replace("|  |", "| |");
            text.push('\n');
        }
    }
    text.push('\n');
    text
}

fn all() -> impl Iterator<Item = Metric> {
    let transport = Stats::metrics().chain(EndpointStats::metrics());
    let channel = BalanceStats::metrics().chain(ChannelStats::metrics());
    transport.chain(channel).chain(ServerStats::metrics())
}

fn kind(metric: &Metric) -> &'static str {
    match metric.kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        other => panic!("{other:?} is not in the table"),
    }
}

async fn fetch(addr: SocketAddr) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = "GET /metrics HTTP/1.0\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    body.to_owned()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

const BEGIN: &str = "<!-- tables, held by kcp-tonic/tests/metrics -->\n";
const END: &str = "<!-- end of the tables -->\n";
