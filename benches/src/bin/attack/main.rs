//! A server under attack: effect on legitimate clients, and cost in memory.
//!
//! ```text
//! cargo run --release -p kcp-benches --bin attack -- --seconds 10 --rate 50000
//! cargo run --release -p kcp-benches --bin attack -- --service greeter
//! cargo run --release -p kcp-benches --bin attack -- --opens 1000000
//! cargo run --release -p kcp-benches --bin attack -- --crypt aes-128-gcm
//! cargo run --release -p kcp-benches --bin attack -- --kind refusals
//! cargo run --release -p kcp-benches --bin attack -- --kind port-zero
//! ```
//!
//! The server is a separate process. Without a cipher, which is the default, forged packets are accepted like
//! genuine ones, and the attacker is off the path. With a cipher, forged packets are not authentic: the attacker is
//! on the path of the legitimate clients, records sealed packets, and replays and reflects them. It forges source
//! addresses in 127.0.0.0/8, which needs no privilege on Linux; forged ICMP messages and packets from port 0 need
//! `CAP_NET_RAW`.
//!
//! Prints one JSON object. In `server_rss`, `grown` is the growth of the server's resident memory under attack, and
//! `bound` the documented limit. `grown` also contains buffers of the service, which the limit does not cover.

#![allow(clippy::disallowed_methods)]

mod attacker;
mod honest;
mod raw;
mod server;
mod tap;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use kcp_examples::cli::{self, Failure};
use kcp_examples::stop::Stop;
use serde_json::{Value, json};

use attacker::{Kind, Plan, attack};
use honest::{Clock, Target, honest};
use server::{Server, Shape, serve};
use tap::Tap;

type AnyError = Box<dyn std::error::Error>;

/// Measures calls of legitimate clients, first without an attack and then under attack. Ctrl-C ends the
/// current phase, skips the rest, and prints the results so far.
#[derive(Debug, Parser)]
#[command(name = "attack")]
struct Options {
    #[command(subcommand)]
    command: Option<Role>,
    /// Duration of each of the two phases.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Packets per second that the attacker sends.
    #[arg(long, default_value_t = 50_000)]
    rate: u64,
    /// Attack with this number of forged first packets; the phases take as long as that needs.
    #[arg(long)]
    opens: Option<u64>,
    /// Kind of packets that the attacker sends.
    #[arg(long, value_enum, default_value = "mixed", conflicts_with = "opens")]
    kind: Kind,
    /// Legitimate clients, each of which makes one call at a time.
    #[arg(long, default_value_t = 8)]
    clients: usize,
    #[command(flatten)]
    shape: Shape,
}

/// Subcommands that the program starts as separate processes.
#[derive(Debug, Subcommand)]
enum Role {
    #[command(hide = true)]
    Server {
        #[command(flatten)]
        shape: Shape,
    },
}

fn main() -> ExitCode {
    cli::main(Options::command(), |options: Options| async move {
        let failed = |error: AnyError| Failure::Check(error.to_string());
        if let Some(Role::Server { shape }) = &options.command {
            return serve(shape).await.map_err(failed);
        }
        let stop = Stop::on_signals();
        let report = measure(&options, &stop).await.map_err(failed)?;
        cli::print_json(&report)?;
        if stop.is_requested() {
            return Err(Failure::Interrupted);
        }
        Ok(())
    })
}

async fn measure(options: &Options, stop: &Stop) -> Result<Value, AnyError> {
    let shape = &options.shape;
    let security = shape.security()?;
    let mut server = Server::start(shape)?;
    let tap = match shape.crypt.as_str() {
        "null" => None,
        _ => Some(Tap::to(server.addr).await?),
    };
    let target = Target {
        service: shape.service,
        addr: tap.as_ref().map_or(server.addr, Tap::addr),
        security,
    };
    let phase = Duration::from_secs(match options.opens {
        Some(opens) => opens / options.rate.max(1) + 3,
        None => options.seconds,
    });
    let clock = Clock::start(WARM_UP + 2 * phase, stop.clone());
    // Grows buffers and touches pages before memory is measured.
    honest(&target, options.clients, WARM_UP, &clock).await;
    let calm = honest(&target, options.clients, phase, &clock).await;
    let before = server.resident()?;
    let plan = Plan {
        addr: server.addr,
        rate: options.rate,
        kind: options.kind,
        opens: options.opens,
        recorded: tap.as_ref().map(Tap::recorded),
    };
    let sent = Arc::new(AtomicU64::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let attacker = {
        let (sent, over) = (Arc::clone(&sent), Arc::clone(&over));
        std::thread::spawn(move || attack(plan, &sent, &over).map_err(|it| it.to_string()))
    };
    let attacked = honest(&target, options.clients, phase, &clock).await;
    over.store(true, Ordering::Relaxed);
    let seconds = attacker.join().map_err(|_| "the attacker panicked")??;
    let after = server.resident()?;
    let sent = sent.load(Ordering::Relaxed);
    let bound = shape.bound()?;
    Ok(json!({
        "service": shape.service.name(),
        "crypt": shape.crypt,
        "attack": {
            "packets": sent,
            "packets_per_s": (sent as f64 / seconds).round(),
            "kinds": match options.opens {
                Some(_) => "forged openings",
                None => options.kind.name(),
            },
        },
        "calm": calm.report(),
        "attacked": attacked.report(),
        "p99_ratio": attacked.percentile(99) / calm.percentile(99),
        "listener": server.counters()?,
        "server_rss": {
            "before": before,
            "after": after,
            "grown": after - before,
            "bound": bound.total(),
            "bound_of": bound.report(),
        },
    }))
}

/// Duration of the calls before the measurements.
const WARM_UP: Duration = Duration::from_secs(1);
