//! HTTP over KCP: an axum server and a hyper client in one process.

use std::process::ExitCode;

use clap::CommandFactory;
use kcp_examples::cli::{self, Failure};
use kcp_examples::http::{Summary, demo};
use kcp_examples::options;
use kcp_examples::stop::Stop;

/// Serves an axum app over KCP and sends requests to it over HTTP/1.1 and HTTP/2. Bodies of 0 bytes to
/// 16 MiB are fetched with GET and echoed with POST, and compared byte by byte
#[derive(Debug, clap::Parser)]
#[command(name = "http")]
struct Http {
    /// Print one JSON object instead of the table: requests mismatches results
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    transport: options::Args,
}

fn main() -> ExitCode {
    cli::main(Http::command(), run)
}

async fn run(http: Http) -> Result<(), Failure> {
    let stop = Stop::on_signals();
    let fetches = demo(&http.transport.transport()?, &stop).await?;
    let summary = Summary::new(&fetches);
    if http.json {
        cli::print_json(&summary)?;
    } else {
        cli::print(&summary.table().to_string())?;
    }
    match summary.mismatches {
        0 if stop.is_requested() => Err(Failure::Interrupted),
        0 => Ok(()),
        wrong => Err(Failure::Check(format!(
            "{wrong} of {} answers were wrong",
            summary.requests
        ))),
    }
}
