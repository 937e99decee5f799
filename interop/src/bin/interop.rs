//! Runs cases against other implementations of KCP.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use kcp_interop::case::{self, Case};
use kcp_interop::go::Programs;
use kcp_interop::native;
use kcp_interop::report::{self, Cell};
use kcp_interop::run::{Plan, run_all};

/// Runs this workspace against other implementations of KCP: kcp-go, with every cipher and FEC
/// setting and every other option, the newest kcp-go and an older one, the reference in C, two Rust crates, grpc-go, and
/// this workspace itself; in both directions, with and without loss.
///
/// Exit status: 0 if no case fails, 1 if one does, 2 if none could be run.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Write the results to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the results to this file, as a page for a browser
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// List the cases and run none
    #[arg(long)]
    list: bool,

    /// Run only cases whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,

    /// Run this case alone, by its whole name
    #[arg(long, value_name = "NAME", conflicts_with_all = ["filter", "random"])]
    case: Option<Case>,

    /// Run this many cases drawn from the whole space of options instead
    #[arg(long, value_name = "COUNT")]
    random: Option<usize>,

    /// Cases that run at a time
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    jobs: usize,

    /// What losses and contents depend on, and the cases drawn at random
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play a peer that is made of another crate
    #[command(hide = true)]
    Peer(native::Args),
}

impl Args {
    fn cases(&self) -> Vec<Case> {
        let mut cases = match (self.case, self.random) {
            (Some(case), _) => vec![case],
            (None, Some(count)) => case::random(self.seed, count).collect(),
            (None, None) => case::all(),
        };
        cases.retain(|case| case.to_string().contains(&self.filter));
        cases
    }
}

fn main() -> ExitCode {
    let mut args = Args::parse();
    if let Some(Command::Peer(peer)) = args.command.take() {
        return match native::run(peer) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("peer: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let cases = args.cases();
    if cases.is_empty() {
        eprintln!(
            "interop: no case is named like {:?}; --list shows all",
            args.filter
        );
        return ExitCode::from(COULD_NOT_RUN);
    }
    if args.list {
        return list(&cases);
    }
    match run(&args, &cases) {
        Ok(cells) if cells.iter().all(Cell::is_right) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("interop: {problem}");
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

fn list(cases: &[Case]) -> ExitCode {
    let mut out = io::stdout().lock();
    for case in cases {
        if writeln!(out, "{case}").is_err() {
            // The reader has seen enough.
            break;
        }
    }
    ExitCode::SUCCESS
}

fn run(args: &Args, cases: &[Case]) -> Result<Vec<Cell>, String> {
    // This program plays some of the peers, too.
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let programs = Programs::build(&this).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let plan = Plan {
        programs,
        seed: args.seed,
        jobs: args.jobs,
    };
    let start = Instant::now();
    let mut progress = Progress::new(cases.len());
    let cells = runtime.block_on(run_all(cases, plan, |cell| {
        progress.on_done(cell, args.seed);
    }));
    progress.clear();

    let stdout = io::stdout();
    print!("{}", report::table(&cells, stdout.is_terminal()));
    println!("in {:.1} s", start.elapsed().as_secs_f64());
    let files = [
        (&args.json, report::json(&cells)),
        (&args.html, report::html(&cells, args.seed)),
    ];
    for (path, text) in files {
        if let Some(path) = path {
            std::fs::write(path, text)
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        }
    }
    Ok(cells)
}

/// A count that is written over on a terminal, and failures as they happen.
struct Progress {
    done: usize,
    all: usize,
    terminal: bool,
}

impl Progress {
    fn new(all: usize) -> Self {
        Self {
            done: 0,
            all,
            terminal: io::stderr().is_terminal(),
        }
    }

    fn on_done(&mut self, cell: &Cell, seed: u64) {
        self.done += 1;
        if !cell.is_right() {
            self.clear();
            eprintln!("{}", cell.explain(seed));
        }
        if self.terminal {
            eprint!("\r{} of {}", self.done, self.all);
        }
    }

    fn clear(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}

/// As for a command line that makes no sense.
const COULD_NOT_RUN: u8 = 2;
