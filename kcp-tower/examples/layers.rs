//! Layers around a server and a client: over KCP as over TCP.
//!
//! cargo run -p kcp-tower --example layers --features axum

use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::{Router, routing::get};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use kcp_tower::{BoxError, KcpConnectInfo, KcpConnector, KcpIncoming, Security, serve};
use tower::{Service, ServiceBuilder, ServiceExt};

#[tokio::main]
pub(crate) async fn main() -> Result<(), BoxError> {
    let security = Security::from_password("aes-128-gcm", "a password", Security::KCPTUN_SALT)?;
    let incoming = KcpIncoming::bind("127.0.0.1:0", &security).await?;
    let server = incoming.local_addr()?;
    let router = Router::new().route("/", get(async || "hello"));
    let router = router.layer(from_fn(log));
    tokio::spawn(serve(incoming, router.into_make_service()).into_future());

    let connector = KcpConnector::new(&security);
    let builder = connector.client_builder();
    let client = builder.build::<_, Empty<Bytes>>(connector);
    let mut client = ServiceBuilder::new()
        .concurrency_limit(8)
        .timeout(Duration::from_secs(5))
        .service(client);
    for _ in 0..3 {
        let request = http::Request::get(format!("http://{server}/"));
        let request = request.body(Empty::new())?;
        let response = client.ready().await?.call(request).await?;
        let body = response.into_body().collect().await?.to_bytes();
        println!("{}", String::from_utf8_lossy(&body));
    }
    Ok(())
}

/// Every request has a description of its connection in its extensions, with live statistics.
async fn log(request: Request, next: Next) -> Response {
    let info = request.extensions().get::<KcpConnectInfo>().cloned();
    let response = next.run(request).await;
    if let Some(info) = info {
        let round_trip = info.stats().smoothed_rtt;
        println!(
            "{} from {}: {round_trip:?}",
            response.status(),
            info.peer_addr()
        );
    }
    response
}
