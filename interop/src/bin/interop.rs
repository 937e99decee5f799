//! Runs the interoperability cases.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{CommandFactory, Parser, Subcommand};
use kcp_examples::cli::{self, Failure};
use kcp_examples::report::one_line;
use kcp_examples::stop::Stop;
use kcp_interop::case::{self, Case};
use kcp_interop::go::Programs;
use kcp_interop::native;
use kcp_interop::report::{self, Cell};
use kcp_interop::run::{Plan, run_all};

/// Tests interoperability with other implementations of KCP: three versions of kcp-go with every cipher, FEC
/// setting and option, the C reference, two Rust crates, grpc-go over kcp-go, gRPC's own interoperability cases,
/// and this workspace itself. Cases run in both directions, with and without loss.
///
/// Ctrl-C prints the results so far. Exit status: 0 if no case fails, 1 if a case fails, 2 if no case could
/// run, 130 after Ctrl-C.
#[derive(Debug, Parser)]
#[command(name = "interop", args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Write the results to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the results to this file, as HTML
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// List the cases and run none
    #[arg(long)]
    list: bool,

    /// Run only cases whose name contains this text
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,

    /// Run only the case with this name
    #[arg(long, value_name = "NAME", conflicts_with_all = ["filter", "random"])]
    case: Option<Case>,

    /// Run this many random cases from the whole space of options instead
    #[arg(long, value_name = "COUNT")]
    random: Option<usize>,

    /// Number of cases to run concurrently
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    jobs: usize,

    /// Seed of losses, contents and random cases
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a peer built on a Rust crate
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
    // A peer has a runtime and output of its own.
    if let Ok(Args {
        command: Some(Command::Peer(peer)),
        ..
    }) = Args::try_parse()
    {
        return match native::run(peer) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("peer: {error}");
                ExitCode::FAILURE
            }
        };
    }
    cli::main(Args::command(), run)
}

async fn run(args: Args) -> Result<(), Failure> {
    let cases = args.cases();
    if cases.is_empty() {
        let problem = format!(
            "no case name contains {:?}; --list prints all names",
            args.filter
        );
        return Err(Failure::CannotBegin(problem));
    }
    if args.list {
        return list(&cases);
    }
    let stop = Stop::on_signals();
    let cells = run_cases(&args, &cases, &stop).await?;
    match cells.iter().filter(|cell| !cell.is_ok()).count() {
        0 if stop.is_requested() => Err(Failure::Interrupted),
        0 => Ok(()),
        failed => Err(Failure::Check(format!("{failed} cases failed"))),
    }
}

fn list(cases: &[Case]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    for case in cases {
        if writeln!(out, "{case}").is_err() {
            // The reader has closed the pipe.
            break;
        }
    }
    Ok(())
}

/// Runs the cases until `stop` is requested, and writes reports on those that have ended.
async fn run_cases(args: &Args, cases: &[Case], stop: &Stop) -> Result<Vec<Cell>, Failure> {
    // Some peers are subcommands of this program.
    let this = std::env::current_exe().map_err(Failure::io("cannot find this program"))?;
    let build = tokio::task::spawn_blocking(move || Programs::build(&this));
    let programs = build
        .await
        .map_err(|panic| Failure::CannotBegin(panic.to_string()))?;
    let programs = programs.map_err(|error| Failure::CannotBegin(one_line(&error)))?;
    let plan = Plan {
        programs,
        seed: args.seed,
        jobs: args.jobs,
    };
    let start = Instant::now();
    let mut progress = Progress::new(cases.len());
    let mut done = Vec::new();
    let all = run_all(cases, plan, |cell| {
        progress.on_done(cell, args.seed);
        done.push(cell.clone());
    });
    let all = tokio::select! {
        cells = all => Some(cells),
        () = stop.requested() => None,
    };
    progress.clear();
    let cells = all.unwrap_or(done);

    let terminal = io::stdout().is_terminal();
    let elapsed = start.elapsed().as_secs_f64();
    let table = report::table(&cells, terminal);
    cli::print(&format!("{table}took {elapsed:.1} s\n"))?;
    let files = [
        (&args.json, report::json(&cells)),
        (&args.html, report::html(&cells, args.seed)),
    ];
    for (path, text) in files {
        if let Some(path) = path {
            let cannot_write = Failure::io(format!("cannot write {}", path.display()));
            std::fs::write(path, text).map_err(cannot_write)?;
        }
    }
    Ok(cells)
}

/// Prints failures as they happen and, on a terminal, a count that is overwritten in place.
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
        if !cell.is_ok() {
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
