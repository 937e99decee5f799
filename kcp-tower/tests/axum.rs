//! axum over KCP, under `axum::serve` and under `serve`.

mod support;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use kcp_tower::KcpConnectInfo;
use support::{HttpClient, Setup, pattern};
use tokio::sync::oneshot;

fn router() -> Router {
    Router::new()
        .route("/echo", post(|body: Bytes| async move { body }))
        .route(
            "/info",
            get(
                |ConnectInfo(info): ConnectInfo<KcpConnectInfo>| async move {
                    info.peer_addr().to_string()
                },
            ),
        )
        .route(
            "/addr",
            get(|ConnectInfo(addr): ConnectInfo<SocketAddr>| async move { addr.to_string() }),
        )
}

/// The response's body, and what our own address looked like from here.
async fn fetch(client: &HttpClient, uri: String) -> (Bytes, String) {
    let response = client.get(uri.parse().unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let info = response.extensions().get::<KcpConnectInfo>().unwrap();
    let local = info.local_addr().unwrap().to_string();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (body, local)
}

#[tokio::test]
async fn handlers_learn_about_the_connection() {
    let setup = Setup::plaintext();
    let (incoming, addr) = setup.incoming().await;
    let service = router().into_make_service_with_connect_info::<KcpConnectInfo>();
    let server = tokio::spawn(axum::serve(incoming, service).into_future());
    for http2_only in [false, true] {
        let client = setup.client(http2_only);
        let (body, local) = fetch(&client, format!("http://{addr}/info")).await;
        assert_eq!(body, local);
    }
    server.abort();
}

#[tokio::test]
async fn handlers_of_a_tapped_listener_learn_the_address() {
    let setup = Setup::plaintext();
    let (incoming, addr) = setup.incoming().await;
    let service = router().into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(axum::serve(incoming.tap_io(|_| {}), service).into_future());
    let (body, local) = fetch(&setup.client(true), format!("http://{addr}/addr")).await;
    assert_eq!(body, local);
    server.abort();
}

#[tokio::test]
async fn routers_run_under_serve() {
    let setup = Setup::plaintext();
    for http2_only in [false, true] {
        let (incoming, addr) = setup.incoming().await;
        let service = router().into_make_service_with_connect_info::<SocketAddr>();
        let server = tokio::spawn(kcp_tower::serve(incoming, service).into_future());
        let client = setup.client(http2_only);
        let (body, local) = fetch(&client, format!("http://{addr}/addr")).await;
        assert_eq!(body, local);
        server.abort();
    }
    let (incoming, addr) = setup.incoming().await;
    let service = router().into_make_service_with_connect_info::<KcpConnectInfo>();
    let server = tokio::spawn(kcp_tower::serve(incoming, service).into_future());
    let (body, local) = fetch(&setup.client(true), format!("http://{addr}/info")).await;
    assert_eq!(body, local);
    server.abort();
}

#[tokio::test]
async fn graceful_shutdown_completes() {
    let setup = Setup::plaintext();
    let (incoming, addr) = setup.incoming().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(
        axum::serve(incoming, router())
            .with_graceful_shutdown(async { stopped.await.unwrap_or_default() })
            .into_future(),
    );
    let client = setup.client(true);
    let sent = pattern(1 << 20);
    let request = Request::post(format!("http://{addr}/echo"))
        .body(Full::new(sent.clone()))
        .unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        sent
    );
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}
