//! Statistics of a server and of a channel for Prometheus, which fetches them over HTTP.
//!
//! cargo run -p kcp-tonic --example metrics --features metrics

mod common;

use std::time::Duration;

use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use common::helloworld::{HelloRequest, greeter_client::GreeterClient};
use common::{Error, Server, greeter, loopback};
use kcp_tonic::balance::BalanceStats;
use kcp_tonic::kcp_tower::kcp_transport::stats::{EndpointStats, Stats};
use kcp_tonic::{KcpChannel, KcpIncoming, Security, serve};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let page = TcpListener::bind("127.0.0.1:9184").await?;
    println!("http://{}/metrics", page.local_addr()?);
    run(page).await
}

/// Calls two servers ten times a second, and serves the metrics of one of them and of the channel.
pub(crate) async fn run(page: TcpListener) -> Result<(), Error> {
    let recorder = PrometheusBuilder::new().install_recorder()?;
    Stats::describe();
    EndpointStats::describe();
    BalanceStats::describe();
    let other = Server::start(loopback(), Duration::from_millis(20)).await?;
    let incoming = KcpIncoming::bind(loopback(), &Security::Plaintext).await?;
    let addr = incoming.local_addr()?;
    let service = greeter(addr, Duration::ZERO);
    let router = incoming.server_builder().add_service(service);
    tokio::spawn(serve(incoming.clone(), router).into_future());
    let channel = KcpChannel::builder(&Security::Plaintext);
    let channel = channel.connect_list([format!("kcp://{addr}"), other.uri()])?;
    let mut client = GreeterClient::new(channel.clone());

    // Published when they are fetched. The labels tell one listener and one channel from others.
    let metrics = get(async move || {
        let listener = incoming.get_ref();
        listener.stats().publish(&[("listener", "greeter")]);
        listener.totals().publish(&[("listener", "greeter")]);
        if let Some(stats) = channel.balance_stats() {
            stats.publish(&[("channel", "greeter".to_owned())]);
        }
        let head = [(CONTENT_TYPE, "text/plain; version=0.0.4")];
        (head, recorder.render())
    });
    tokio::spawn(axum::serve(page, Router::new().route("/metrics", metrics)).into_future());
    loop {
        client.say_hello(HelloRequest::default()).await?;
        // An error, to be counted: the servers do not implement this method.
        let _ = client.lots_of_replies(HelloRequest::default()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
