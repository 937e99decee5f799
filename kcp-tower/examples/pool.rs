//! hyper's client and its pool: requests take a free connection, or make one, and keep it for others.
//!
//! cargo run -p kcp-tower --example pool --features axum

use axum::{Router, routing::get};
use bytes::Bytes;
use futures_util::future::try_join_all;
use http::Uri;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use kcp_tower::{BoxError, KcpConnector, KcpIncoming, Security, serve};

#[tokio::main]
pub(crate) async fn main() -> Result<(), BoxError> {
    let security = Security::from_password("aes-128-gcm", "a password", Security::KCPTUN_SALT)?;
    let incoming = KcpIncoming::bind("127.0.0.1:0", &security).await?;
    let uri: Uri = format!("http://{}/", incoming.local_addr()?).parse()?;
    let router = Router::new().route("/", get(async || "hello"));
    tokio::spawn(serve(incoming, router.into_make_service()).into_future());

    for http2_only in [false, true] {
        let connector = KcpConnector::new(&security);
        let client: Client<_, Empty<Bytes>> = connector
            .client_builder()
            .http2_only(http2_only)
            .pool_max_idle_per_host(4)
            .build(connector.clone());
        println!("{}:", if http2_only { "HTTP/2" } else { "HTTP/1" });

        for _ in 0..10 {
            fetch(&client, &uri).await?;
        }
        let connections = connector.connections().len();
        println!("  ten requests one after the other: {connections} connections");

        // HTTP/1 needs a connection for each, HTTP/2 sends them all over one.
        try_join_all((0..10).map(|_| fetch(&client, &uri))).await?;
        let connections = connector.connections().len();
        println!("  ten requests at once: {connections} connections");
    }
    Ok(())
}

async fn fetch(client: &Client<KcpConnector, Empty<Bytes>>, uri: &Uri) -> Result<Bytes, BoxError> {
    let response = client.get(uri.clone()).await?;
    Ok(response.into_body().collect().await?.to_bytes())
}
