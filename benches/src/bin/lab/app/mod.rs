//! The lab: options, and the cells in turn.

mod cell;
mod clock;
mod link;
mod netns;
mod peer;
mod priority;
mod process;
mod report;
mod run;
mod subjects;
mod workloads;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kcp_interop::go::Programs;
use kcp_interop::peer::Peer as GoPeer;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use cell::Cell;
use netns::Namespaces;
use report::row::Row;
use run::Bench;

type AnyError = Box<dyn std::error::Error>;

/// Calls and uploads over lossy links, ours beside others.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    peer: Option<PeerCommand>,
    /// Shows links, workloads and subjects.
    #[arg(long)]
    list: bool,
    /// Runs these cells only: LINK/WORKLOAD/SUBJECT, `*` for all that go together.
    #[arg(long, value_name = "CELL,..", value_delimiter = ',')]
    only: Vec<String>,
    /// A quarter of the calls and bytes.
    #[arg(long)]
    quick: bool,
    /// How often each cell runs, with another seed each time.
    #[arg(long, default_value_t = 1)]
    rounds: u64,
    /// Which packets are lost.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes the results to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum PeerCommand {
    #[command(hide = true)]
    PeerServer(peer::ServerArgs),
    #[command(hide = true)]
    PeerClient(peer::ClientArgs),
}

pub(crate) fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match &options.peer {
            Some(PeerCommand::PeerServer(args)) => Ok(peer::serve(args).await?),
            Some(PeerCommand::PeerClient(args)) => Ok(peer::run(args).await?),
            None if options.list => {
                list();
                Ok(())
            }
            None => lab(&options).await,
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", kcp_examples::report::one_line(&*error));
            ExitCode::FAILURE
        }
    }
}

fn list() {
    println!("links (RTT 50 ms, 100 Mbit/s, queue of 400 packets unless said otherwise):");
    for (name, settings, about) in link::names::NAMED {
        println!("  {name:12} {about:34} {settings}");
    }
    println!("workloads:");
    for workload in workloads::all() {
        println!("  {:12} {}", workload.name, workload.about);
    }
    println!("subjects:");
    for subject in subjects::SUBJECTS {
        println!("  {:16} {}", subject.name, subject.about);
    }
}

async fn lab(options: &Options) -> Result<(), AnyError> {
    netns::check()?;
    let mut cells = cell::select(&options.only)?;
    if options.quick {
        for cell in &mut cells {
            cell.workload = cell.workload.clone().quick();
        }
    }
    let ours = std::env::current_exe()?;
    let go = if cells.iter().any(needs_go) {
        Some(Programs::build(&ours)?.of(GoPeer::KcpGo).to_owned())
    } else {
        None
    };
    let bench = Bench {
        namespaces: Namespaces::create()?,
        ours,
        go,
        prefix: priority::prefix(),
    };
    let mut rows = Vec::new();
    let ended = tokio::select! {
        () = measure(&bench, options, &cells, &mut rows) => Ok(()),
        signal = interrupted() => Err(signal),
    };
    if let Some(path) = &options.json {
        let runs: Vec<_> = rows.iter().map(Row::to_json).collect();
        fs::write(path, format!("{:#}\n", json!({ "runs": runs })))?;
    }
    ended?;
    Ok(())
}

fn needs_go(cell: &Cell) -> bool {
    [cell.subject.client, cell.subject.server]
        .iter()
        .any(|side| side.name().is_none())
}

/// Runs all cells; what is done is in `rows` even if this is dropped.
async fn measure(bench: &Bench, options: &Options, cells: &[Cell], rows: &mut Vec<Row>) {
    let total = cells.len() as u64 * options.rounds;
    for round in 0..options.rounds {
        for cell in cells {
            let seed = options.seed + round;
            let result = bench.run(cell, seed).await;
            let row = Row {
                cell: cell.clone(),
                seed,
                result: result.map_err(|error| error.to_string()),
            };
            println!(
                "[{}/{total}] {}  {}",
                rows.len() + 1,
                cell.name(),
                row.line()
            );
            rows.push(row);
        }
    }
}

/// Ctrl-C or SIGTERM: the namespaces go away on the way out.
async fn interrupted() -> &'static str {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return "cannot listen for signals";
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => "interrupted",
        _ = terminate.recv() => "terminated",
    }
}
