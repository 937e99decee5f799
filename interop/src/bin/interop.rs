//! Runs the matrix of cases against the Go peers.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use kcp_interop::case::{self, Case};
use kcp_interop::go;
use kcp_interop::report::{self, Cell};
use kcp_interop::run::{Plan, run_all};

/// Runs this workspace against kcp-go and grpc-go: every cipher, FEC setting and kind of call, in
/// both directions, with and without loss.
///
/// Exit status: 0 if every case passes, 1 if not, 2 if none could be run.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Write the results to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// List the cases and run none
    #[arg(long)]
    list: bool,

    /// Run only cases whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,

    /// Cases that run at a time
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    jobs: usize,

    /// What losses and contents depend on
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut cases = case::all();
    cases.retain(|case| case.to_string().contains(&args.filter));
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
        Ok(cells) if cells.iter().all(Cell::passed) => ExitCode::SUCCESS,
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
    let program = go::build().map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let plan = Plan {
        program,
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
    if let Some(path) = &args.json {
        std::fs::write(path, report::json(&cells))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
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
        if !cell.passed() {
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
