//! The lab: command line, and the loop over the cells.

mod cell;
mod peer;
mod process;
mod report;
mod run;
mod subjects;
mod workloads;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use kcp_benches::netns::{self, Namespaces};
use kcp_benches::{link, priority};
use kcp_interop::go::Programs;
use kcp_interop::peer::Peer as GoPeer;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use cell::Cell;
use report::page;
use report::row::Row;
use run::Bench;

type AnyError = Box<dyn std::error::Error>;

/// Measures calls and uploads over lossy links, with this workspace and with other transports.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    peer: Option<PeerCommand>,
    /// List links, workloads and subjects.
    #[arg(long)]
    list: bool,
    /// Run only these cells: LINK/WORKLOAD/SUBJECT, where `*` stands for all valid combinations.
    ///
    /// `losses` stands for the links from loss-0 to loss-20. A link may be given by settings
    /// (rtt=30+loss=3). Settings of our transport follow its name after a colon (kcp:fec=10/3+window=4096).
    /// To measure the contribution of a mechanism, set it to `off`: redundancy, bitmap, model, count,
    /// extensions, mtu-discovery. `redundancy` also accepts values such as adaptive:100% and always:1:200%.
    #[arg(long, value_name = "CELL,..", value_delimiter = ',')]
    only: Vec<String>,
    /// Reduce calls, bytes and time to a quarter.
    #[arg(long)]
    quick: bool,
    /// Number of runs of each cell, each with another seed.
    #[arg(long, default_value_t = 1)]
    rounds: u64,
    /// Seed of the losses.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Settings of our transport for each cell without settings: KEY=VALUE+...
    #[arg(long, default_value = "", hide = true)]
    settings: String,
    /// Write the results to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write an HTML page with tables and plots to this directory.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
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
    println!("links (RTT 50 ms, 100 Mbit/s, queue of 400 packets unless stated otherwise):");
    for (name, settings, about) in link::names::NAMED {
        let line = format!("  {name:16} {about:40} {settings}");
        println!("{}", line.trim_end());
    }
    println!("  {:16} the links from loss-0 to loss-20", "losses");
    println!("workloads:");
    for workload in workloads::all() {
        println!("  {:16} {}", workload.name, workload.about);
    }
    println!("subjects:");
    for subject in subjects::SUBJECTS {
        println!("  {:22} {}", subject.name, subject.about);
    }
}

async fn lab(options: &Options) -> Result<(), AnyError> {
    netns::check()?;
    let cells = cells(options)?;
    let ours = std::env::current_exe()?;
    let go = if cells.iter().any(|cell| cell.subject.needs_go()) {
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
    let interrupted = tokio::select! {
        () = measure(&bench, options, &cells, &mut rows) => None,
        signal = interrupted() => Some(signal),
    };
    // Results so far are saved even after an interruption.
    save(options, &rows)?;
    let failed = rows.iter().filter(|row| row.result.is_err()).count();
    match (interrupted, failed) {
        (Some(signal), _) => Err(signal.into()),
        (None, 0) => Ok(()),
        (None, failed) => Err(format!("{failed} of {} cells failed", rows.len()).into()),
    }
}

fn cells(options: &Options) -> Result<Vec<Cell>, String> {
    let mut cells = cell::select(&options.only)?;
    for cell in &mut cells {
        if options.quick {
            cell.workload = cell.workload.clone().quick();
        }
        if cell.settings.0.is_empty() && cell.subject.is_ours() {
            cell.settings.0.clone_from(&options.settings);
        }
    }
    Ok(cells)
}

fn save(options: &Options, rows: &[Row]) -> Result<(), AnyError> {
    let command: Vec<_> = std::env::args().skip(1).collect();
    let command = format!("lab {}", command.join(" "));
    if let Some(path) = &options.json {
        let runs: Vec<_> = rows.iter().map(Row::to_json).collect();
        let results = json!({ "machine": page::machine(), "command": command, "runs": runs });
        fs::write(path, format!("{results:#}\n"))?;
    }
    if let Some(directory) = &options.report {
        page::write(directory, rows, &command)?;
    }
    Ok(())
}

/// Runs all cells. Completed results are in `rows` even if this future is dropped.
async fn measure(bench: &Bench, options: &Options, cells: &[Cell], rows: &mut Vec<Row>) {
    let bar = ProgressBar::new(cells.len() as u64 * options.rounds);
    if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} [{pos}/{len}] {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(std::time::Duration::from_secs(1));
    for round in 0..options.rounds {
        for cell in cells {
            let name = cell.name();
            bar.set_message(name.clone());
            let seed = options.seed + round;
            let result = bench.run(cell, seed).await;
            let row = Row {
                cell: cell.clone(),
                seed,
                result: result.map_err(|error| error.to_string()),
            };
            bar.suspend(|| println!("{name:40} {}", row.line()));
            bar.inc(1);
            rows.push(row);
        }
    }
    bar.finish_and_clear();
}

/// Completes at Ctrl-C or SIGTERM, so that the namespaces are removed before the program exits.
async fn interrupted() -> &'static str {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return "cannot install a handler for SIGTERM";
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => "interrupted",
        _ = terminate.recv() => "terminated",
    }
}
