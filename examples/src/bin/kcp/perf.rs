//! `kcp perf`: its options, and what it prints.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use kcp_examples::address::HostPort;
use kcp_examples::cli::{self, Failure, ServerArgs};
use kcp_examples::options::{self, Transport, within};
use kcp_examples::perf::client::{self, Connection, Outcome, Plan};
use kcp_examples::perf::meter::Direction;
use kcp_examples::perf::output::{self, Document, ServerLine};
use kcp_examples::perf::server::{self, ConnectionEvent, Event, ServeError};
use kcp_examples::perf::units;
use kcp_examples::perf::wire::{
    Kind, Limit, MAX_CONNECTIONS, MAX_LENGTH, MAX_MESSAGE, MIN_MESSAGE, Request, Side,
};
use kcp_examples::report::one_line;
use kcp_examples::stop::Stop;
use kcp_transport::net::KcpListener;

/// The subcommands of `kcp perf`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Perf {
    /// Run tests for clients, and answer kcp ping, until Ctrl-C or SIGTERM
    Server {
        #[command(flatten)]
        server: ServerArgs,

        /// End after the first client
        #[arg(short = '1', long)]
        one_off: bool,

        /// Seconds between reports; 0 for the results at the end only
        #[arg(short, long, value_name = "SECONDS", default_value_t = 1.0, value_parser = cli::interval)]
        interval: f64,

        #[command(flatten)]
        transport: options::Args,
    },
    /// Run a test with a server. Ctrl-C prints the results so far
    Client {
        #[command(flatten)]
        client: Box<ClientArgs>,

        #[command(flatten)]
        transport: Box<options::Args>,
    },
}

/// Options of `kcp perf client`.
#[derive(Debug, clap::Args)]
pub(crate) struct ClientArgs {
    /// Host name or IP address of the server, and its UDP port
    #[arg(value_name = "HOST:PORT")]
    server: HostPort,

    /// Seconds to send for, up to a day
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10.0, value_parser = within(0.001..=86_400.0))]
    time: f64,

    /// Bytes to send on each connection and in each direction, instead of --time
    #[arg(short = 'n', long, value_name = "N[KMG]", value_parser = units::parse_bytes)]
    #[arg(conflicts_with = "time")]
    bytes: Option<u64>,

    /// Number of connections at the same time
    #[arg(short = 'P', long, value_name = "N", default_value_t = 1, value_parser = within(1..=MAX_CONNECTIONS))]
    parallel: u32,

    /// The server sends and the client receives
    #[arg(short = 'R', long)]
    reverse: bool,

    /// Both sides send at the same time
    #[arg(long, conflicts_with = "reverse")]
    bidir: bool,

    /// Send messages at a fixed rate, which the server sends back, and measure round trips and each way
    #[arg(long, conflicts_with_all = ["reverse", "bidir", "bitrate"])]
    messages: bool,

    /// Messages per second on each connection, with --messages
    #[arg(long, value_name = "N", default_value_t = 60.0, value_parser = within(0.1..=10_000.0))]
    #[arg(requires = "messages")]
    rate: f64,

    /// Bytes per write, up to 1M. Default: 16K, or less with a low --bitrate. With --messages, bytes per message:
    /// 25 to 16K, by default 200
    #[arg(short, long, value_name = "N[KM]", value_parser = units::parse_bytes)]
    length: Option<u64>,

    /// Seconds between reports; 0 for a summary only
    #[arg(short, long, value_name = "SECONDS", default_value_t = 1.0, value_parser = cli::interval)]
    interval: f64,

    /// Seconds at the beginning that do not count, in addition to --time
    #[arg(short = 'O', long, value_name = "SECONDS", default_value_t = 0.0, value_parser = within(0.0..=3600.0))]
    omit: f64,

    /// Limit of each connection and direction in bits per second. Default: none
    #[arg(short, long, value_name = "N[KMG]", value_parser = units::parse_rate)]
    bitrate: Option<u64>,

    /// Print one JSON document instead of text
    #[arg(short = 'J', long)]
    json: bool,
}

/// The address on which the server listens by default.
pub(crate) const LISTEN: &str = "[::]:4000";

impl Perf {
    /// Runs the subcommand.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Server {
                server,
                one_off,
                interval,
                transport,
            } => {
                let interval = if server.json { 0.0 } else { interval };
                let options = server::Options {
                    once: one_off,
                    interval: Duration::from_secs_f64(interval),
                };
                run_server(server, options, transport).await
            }
            Self::Client { client, transport } => {
                let plan = client.plan(transport.transport()?)?;
                client.run(plan).await
            }
        }
    }
}

async fn run_server(
    server: ServerArgs,
    options: server::Options,
    transport: options::Args,
) -> Result<(), Failure> {
    let Transport { security, config } = transport.transport()?;
    let address = server.address().await?;
    let stop = server.stop();
    let listener = KcpListener::builder(&security)
        .config(&config)
        .bind(address)
        .await;
    let listener = listener.map_err(server.cannot_listen())?;
    server.announce(listener.local_addr().map_err(server.cannot_listen())?)?;
    let served = server::serve(&listener, options, &stop, |event| match event {
        Event::Connection(event) => print_event(&event, server.json),
        Event::Begin(kind) => cli::print(&output::header(kind, Side::Server)),
        Event::Interval(kind, interval) => {
            cli::print(&output::interval(kind, Side::Server, &interval))
        }
        Event::Sum(kind, figures) => cli::print(&output::server_sum(
            kind,
            figures.each_ref().map(Option::as_ref),
        )),
    });
    let tests = served.await.map_err(|ended| match ended {
        ServeError::Event(failure) => failure,
        ServeError::Accept(error) => Failure::io("cannot accept")(error),
    })?;
    cli::note(&format!("stopped; tests run: {tests}"))
}

