//! gRPC's route guide: all four kinds of calls.
//!
//! cargo run -p kcp-tonic --example routeguide

mod service;

use kcp_tonic::{KcpChannel, KcpIncoming, Security, serve, server_builder};
use routeguide::route_guide_client::RouteGuideClient;
use routeguide::route_guide_server::RouteGuideServer;
use routeguide::{Point, Rectangle, RouteNote};

/// Generated from `proto/routeguide.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod routeguide {
    include!("../generated/routeguide.rs");
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let security = Security::from_password("aes-128-gcm", "a password", Security::KCPTUN_SALT)?;
    let incoming = KcpIncoming::bind("127.0.0.1:0", &security).await?;
    let server = incoming.local_addr()?;
    let router = server_builder().add_service(RouteGuideServer::new(service::Guide));
    tokio::spawn(serve(incoming, router).into_future());

    let channel = KcpChannel::connect(format!("kcp://{server}"), &security).await?;
    let mut client = RouteGuideClient::new(channel);
    let point = |latitude, longitude| Point {
        latitude,
        longitude,
    };

    let feature = client.get_feature(point(1, 2)).await?.into_inner();
    println!("one feature: {}", feature.name);

    let area = Rectangle {
        lo: Some(point(0, 0)),
        hi: Some(point(3, 0)),
    };
    let mut features = client.list_features(area).await?.into_inner();
    while let Some(feature) = features.message().await? {
        println!("one of several features: {}", feature.name);
    }

    let route = tokio_stream::iter((0..10).map(move |it| point(it, it)));
    let summary = client.record_route(route).await?.into_inner();
    println!("a route of {} points", summary.point_count);

    let notes = ["here", "there"].map(|it| RouteNote { message: it.into() });
    let answers = client.route_chat(tokio_stream::iter(notes)).await?;
    let mut answers = answers.into_inner();
    while let Some(note) = answers.message().await? {
        println!("an answer: {}", note.message);
    }
    Ok(())
}
