//! Runs a cell: starts link, server and client, and collects the results.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::process::Command;

use crate::app::cell::Cell;
use crate::app::peer::Event;
use crate::app::process::Peer;
use crate::app::subjects::settings::Settings;
use crate::app::subjects::{Ready, Side, TcpControl, kcp};
use crate::app::workloads::Rival;
use crate::app::workloads::plan::{Measured, Plan};
use kcp_benches::link::emulator::{Emulator, Traffic};
use kcp_benches::netns::{Host, Namespaces};

/// Namespaces and programs for running cells.
pub(crate) struct Bench {
    pub(crate) namespaces: Namespaces,
    /// This program.
    pub(crate) ours: PathBuf,
    /// The Go program; `None` if no cell needs it.
    pub(crate) go: Option<PathBuf>,
    /// Words before each command line, from `priority::prefix`.
    pub(crate) prefix: &'static [&'static str],
}

/// Results of a cell.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) measured: Measured,
    /// Results of the competing TCP flow, if there is one.
    pub(crate) rival: Option<Measured>,
    pub(crate) traffic: Traffic,
    pub(crate) client_cpu: Duration,
    pub(crate) server_cpu: Duration,
}

impl Bench {
    /// Runs the cell. `seed` determines the faults of the link.
    pub(crate) async fn run(&self, cell: &Cell, seed: u64) -> io::Result<Outcome> {
        let Namespaces { client, server } = &self.namespaces;
        let emulator = Emulator::start(&cell.link, seed, &client.device, &server.device)?;
        let outcome = match cell.workload.rival {
            None => self.alone(cell, &emulator).await,
            Some(rival) => self.beside_cubic(cell, rival, &emulator).await,
        };
        emulator.stop()?;
        outcome
    }

    async fn alone(&self, cell: &Cell, emulator: &Emulator) -> io::Result<Outcome> {
        let plan = &cell.workload.plan;
        let sides = (cell.subject.client, cell.subject.server);
        let mut pair = self.start(sides, &cell.settings, plan).await?;
        let before = (pair.cpu(), emulator.traffic());
        if let Some(outage) = cell.workload.outage {
            tokio::time::sleep(BEFORE_OUTAGE).await;
            emulator.cut(outage);
        }
        let measured = pair.done(plan).await?;
        let outcome = outcome_since(before, &pair, emulator, measured, None);
        pair.end().await?;
        Ok(outcome)
    }

    /// Runs the subject's upload and a competing upload over TCP with cubic.
    async fn beside_cubic(
        &self,
        cell: &Cell,
        rival: Rival,
        emulator: &Emulator,
    ) -> io::Result<Outcome> {
        let sides = (cell.subject.client, cell.subject.server);
        let cubic = Side::Tcp(TcpControl::Cubic);
        let plan = &cell.workload.plan;
        // The competing flow must be active until the subject's time is over.
        let longer = Plan {
            limit_ms: plan.limit_ms + 2 * Rival::GAP.as_millis() as u64,
            ..plan.clone()
        };
        let none = Settings::default();
        let before_all = emulator.traffic();
        let (mut pair, mut other) = match rival {
            Rival::First => {
                let other = self.start((cubic, cubic), &none, &longer).await?;
                tokio::time::sleep(Rival::GAP).await;
                (self.start(sides, &cell.settings, plan).await?, other)
            }
            Rival::Second => {
                let pair = self.start(sides, &cell.settings, plan).await?;
                tokio::time::sleep(Rival::GAP).await;
                (pair, self.start((cubic, cubic), &none, &longer).await?)
            }
        };
        let before = (pair.cpu(), before_all);
        let measured = pair.done(plan).await?;
        let beside = other.done(&longer).await?;
        let outcome = outcome_since(before, &pair, emulator, measured, Some(beside));
        pair.end().await?;
        other.end().await?;
        Ok(outcome)
    }

    /// Starts a server and a client, and waits until the client starts its plan.
    async fn start(
        &self,
        (client_side, server_side): (Side, Side),
        settings: &Settings,
        plan: &Plan,
    ) -> io::Result<Pair> {
        let Namespaces { client, server } = &self.namespaces;
        let mut command = self.command(server, server_side, "server", settings)?;
        command.args(["--listen", &format!("{}:0", server.addr)]);
        let mut server = Peer::start(command)?;
        let ready: Ready = server.next(PEER_TIMEOUT).await?;

        let mut command = self.command(client, client_side, "client", settings)?;
        command.args(["--server", &serde_json::to_string(&ready)?]);
        command.args(["--plan", &serde_json::to_string(plan)?]);
        let mut client = Peer::start(command)?;
        match client.next(PEER_TIMEOUT).await? {
            Event::Start => Ok(Pair { client, server }),
            other => Err(unexpected(other)),
        }
    }

    /// The command line of a peer, without its addresses and plan.
    fn command(
        &self,
        host: &Host,
        side: Side,
        role: &str,
        settings: &Settings,
    ) -> io::Result<Command> {
        if let Some(name) = side.name() {
            let mut command = host.command(&self.ours, self.prefix);
            command.args([&format!("peer-{role}"), "--side", name]);
            command.args(["--settings", &settings.0]);
            return Ok(command);
        }
        let program = self
            .go
            .as_ref()
            .ok_or_else(|| io::Error::other("the Go peers were not built"))?;
        let mut command = host.command(program, self.prefix);
        command.arg(format!("lab-{role}"));
        command.args(["--crypt", kcp::CIPHER, "--key", kcp::PASSWORD]);
        command.args(["--mode", "fast2", "--acknodelay"]);
        if let Side::KcpGo { data, parity } = side {
            command.args(["--datashard", &data.to_string()]);
            command.args(["--parityshard", &parity.to_string()]);
        } else {
            command.arg("--grpc");
        }
        if role == "client" {
            command.args(["--bind", &format!("{}:0", host.addr)]);
        }
        Ok(command)
    }
}

/// A running client and its server.
struct Pair {
    client: Peer,
    server: Peer,
}

impl Pair {
    fn cpu(&self) -> (Duration, Duration) {
        (self.client.cpu(), self.server.cpu())
    }

    /// Waits until the client has completed its plan.
    async fn done(&mut self, plan: &Plan) -> io::Result<Measured> {
        let limit = Duration::from_millis(plan.limit_ms) + PEER_TIMEOUT;
        match self.client.next(limit).await? {
            Event::Done(measured) => Ok(measured),
            other => Err(unexpected(other)),
        }
    }

    async fn end(self) -> io::Result<()> {
        self.client.end().await?;
        self.server.end().await
    }
}

fn outcome_since(
    ((client_cpu, server_cpu), traffic): ((Duration, Duration), Traffic),
    pair: &Pair,
    emulator: &Emulator,
    measured: Measured,
    rival: Option<Measured>,
) -> Outcome {
    let (client, server) = pair.cpu();
    Outcome {
        measured,
        rival,
        traffic: emulator.traffic().since(&traffic),
        client_cpu: client.saturating_sub(client_cpu),
        server_cpu: server.saturating_sub(server_cpu),
    }
}

fn unexpected(event: Event) -> io::Error {
    match event {
        Event::Failed { error } => io::Error::other(error),
        Event::Start | Event::Done(_) => {
            io::Error::other("the client printed its events in the wrong order")
        }
    }
}

/// Time for a peer to start, to connect at 20 % loss, or to report after the limit of its plan.
const PEER_TIMEOUT: Duration = Duration::from_secs(20);

/// Duration of calls before an outage.
const BEFORE_OUTAGE: Duration = Duration::from_secs(1);
