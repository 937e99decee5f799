//! The command line, and the loop over the rows of the table.

mod load;
mod rows;
mod servers;

use std::io;
use std::process::{ExitCode, Stdio};

use clap::Parser;
use kcp_benches::link::emulator::Emulator;
use kcp_benches::link::spec::Link;
use kcp_benches::netns::Namespaces;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone, Debug, Parser)]
#[command(about = "Calls to servers that are killed and started again, over a lossy path")]
struct Options {
    /// 10 s for each row instead of 60 s.
    #[arg(long)]
    quick: bool,
    /// Only the rows whose name contains this text.
    #[arg(long, default_value = "")]
    only: String,
    /// Settings of the link, as for the program `lab`.
    #[arg(long, default_value = "rtt=20+loss=10+mbit=1000+queue=10000")]
    link: String,
    /// Runs the calls of a row.
    #[arg(long, hide = true)]
    row: Option<usize>,
    /// The namespace of the servers and their address.
    #[arg(long, hide = true, num_args = 2)]
    at: Vec<String>,
    #[command(flatten)]
    server: servers::ServerOptions,
}

#[tokio::main]
pub(crate) async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", kcp_examples::report::one_line(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), Error> {
    if options.server.serve.is_some() {
        return servers::serve(&options.server).await;
    }
    let rows = rows::all();
    if let Some(row) = options.row {
        let row = rows.into_iter().nth(row).ok_or("there is no such row")?;
        println!("{}", row.run(options).await?);
        return Ok(());
    }
    let link = Link::parse("link", &options.link)?;
    let namespaces = Namespaces::create()?;
    println!("| calls | failed | p50 ms | p99 ms | max ms | share of each server |");
    println!("|---|---:|---:|---:|---:|---|");
    for (at, row) in rows.iter().enumerate() {
        if row.name.contains(&options.only) {
            tokio::select! {
                printed = measure(at, options, &link, &namespaces) => printed?,
                // The namespaces are removed also in this case.
                _ = tokio::signal::ctrl_c() => return Err("interrupted".into()),
            }
        }
    }
    Ok(())
}

/// Runs the calls of a row in the client's namespace, over a link that loses the same packets for each row.
async fn measure(
    at: usize,
    options: &Options,
    link: &Link,
    namespaces: &Namespaces,
) -> Result<(), Error> {
    let Namespaces { client, server } = namespaces;
    let emulator = Emulator::start(link, SEED, &client.device, &server.device)?;
    let mut command = client.command(&std::env::current_exe()?, &[]);
    command.args(["--row", &at.to_string(), "--at", server.name()]);
    command.arg(server.addr.to_string());
    if options.quick {
        command.arg("--quick");
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    let status = command.status().await?;
    emulator.stop()?;
    if !status.success() {
        return Err(io::Error::other(format!("row {at} has failed: {status}")).into());
    }
    Ok(())
}

/// Of the losses.
const SEED: u64 = 1;
