//! h2spec, the conformance test of HTTP/2, against our server over KCP and the same server over TCP.
//!
//! `cargo test -p kcp-interop --test h2spec -- --nocapture` prints the outcome of each of its cases.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use kcp_interop::go::{self, GoError};
use kcp_tonic::kcp_tower::http2::Windows;
use kcp_tonic::kcp_tower::{self, KcpIncoming};
use kcp_transport::crypto::{AeadKey, Security};
use kcp_transport::net::KcpStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tower::make::Shared;

/// The newest release that Go modules accept: later ones have no `/v2` in their path.
const MODULE: &str = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible";

/// How h2spec ends for each of its cases.
type Outcomes = BTreeMap<String, &'static str>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_over_kcp_conforms_as_over_tcp() {
    let Some(program) = h2spec() else { return };
    let (kcp, windows) = serve_kcp().await;
    let bridge = serve_bridge(kcp).await;
    let tcp = serve_tcp(windows).await;
    let over_kcp = run(&program, bridge).await;
    let over_tcp = run(&program, tcp).await;
    for (case, outcome) in &over_kcp {
        println!("{outcome:7} {case}");
    }
    assert!(over_kcp.len() > 140, "{} cases", over_kcp.len());
    let passed = over_kcp.values().filter(|it| **it == "passed").count();
    println!("{passed} of {} passed over KCP", over_kcp.len());
    assert_eq!(over_kcp, over_tcp);
}

/// The program, or `None` on a machine without Go, except in continuous integration.
fn h2spec() -> Option<PathBuf> {
    match go::install(MODULE, "h2spec") {
        Ok(program) => Some(program),
        Err(error @ GoError::Missing) if std::env::var_os("CI").is_none() => {
            let _ = writeln!(io::stderr(), "NOT TESTED: h2spec: {error}");
            None
        }
        Err(error) => panic!("cannot build h2spec: {error}"),
    }
}

fn security() -> Security {
    Security::Aead(AeadKey::aes_128_gcm(&[7; 16]).unwrap())
}

async fn hello(_request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello")))
}

/// Returns the address, and the windows of HTTP/2 that the server announces.
async fn serve_kcp() -> (SocketAddr, Windows) {
    let builder = KcpIncoming::builder(&security());
    let incoming = builder.bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (addr, windows) = (incoming.local_addr().unwrap(), incoming.http2_windows());
    let service = Shared::new(tower::service_fn(hello));
    tokio::spawn(
        kcp_tower::serve(incoming, service)
            .http2_only()
            .into_future(),
    );
    (addr, windows)
}

/// A TCP server whose connections each go on over KCP.
async fn serve_bridge(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            tokio::spawn(bridge(tcp, server));
        }
    });
    addr
}

async fn bridge(mut tcp: TcpStream, server: SocketAddr) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut kcp = KcpStream::connect(server, &security()).await?;
    // Ends of either side are passed on; an error closes both.
    tokio::io::copy_bidirectional(&mut tcp, &mut kcp).await?;
    Ok(())
}

async fn serve_tcp(windows: Windows) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            tcp.set_nodelay(true).unwrap();
            let mut server = auto::Builder::new(TokioExecutor::new()).http2_only();
            server
                .http2()
                .initial_stream_window_size(windows.stream)
                .initial_connection_window_size(windows.connection);
            tokio::spawn(async move {
                let service = TowerToHyperService::new(tower::service_fn(hello));
                server.serve_connection(TokioIo::new(tcp), service).await
            });
        }
    });
    addr
}

/// Runs all cases against a server.
async fn run(program: &PathBuf, server: SocketAddr) -> Outcomes {
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("report.xml");
    let child = Command::new(program)
        .args(["-h", "127.0.0.1", "-p", &server.port().to_string()])
        .arg("-j")
        .arg(&report)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .status();
    // The exit status is 1 if a case fails.
    let ended = tokio::time::timeout(LIMIT, child).await;
    ended.expect("h2spec ends").unwrap();
    outcomes(&std::fs::read_to_string(report).unwrap())
}

/// The outcomes in a JUnit report.
fn outcomes(report: &str) -> Outcomes {
    let cases = report.split("<testcase ").skip(1);
    let outcomes = cases.map(|case| {
        let attribute = |name: &str| {
            let (_, value) = case.split_once(&format!("{name}=\"")).unwrap();
            value.split('"').next().unwrap()
        };
        let outcome = if case.contains("<failure>") {
            "failed"
        } else if case.contains("<skipped>") {
            "skipped"
        } else {
            "passed"
        };
        let name = format!("{} {}", attribute("package"), attribute("classname"));
        (name, outcome)
    });
    outcomes.collect()
}

/// Far more than all cases take.
const LIMIT: Duration = Duration::from_secs(300);
