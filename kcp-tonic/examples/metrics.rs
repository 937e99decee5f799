//! Statistics of a server and a channel for Prometheus, at http://127.0.0.1:9184/metrics.
//!
//! cargo run -p kcp-tonic --example metrics --features metrics

mod common;

use std::time::Duration;

use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use common::helloworld::{HelloRequest, greeter_client::GreeterClient};
use common::{Error, Server, greeter, loopback};
use kcp_tonic::balance::BalanceStats;
use kcp_tonic::kcp_tower::kcp_transport::stats::{EndpointStats, Stats};
use kcp_tonic::{ChannelStats, KcpChannel, KcpIncoming, Security};
use kcp_tonic::{ServerStats, ServerStatsLayer, serve};
use metrics_exporter_prometheus::PrometheusBuilder;

#[tokio::main]
async fn main() -> Result<(), Error> {
    run(tokio::net::TcpListener::bind("127.0.0.1:9184").await?).await
}

/// Calls two servers, also by a method that they do not have, and serves the metrics.
pub(crate) async fn run(page: tokio::net::TcpListener) -> Result<(), Error> {
    let recorder = PrometheusBuilder::new().install_recorder()?;
    Stats::describe();
    EndpointStats::describe();
    BalanceStats::describe();
    ChannelStats::describe();
    ServerStats::describe();
    let other = Server::start(loopback(), Duration::from_millis(20)).await?;
    let incoming = KcpIncoming::bind(loopback(), &Security::Plaintext).await?;
    let addr = incoming.local_addr()?;
    let calls = ServerStatsLayer::new();
    let mut server = incoming.server_builder().layer(calls.clone());
    let server = server.add_service(greeter(addr, Duration::ZERO));
    tokio::spawn(serve(incoming.clone(), server).into_future());
    let channel = KcpChannel::builder(&Security::Plaintext);
    let channel = channel.connect_list([format!("kcp://{addr}"), other.uri()])?;
    let mut client = GreeterClient::new(channel.clone());
    // Set when they are fetched. The labels tell one listener and one channel from others.
    let metrics = get(async move || {
        let listener = incoming.get_ref();
        listener.stats().publish(&[("listener", "greeter")]);
        listener.totals().publish(&[("listener", "greeter")]);
        calls.stats().publish(&[("listener", "greeter")]);
        channel.stats().publish(&[("channel", "greeter")]);
        let balance = channel.balance_stats().unwrap_or_default();
        balance.publish(&[("channel", "greeter".to_owned())]);
        let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4")];
        (kind, recorder.render())
    });
    tokio::spawn(axum::serve(page, Router::new().route("/metrics", metrics)).into_future());
    loop {
        client.say_hello(HelloRequest::default()).await?;
        let _ = client.lots_of_replies(HelloRequest::default()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
