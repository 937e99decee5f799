//! An HTTP/2 server over KCP, and a client that may send anything.
//!
//! Separate from the other targets, because it needs kcp-tower.

use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use kcp_tower::kcp_transport::config::Config;
use kcp_tower::kcp_transport::crypto::Security;
use kcp_tower::kcp_transport::net::{KcpListener, KcpStream};
use kcp_tower::{KcpIncoming, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

#[path = "targets/input.rs"]
#[allow(dead_code, reason = "shared with other targets")]
mod input;
#[path = "targets/network.rs"]
#[allow(dead_code, reason = "shared with other targets")]
mod network;

use input::Input;
use network::{Network, addr};

/// Frames of any bytes after the preface: no panic, and no task hangs.
pub fn http2_over_kcp(data: &[u8]) {
    let mut input = Input::new(data);
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let runtime = runtime.expect("needs nothing of the system");
    let network = Network::new(&[]);
    runtime.block_on(async {
        let security = Security::Plaintext;
        let config = Config::default();
        let listener = KcpListener::builder(&security)
            .config(&config)
            .on_transport(network.host(1));
        let incoming = KcpIncoming::from(listener.expect("in range"));
        let service = tower::make::Shared::new(tower::service_fn(echo));
        let server = tokio::spawn(serve(incoming, service).http2_only().into_future());
        let host = network.host(2);
        let stream = KcpStream::builder(&security)
            .config(&config)
            .transport(host)
            .connect(addr(1))
            .await;
        let mut stream = stream.expect("nothing is lost");
        if input.u8() != 255 {
            stream.write_all(PREFACE).await.expect("connected");
        }
        let mut out = vec![0; 4096];
        while !input.is_empty() {
            let pause = input.u8();
            let chunk = input.chunk();
            if stream.write_all(chunk).await.is_err() || stream.flush().await.is_err() {
                break;
            }
            if pause & 1 == 1 {
                sleep(Duration::from_millis(pause.into())).await;
            }
            while let Ok(Ok(1..)) = timeout(Duration::ZERO, stream.read(&mut out)).await {}
        }
        drop(stream);
        sleep(Duration::from_secs(1)).await;
        assert!(!server.is_finished(), "one client ended the server");
        server.abort();
    });
}

async fn echo(request: Request<Incoming>) -> Result<Response<Incoming>, Infallible> {
    Ok(Response::new(request.into_body()))
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
