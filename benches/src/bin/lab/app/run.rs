//! Runs a cell: a link, a server process, a client process, and what came of them.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::process::Command;

use crate::app::cell::Cell;
use crate::app::link::emulator::{Emulator, Traffic};
use crate::app::netns::{Host, Namespaces};
use crate::app::peer::Event;
use crate::app::process::Peer;
use crate::app::subjects::settings::Settings;
use crate::app::subjects::{Ready, Side, kcp};
use crate::app::workloads::plan::Measured;

/// Where cells run, and the programs that play them.
pub(crate) struct Bench {
    pub(crate) namespaces: Namespaces,
    /// This program.
    pub(crate) ours: PathBuf,
    /// The Go program; `None` if no cell needs it.
    pub(crate) go: Option<PathBuf>,
    /// Words before each command line.
    pub(crate) prefix: &'static [&'static str],
}

/// What came of a cell.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) measured: Measured,
    pub(crate) traffic: Traffic,
    pub(crate) client_cpu: Duration,
    pub(crate) server_cpu: Duration,
}

impl Bench {
    /// Runs the cell with the faults that `seed` gives.
    pub(crate) async fn run(&self, cell: &Cell, seed: u64) -> io::Result<Outcome> {
        let Namespaces { client, server } = &self.namespaces;
        let emulator = Emulator::start(&cell.link, seed, &client.device, &server.device)?;
        let outcome = self.measure(cell, &emulator).await;
        emulator.stop()?;
        outcome
    }

    async fn measure(&self, cell: &Cell, emulator: &Emulator) -> io::Result<Outcome> {
        let Namespaces { client, server } = &self.namespaces;
        let plan = serde_json::to_string(&cell.workload.plan)?;

        let mut command = self.command(server, cell.subject.server, "server", &cell.settings)?;
        command.args(["--listen", &format!("{}:0", server.addr)]);
        let mut serving = Peer::start(command)?;
        let ready: Ready = serving.next(PATIENCE).await?;

        let mut command = self.command(client, cell.subject.client, "client", &cell.settings)?;
        command.args(["--server", &serde_json::to_string(&ready)?, "--plan", &plan]);
        let mut calling = Peer::start(command)?;
        match calling.next(PATIENCE).await? {
            Event::Start => {}
            other => return Err(unexpected(other)),
        }
        let (client_before, server_before) = (calling.cpu(), serving.cpu());
        let before = emulator.traffic();
        if let Some(outage) = cell.workload.outage {
            tokio::time::sleep(BEFORE_OUTAGE).await;
            emulator.cut(outage);
        }
        let limit = Duration::from_millis(cell.workload.plan.limit_ms) + PATIENCE;
        let measured = match calling.next(limit).await? {
            Event::Done(measured) => measured,
            other => return Err(unexpected(other)),
        };
        let outcome = Outcome {
            measured,
            traffic: emulator.traffic().since(&before),
            client_cpu: calling.cpu().saturating_sub(client_before),
            server_cpu: serving.cpu().saturating_sub(server_before),
        };
        calling.end().await?;
        serving.end().await?;
        Ok(outcome)
    }

    /// The beginning of a peer's command line.
    fn command(
        &self,
        host: &Host,
        side: Side,
        role: &str,
        settings: &Settings,
    ) -> io::Result<Command> {
        let Some(name) = side.name() else {
            let program = self
                .go
                .as_ref()
                .ok_or_else(|| io::Error::other("the Go peers were not built"))?;
            let mut command = host.command(program, self.prefix);
            command.arg(format!("lab-{role}"));
            let (data, parity) = match side {
                Side::KcpGo { data, parity } => (data.to_string(), parity.to_string()),
                _ => Default::default(),
            };
            command.args(["--crypt", kcp::CIPHER, "--key", kcp::PASSWORD]);
            command.args(["--mode", "fast2", "--acknodelay"]);
            command.args(["--datashard", &data, "--parityshard", &parity]);
            if role == "client" {
                command.args(["--bind", &format!("{}:0", host.addr)]);
            }
            return Ok(command);
        };
        let mut command = host.command(&self.ours, self.prefix);
        command.args([&format!("peer-{role}"), "--side", name]);
        command.args(["--settings", &settings.0]);
        Ok(command)
    }
}

fn unexpected(event: Event) -> io::Error {
    match event {
        Event::Failed { error } => io::Error::other(error),
        Event::Start | Event::Done(_) => {
            io::Error::other("the client printed its lines out of turn")
        }
    }
}

/// How long a peer may take to start, or to connect at 20 % loss, or to end after its limit.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long calls run before an outage.
const BEFORE_OUTAGE: Duration = Duration::from_secs(1);