fn print_event(event: &server::Connection, json: bool) -> Result<(), Failure> {
    let server::Connection { id, peer, kind } = event;
    match kind {
        ConnectionEvent::Refused(error) => {
            cli::note(&format!("[{id:>3}] {peer}: {}", one_line(error)))
        }
        ConnectionEvent::Accepted(_) if json => Ok(()),
        ConnectionEvent::Accepted(request) => {
            cli::print(&output::server_accepted(*id, *peer, request))
        }
        ConnectionEvent::Ended {
            request,
            meter,
            error,
        } => {
            let [sent, received] = Direction::BOTH.map(|it| meter.figures(it));
            let kind = request.kind;
            let received =
                matches!(kind, Kind::Upload | Kind::Both | Kind::Echo).then_some(received);
            let sent = matches!(kind, Kind::Download | Kind::Both | Kind::Echo).then_some(sent);
            let (received, sent) = (received.as_ref(), sent.as_ref());
            let problem = error.as_ref().map(|it| one_line(it));
            if json {
                return cli::print_json(&ServerLine::new(
                    *id,
                    *peer,
                    kind,
                    [received, sent],
                    problem,
                ));
            }
            cli::print(&output::server_ended(*id, kind, [received, sent]))?;
            match problem {
                Some(problem) => cli::note(&format!("[{id:>3}] {peer}: {problem}")),
                None => Ok(()),
            }
        }
    }
}

impl ClientArgs {
    fn plan(&self, transport: Transport) -> Result<Plan, Failure> {
        let kind = match (self.reverse, self.bidir, self.messages) {
            (_, _, true) => Kind::Echo,
            (_, true, _) => Kind::Both,
            (true, _, _) => Kind::Download,
            _ => Kind::Upload,
        };
        let interval = if self.messages { 1.0 / self.rate } else { 0.0 };
        let request = Request {
            kind,
            client: RandomState::new().hash_one("client"),
            connections: self.parallel,
            limit: match self.bytes {
                Some(bytes) => Limit::Bytes(bytes),
                None => Limit::Time(Duration::from_secs_f64(self.time)),
            },
            omit: Duration::from_secs_f64(self.omit),
            length: self.length()?,
            rate: self.bitrate,
            interval: Duration::from_secs_f64(interval),
        };
        let messages = client::messages(&request);
        if kind == Kind::Echo && messages > MAX_MESSAGES {
            let problem =
                format!("{messages} messages; allowed: {MAX_MESSAGES} (--rate times --time)");
            return Err(Failure::Usage(problem));
        }
        Ok(Plan {
            server: self.server.clone(),
            transport,
            request,
            interval: Duration::from_secs_f64(self.interval),
        })
    }

    /// Bytes per write, or per message.
    fn length(&self) -> Result<usize, Failure> {
        let (range, default) = if self.messages {
            (MIN_MESSAGE..=MAX_MESSAGE, DEFAULT_MESSAGE)
        } else {
            // With a low rate, no more than it transmits in 10 ms.
            let rate = self
                .bitrate
                .map(|rate| usize::try_from(rate / 800).unwrap_or(usize::MAX));
            let default = rate.map_or(DEFAULT_LENGTH, |it| it.clamp(LEAST_LENGTH, DEFAULT_LENGTH));
            (1..=MAX_LENGTH, default)
        };
        let Some(length) = self.length else {
            return Ok(default);
        };
        let given = usize::try_from(length).ok().filter(|it| range.contains(it));
        given.ok_or_else(|| {
            let (min, max) = range.into_inner();
            Failure::Usage(format!("--length is {length}; allowed: {min} to {max}"))
        })
    }

    async fn run(&self, plan: Plan) -> Result<(), Failure> {
        let stop = Stop::on_signals();
        let failed = |error| Failure::test(&plan.server, error);
        let connecting = tokio::select! {
            connected = client::connect(&plan) => connected.map_err(failed),
            () = stop.requested() => Err(Failure::Interrupted),
        };
        let tests = match connecting {
            Ok(tests) => tests,
            Err(failure) => {
                if self.json {
                    cli::print_json(&output::failed(&one_line(&failure)))?;
                }
                return Err(failure);
            }
        };
        let kind = plan.request.kind;
        let connections: Vec<Connection> = tests.iter().map(|it| it.0.clone()).collect();
        if !self.json {
            let mut head = output::connected(&connections);
            if self.interval > 0.0 {
                head += &output::header(kind, Side::Client);
            }
            cli::print(&head)?;
        }
        let mut intervals = Vec::new();
        let mut after_ctrl_c = cli::AfterCtrlC::default();
        let outcome = client::run(&plan, tests, &stop, |interval| {
            if self.json {
                intervals.push(interval);
                return Ok(());
            }
            cli::print(after_ctrl_c.break_line(&stop))?;
            cli::print(&output::interval(kind, Side::Client, &interval))
        });
        let outcome = outcome.await?;
        if self.json {
            cli::print_json(&Document::new(&plan, &connections, &intervals, &outcome))?;
        } else {
            cli::print(after_ctrl_c.break_line(&stop))?;
            cli::print(&output::summary(kind, &connections))?;
        }
        match outcome {
            Outcome {
                interrupted: true, ..
            } => Err(Failure::Interrupted),
            Outcome {
                error: Some(error), ..
            } => Err(Failure::test(&plan.server, error)),
            _ => Ok(()),
        }
    }
}

/// The results of each message are kept: 240 MB.
const MAX_MESSAGES: u64 = 10_000_000;

const DEFAULT_LENGTH: usize = 16 << 10;

/// Least bytes per write by default, whatever the rate.
const LEAST_LENGTH: usize = 1 << 10;

const DEFAULT_MESSAGE: usize = 200;
