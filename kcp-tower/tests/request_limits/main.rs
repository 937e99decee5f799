//! Limits of requests, and their answers. All of them are those of hyper and axum.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use kcp_tower::serve;
use support::network::{Link, Network};
use support::{HttpClient, Setup};

/// A server that takes 10 headers in 8 KiB for HTTP/1, 8 KiB of them for HTTP/2, and bodies of 1 KiB.
fn limited() -> (HttpClient, HttpClient, String) {
    let network = Network::new(Link::LAN);
    let host = network.host();
    let uri = format!("http://{}/", host.addr());
    let setup = Setup::plaintext();
    let router = Router::new()
        .route("/", post(|body: Bytes| async move { body }))
        .layer(DefaultBodyLimit::max(1024));
    let serving = serve(setup.incoming_on(host), router.into_make_service());
    let serving = serving.configure(|http| {
        http.http1().max_headers(10).max_buf_size(8 << 10);
        http.http2().max_header_list_size(8 << 10);
    });
    tokio::spawn(serving.into_future());
    let connector = setup.connector_in(&network);
    let client = |http2| support::client(&connector, http2);
    (client(false), client(true), uri)
}

async fn post_with(client: &HttpClient, uri: &str, headers: usize, body: usize) -> StatusCode {
    let mut request = Request::post(uri);
    for number in 0..headers {
        request = request.header(format!("x-{number}"), "a".repeat(900));
    }
    let request = request.body(Full::from(vec![0; body])).unwrap();
    client.request(request).await.unwrap().status()
}

#[tokio::test(start_paused = true)]
async fn too_many_headers_are_answered_with_431_and_too_long_bodies_with_413() {
    let (http1, http2, uri) = limited();
    for client in [http1, http2] {
        assert_eq!(post_with(&client, &uri, 3, 1024).await, StatusCode::OK);
        let too_large = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        assert_eq!(post_with(&client, &uri, 12, 0).await, too_large);
        let too_long = StatusCode::PAYLOAD_TOO_LARGE;
        assert_eq!(post_with(&client, &uri, 3, 1025).await, too_long);
        // The connection is usable, or another one is made.
        assert_eq!(post_with(&client, &uri, 3, 1024).await, StatusCode::OK);
    }
}
