//! Runs cases against other implementations of KCP.

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

/// Runs this workspace against other implementations of KCP: kcp-go, with every cipher and FEC
/// setting and every other option, the newest kcp-go and an older one, the reference in C, two Rust crates, grpc-go, and
/// this workspace itself; in both directions, with and without loss.
///
/// Ctrl-C prints the results so far. Exit status: 0 if no case fails, 1 if one does, 2 if none could be
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

    /// Run only cases whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,

    /// Run this case alone, by its whole name
    #[arg(long, value_name = "NAME", conflicts_with_all = ["filter", "random"])]
    case: Option<Case>,

    /// Run this many cases drawn from the whole space of options instead
    #[arg(long, value_name = "COUNT")]
    random: Option<usize>,

    /// Number of cases that run at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    jobs: usize,

    /// Seed of losses and contents, and of the cases drawn at random
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a peer built on another crate
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
    // A peer has its own runtime and output.
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
        let problem = format!("no case is named like {:?}; --list shows all", args.filter);
        return Err(Failure::CannotBegin(problem));
    }
    if args.list {
        return list(&cases);
    }
    let stop = Stop::on_signals();
    let cells = run_cases(&args, &cases, &stop).await?;
    match cells.iter().filter(|cell| !cell.is_right()).count() {
        0 if stop.is_requested() => Err(Failure::Interrupted),
        0 => Ok(()),
        failed => Err(Failure::Check(format!("{failed} cases failed"))),
    }
}

fn list(cases: &[Case]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    for case in cases {
        if writeln!(out, "{case}").is_err() {
            // The reader has seen enough.
            break;
        }
    }
    Ok(())
}

/// Runs the cases, or those that end before `stop` is requested, and writes the reports.
async fn run_cases(args: &Args, cases: &[Case], stop: &Stop) -> Result<Vec<Cell>, Failure> {
    // This program is some of the peers, too.
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
    cli::print(&format!("{table}in {elapsed:.1} s\n"))?;
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

/// A progress count, overwritten in place on a terminal, and failures as they happen.
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
