//! The ways to call.

use std::io;
use std::time::Duration;

use kcp_interop::grpc::proto::EchoRequest;
use kcp_interop::grpc::proto::echo_client::EchoClient;
use kcp_tonic::{Config, Failure, FecRatio, KcpChannel, Security, Selection};
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

use super::load::load;
use super::servers::{SERVERS, Servers};
use super::{Error, Options};

/// One way to call.
pub(super) struct Row {
    pub(super) name: &'static str,
    calls: Calls,
    kills: bool,
    /// Whether a call of one server takes three times as long as one of the others.
    slow: bool,
}

enum Calls {
    Kcp(Failure, Selection),
    /// With what tonic has.
    Tcp,
}

pub(super) fn all() -> Vec<Row> {
    let over = Failure::failover().tries(5).budget(0.5, 50);
    let give_up = over.clone().try_timeout(Duration::from_millis(400));
    let hedge = Failure::failbackup_p95().tries(5).budget(0.5, 50);
    vec![
        Row::kcp("failfast", Failure::failfast()),
        Row::kcp("failover", over.clone()),
        Row::kcp("failover, 400 ms a try", give_up),
        Row::kcp("hedging at p95", hedge.clone()),
        Row::kcp("failover, no kills", over.clone()).without_kills(),
        Row::kcp("hedging at p95, no kills", hedge).without_kills(),
        Row {
            name: "peak EWMA, last server 3 times slower, no kills",
            calls: Calls::Kcp(over, Selection::PeakEwma),
            kills: false,
            slow: true,
        },
        Row::tcp("tonic over TCP, `balance_list`"),
        Row::tcp("tonic over TCP, `balance_list`, no kills").without_kills(),
    ]
}

impl Row {
    fn kcp(name: &'static str, failure: Failure) -> Self {
        Self {
            name,
            calls: Calls::Kcp(failure, Selection::RoundRobin),
            kills: true,
            slow: false,
        }
    }

    fn tcp(name: &'static str) -> Self {
        Self {
            name,
            calls: Calls::Tcp,
            kills: true,
            slow: false,
        }
    }

    fn without_kills(self) -> Self {
        Self {
            kills: false,
            ..self
        }
    }

    /// The row of the table.
    pub(super) async fn run(&self, options: &Options) -> Result<String, Error> {
        let work = |at: usize| match (self.slow, at + 1 == SERVERS) {
            (false, _) => 0,
            (true, false) => WORK,
            // The path takes its time as well.
            (true, true) => 3 * (PATH + WORK) - PATH,
        };
        let (cells, shares) = match &self.calls {
            Calls::Kcp(failure, selection) => {
                let servers = Servers::start("kcp", &options.at, work).await?;
                let channel = channel(&servers, failure.clone(), selection.clone())?;
                let client = EchoClient::new(channel.clone());
                let cells = load(options.quick, servers, self.kills, move || {
                    let mut client = client.clone();
                    async move { client.unary_echo(request()).await.map(drop) }
                });
                (cells.await?, shares(&channel))
            }
            Calls::Tcp => {
                let servers = Servers::start("tcp", &options.at, work).await?;
                let endpoint = |addr| Endpoint::from_shared(format!("http://{addr}"));
                let endpoints: Result<Vec<_>, _> = servers.addresses.iter().map(endpoint).collect();
                let client = EchoClient::new(Channel::balance_list(endpoints?.into_iter()));
                let cells = load(options.quick, servers, self.kills, move || {
                    let mut client = client.clone();
                    async move { client.unary_echo(request()).await.map(drop) }
                });
                (cells.await?, "not known".to_owned())
            }
        };
        Ok(format!("| {} {cells} {shares} |", self.name))
    }
}

fn channel(servers: &Servers, failure: Failure, selection: Selection) -> Result<KcpChannel, Error> {
    let uris = servers.addresses.iter().map(|addr| format!("kcp://{addr}"));
    let builder = KcpChannel::builder(&security()?)
        .config(&config()?)
        .failure(failure)
        .selection(selection)
        .idempotent(["/grpc.examples.echo.Echo/"]);
    Ok(builder.connect_list(uris)?)
}

fn shares(channel: &KcpChannel) -> String {
    let stats = channel.balance_stats().unwrap_or_default();
    let all: u64 = stats.endpoints.iter().map(|it| it.tries).sum();
    let share = |tries: u64| format!("{:.1} %", 100.0 * tries as f64 / all.max(1) as f64);
    let shares: Vec<_> = stats.endpoints.iter().map(|it| share(it.tries)).collect();
    shares.join(", ")
}

fn request() -> Request<EchoRequest> {
    let message = "a".repeat(100);
    let mut request = Request::new(EchoRequest { message });
    request.set_timeout(DEADLINE);
    request
}

/// AES-128-GCM and FEC 10/3; a peer that does not answer is given up after three quarters of a second.
pub(super) fn security() -> io::Result<Security> {
    Security::from_password("aes-128-gcm", "secret", b"salt").map_err(io::Error::other)
}

pub(super) fn config() -> Result<Config, Error> {
    let config = Config::builder()
        .fec(FecRatio::new(10, 3)?)
        .connect_timeout(Duration::from_secs(1))
        .keepalive(Duration::from_millis(250))
        .user_timeout(Duration::from_millis(750))
        .idle_timeout(Duration::from_secs(2))
        .build()?;
    Ok(config)
}

const DEADLINE: Duration = Duration::from_secs(5);

/// Of each server in rows with a slow one, in milliseconds.
const WORK: u64 = 20;

/// The round-trip time of the link, in milliseconds.
const PATH: u64 = 20;
