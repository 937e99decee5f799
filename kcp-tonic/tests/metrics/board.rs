//! The dashboard for Grafana.

use std::collections::{BTreeMap, BTreeSet};

use kcp_tonic::kcp_tower::kcp_transport::stats::MetricKind;
use serde_json::Value;

#[test]
fn expressions_of_the_dashboard_use_metrics_as_their_type_allows() {
    let kinds: BTreeMap<_, _> = super::all().map(|it| (it.name, it.kind)).collect();
    let mut used = BTreeSet::new();
    for expression in panels().iter().flat_map(expressions) {
        let mut rest = &expression[..];
        while let Some(at) = rest.find("kcp_") {
            let (before, from) = rest.split_at(at);
            let end = from.find(|it: char| !it.is_ascii_alphanumeric() && it != '_');
            let (name, after) = from.split_at(end.unwrap_or(from.len()));
            // A name with `_bucket`, `_sum` or `_count` behind it is none of the list: there are no histograms.
            let kind = kinds
                .get(name)
                .unwrap_or_else(|| panic!("there is no {name}"));
            // Sums of times only grow, but are no integers.
            let grows = *kind == MetricKind::Counter || name.ends_with("_sum_seconds");
            assert_eq!(before.ends_with("rate("), grows, "{expression}");
            let selected = r#"{job=~"$job", instance=~"$instance"}"#;
            let selected = if grows {
                format!("{selected}[$__rate_interval])")
            } else {
                selected.into()
            };
            assert!(after.starts_with(&selected), "{expression}");
            used.insert(name.to_owned());
            rest = after;
        }
    }
    assert!(used.len() > 50, "{used:?}");
}

#[test]
fn panels_of_the_dashboard_have_units_and_places_of_their_own() {
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let place = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{title}");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(places.insert((x, y)), "{title} covers another panel");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(
            UNITS.contains(&panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap()),
            "{title}"
        );
        assert!(
            panel["description"].as_str().unwrap().ends_with('.'),
            "{title}"
        );
        assert!(!expressions(&panel).is_empty(), "{title}");
        let sources = panel["targets"].as_array().unwrap().iter().chain([&panel]);
        for source in sources {
            assert_eq!(source["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
}

#[test]
fn dashboard_shows_what_operators_look_for() {
    let text = panels().iter().flat_map(expressions).collect::<String>();
    let of_calls = ["kcp_balance_", "kcp_channel_", "kcp_server_"];
    let is_of_calls = |name: &str| of_calls.iter().any(|it| name.starts_with(it));
    for metric in super::all().filter(|it| is_of_calls(it.name)) {
        let shown = text.contains(metric.name);
        assert!(shown || NOT_SHOWN.contains(&metric.name), "{}", metric.name);
    }
    for name in [
        "kcp_endpoint_connections",
        "kcp_endpoint_opens_refused_total",
        "kcp_endpoint_unauthentic_datagrams_total",
        "kcp_fec_recovered_packets_total",
        "kcp_smoothed_rtt_seconds",
        "kcp_wire_sent_bytes_total",
    ] {
        assert!(text.contains(name), "{name}");
    }
}

fn panels() -> Vec<Value> {
    let path = super::root().join("docs/grafana/kcp.json");
    let board: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let variables = board["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["datasource", "job", "instance"]);
    board["panels"].as_array().unwrap().clone()
}

fn expressions(panel: &Value) -> Vec<String> {
    let targets = panel["targets"].as_array().into_iter().flatten();
    targets
        .map(|it| it["expr"].as_str().unwrap().to_owned())
        .collect()
}

/// Names of Grafana.
const UNITS: [&str; 8] = [
    "bps",
    "bytes",
    "cps",
    "percentunit",
    "pps",
    "reqps",
    "s",
    "short",
];

/// Details of metrics that are shown.
const NOT_SHOWN: [&str; 5] = [
    "kcp_balance_connections",
    "kcp_balance_ejections_total",
    "kcp_channel_calls_failed_total",
    "kcp_channel_calls_started_total",
    "kcp_server_calls_started_total",
];
