//! An axum app, and a hyper client that checks its responses.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{Method, Request, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use kcp_tower::{KcpConnectInfo, KcpConnector, KcpIncoming};
use serde::{Serialize, Serializer};
use tokio::task::JoinSet;

use crate::options::Transport;
use crate::pattern::Pattern;
use crate::report::{Table, one_line};
use crate::stop::Stop;

/// The app: `GET /bytes/N` returns N bytes of the [`Pattern`], `POST /echo` streams the request body back.
pub fn router() -> Router {
    Router::new()
        .route("/bytes/{count}", get(bytes))
        .route("/echo", post(async |body: Body| body))
}

async fn bytes(Path(count): Path<usize>) -> Result<Bytes, StatusCode> {
    if count > MAX_BODY {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    Ok(Pattern::new(count).bytes(0, count))
}

/// Serves the app and requests every size with every method, over HTTP/1.1 and HTTP/2.
///
/// When `stop` is requested, the request in progress is dropped and the completed ones are returned.
///
/// # Errors
///
/// If a socket cannot be bound or the configuration is refused. The error of a single request is in
/// its [`Fetch`].
pub async fn demo(transport: &Transport, stop: &Stop) -> Result<Vec<Fetch>, HttpError> {
    let Transport { security, config } = transport;
    let incoming = KcpIncoming::builder(security)
        .config(config)
        .bind("127.0.0.1:0")
        .await?;
    let server = incoming.local_addr()?;
    let app = router().into_make_service_with_connect_info::<KcpConnectInfo>();
    let mut serving = JoinSet::new();
    serving.spawn(
        kcp_tower::serve(incoming, app)
            .with_graceful_shutdown(pending())
            .into_future(),
    );

    let connector = KcpConnector::builder(security).config(config).build()?;
    let mut fetches = Vec::new();
    for version in [Version::HTTP_11, Version::HTTP_2] {
        fetches.extend(fetch_all(&connector, server, version, stop).await?);
    }
    Ok(fetches)
}

/// Requests every size with every method over one version of HTTP, until `stop` is requested.
///
/// # Errors
///
/// If a request cannot be built. Errors of sent requests are in their [`Fetch`].
pub async fn fetch_all(
    connector: &KcpConnector,
    server: SocketAddr,
    version: Version,
    stop: &Stop,
) -> Result<Vec<Fetch>, HttpError> {
    let client: HttpClient = connector
        .client_builder()
        .http2_only(version == Version::HTTP_2)
        .build(connector.clone());
    let pattern = Pattern::new(MAX_BODY);
    let mut fetches = Vec::new();
    for bytes in SIZES {
        let get = Request::get(format!("http://{server}/bytes/{bytes}"));
        let get = get.body(Full::default())?;
        let post = Request::post(format!("http://{server}/echo"));
        let post = post.body(Full::new(pattern.bytes(0, bytes)))?;
        for request in [get, post] {
            let method = request.method().clone();
            let start = Instant::now();
            let checked = fetch(&client, request, version, bytes, &pattern);
            let checked = tokio::select! {
                checked = tokio::time::timeout(REQUEST_TIMEOUT, checked) => checked,
                () = stop.requested() => return Ok(fetches),
            };
            fetches.push(Fetch {
                version,
                method,
                bytes,
                elapsed: start.elapsed(),
                problem: checked
                    .unwrap_or_else(|_| Err("timed out".to_owned()))
                    .err(),
            });
        }
    }
    Ok(fetches)
}

/// One request and its result.
#[derive(Clone, Debug, Serialize)]
pub struct Fetch {
    /// HTTP version.
    #[serde(serialize_with = "as_debug")]
    pub version: Version,
    /// GET fetches the pattern, POST echoes it.
    #[serde(serialize_with = "as_debug")]
    pub method: Method,
    /// Expected length of the body, in bytes.
    pub bytes: usize,
    /// Time from sending the request until the last byte of the response.
    #[serde(rename = "micros", serialize_with = "as_micros")]
    pub elapsed: Duration,
    /// The error, or `None` if the response was correct.
    pub problem: Option<String>,
}

/// The summary that the program prints at the end.
#[derive(Clone, Debug, Serialize)]
pub struct Summary<'a> {
    /// Requests made.
    pub requests: usize,
    /// Requests that failed or had a wrong response.
    pub mismatches: usize,
    /// The requests, in the order in which they were made.
    pub results: &'a [Fetch],
}

impl<'a> Summary<'a> {
    /// Summarizes requests.
    #[must_use]
    pub fn new(results: &'a [Fetch]) -> Self {
        let wrong = results.iter().filter(|fetch| fetch.problem.is_some());
        Self {
            requests: results.len(),
            mismatches: wrong.count(),
            results,
        }
    }

    /// The summary as a table.
    #[must_use]
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table.row([&"version", &"method", &"bytes", &"time", &"result"]);
        for fetch in self.results {
            let time = format!("{:.1} ms", fetch.elapsed.as_secs_f64() * 1e3);
            table.row([
                &format!("{:?}", fetch.version),
                &fetch.method,
                &fetch.bytes,
                &time,
                &fetch.problem.as_deref().unwrap_or("ok"),
            ]);
        }
        table
    }
}

/// Why the demonstration could not make its requests.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// A socket failed.
    #[error("socket failed")]
    Io(#[from] io::Error),
    /// A request is not valid HTTP.
    #[error("cannot build the request")]
    Request(#[from] http::Error),
    /// The options contradict each other.
    #[error(transparent)]
    Config(#[from] kcp_tower::ConfigError),
}

type HttpClient = Client<KcpConnector, Full<Bytes>>;

async fn fetch(
    client: &HttpClient,
    request: Request<Full<Bytes>>,
    version: Version,
    expected: usize,
    pattern: &Pattern,
) -> Result<(), String> {
    let response = client.request(request).await.map_err(|e| one_line(&e))?;
    if response.status() != StatusCode::OK {
        return Err(format!("status {}", response.status()));
    }
    if response.version() != version {
        return Err(format!("response has version {:?}", response.version()));
    }
    let mut body = response.into_body();
    let mut position = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| one_line(&error))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if !pattern.matches(position, &data) {
            return Err(format!("wrong bytes after offset {position}"));
        }
        position += data.len() as u64;
    }
    if position == expected as u64 {
        Ok(())
    } else {
        Err(format!("{position} bytes instead of {expected}"))
    }
}

fn as_debug<T: std::fmt::Debug, S: Serializer>(value: &T, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(&format_args!("{value:?}"))
}

fn as_micros<S: Serializer>(elapsed: &Duration, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_u64(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
}

/// Body sizes in bytes: from empty to more than the windows of KCP and HTTP/2 hold.
pub const SIZES: [usize; 6] = [0, 1, 1 << 10, 64 << 10, 1 << 20, MAX_BODY];

/// Largest body that the app generates, in bytes.
const MAX_BODY: usize = 16 << 20;

/// Time-out of a request: far longer than the largest body takes on loopback.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
