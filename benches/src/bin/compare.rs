//! Echo over loopback with this workspace and with kcp-go, in alternation. Server and client are separate processes.
//!
//! Compare the ratios of the medians: absolute figures depend on the machine and its load.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use clap::{CommandFactory, Parser, Subcommand};
use kcp_examples::address::HostPort;
use kcp_examples::cli::{self, Failure};
use kcp_examples::echo::{self, Plan};
use kcp_examples::options::Args;
use kcp_examples::stop::Stop;
use kcp_interop::go::Programs;
use kcp_interop::peer::Peer;
use kcp_transport::net::KcpListener;
use serde_json::Value;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Compares echo throughput and latency with kcp-go. Ctrl-C prints the complete rows.
#[derive(Clone, Debug, Parser)]
#[command(name = "compare")]
struct Options {
    #[command(subcommand)]
    command: Option<Role>,
    /// Number of measurements of each implementation. The table shows medians.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Bytes to echo in each measurement.
    #[arg(long, default_value_t = 100_000_000)]
    bytes: u64,
    /// Bytes per write.
    #[arg(long, default_value_t = 65_536)]
    message: usize,
    /// Print one JSON object instead of the table.
    #[arg(long)]
    json: bool,
}

/// Subcommands that a measurement starts as separate processes.
#[derive(Clone, Debug, Subcommand)]
enum Role {
    #[command(hide = true)]
    Server(Args),
    #[command(hide = true)]
    Client {
        #[command(flatten)]
        transport: Args,
        #[arg(long)]
        connect: HostPort,
        #[arg(long)]
        bytes: u64,
        #[arg(long)]
        message: usize,
    },
}

/// Cipher and FEC of each row.
const SETUPS: [(&str, &[&str]); 4] = [
    ("plaintext", &["--crypt", "null"]),
    ("AES-128-GCM", &["--crypt", "aes-128-gcm"]),
    (
        "AES-128-GCM, FEC 10/3",
        &[
            "--crypt",
            "aes-128-gcm",
            "--datashard",
            "10",
            "--parityshard",
            "3",
        ],
    ),
    (
        "Salsa20, FEC 10/3",
        &[
            "--crypt",
            "salsa20",
            "--datashard",
            "10",
            "--parityshard",
            "3",
        ],
    ),
];

fn main() -> ExitCode {
    cli::main(Options::command(), |options: Options| async move {
        // The processes of a measurement have no handler, so that Ctrl-C ends them at once.
        let stop = match options.command {
            Some(_) => Stop::never(),
            None => Stop::on_signals(),
        };
        let result = run(options, stop.clone()).await;
        match result {
            _ if stop.is_requested() => Err(Failure::Interrupted),
            Ok(()) => Ok(()),
            Err(error) => Err(Failure::Check(error.to_string())),
        }
    })
}

async fn run(options: Options, stop: Stop) -> Result<(), AnyError> {
    match options.command {
        Some(Role::Server(transport)) => serve(&transport).await,
        Some(Role::Client {
            transport,
            connect,
            bytes,
            message,
        }) => {
            let plan = Plan {
                bytes,
                message,
                pings: 200,
            };
            measure(&transport, &connect, plan).await
        }
        None => tokio::task::spawn_blocking(move || compare(&options, &stop)).await?,
    }
}

async fn serve(transport: &Args) -> Result<(), AnyError> {
    let listener = KcpListener::builder(&transport.security()?)
        .config(&transport.config()?)
        .bind("127.0.0.1:0")
        .await?;
    println!(
        "{}",
        serde_json::json!({ "listening": listener.local_addr()?.to_string() })
    );
    Ok(echo::serve(listener).await?)
}

async fn measure(transport: &Args, peer: &HostPort, plan: Plan) -> Result<(), AnyError> {
    let stream = echo::connect(peer, &transport.transport()?).await?;
    let measurement = echo::measure(stream, plan).await?;
    println!("{}", serde_json::to_string(&measurement)?);
    Ok(())
}

fn compare(options: &Options, stop: &Stop) -> Result<(), AnyError> {
    let ours = std::env::current_exe()?;
    let theirs = Programs::build(&ours)?.of(Peer::KcpGo);
    let mut rows = Vec::new();
    if !options.json {
        println!(
            "{:24} {:>10} {:>10} {:>7}   {:>9} {:>9}",
            "", "ours MB/s", "kcp-go", "ratio", "ours p50", "kcp-go us"
        );
    }
    for (name, flags) in SETUPS {
        let rounds = rounds(&ours, theirs, flags, options);
        if stop.is_requested() {
            break;
        }
        let (mine, others) = rounds?;
        let speed = |runs: &[Value]| median(runs, "mb_per_s");
        let (ours, theirs) = (speed(&mine), speed(&others));
        let (p50, their_p50) = (median(&mine, "p50_us"), median(&others, "p50_us"));
        if !options.json {
            println!(
                "{name:24} {ours:>10.0} {theirs:>10.0} {:>6.1}x   {p50:>9.0} {their_p50:>9.0}",
                ours / theirs
            );
        }
        rows.push(serde_json::json!({
            "setup": name, "ours_mb_per_s": ours, "kcp_go_mb_per_s": theirs,
            "ratio": ours / theirs, "ours_p50_us": p50, "kcp_go_p50_us": their_p50,
        }));
    }
    if options.json {
        println!("{}", serde_json::json!({ "echo": rows }));
    }
    Ok(())
}

/// Measures both implementations in alternation.
fn rounds(
    ours: &Path,
    theirs: &Path,
    flags: &[&str],
    options: &Options,
) -> Result<(Vec<Value>, Vec<Value>), AnyError> {
    let mut mine = Vec::new();
    let mut others = Vec::new();
    for _ in 0..options.rounds.max(1) {
        mine.push(echo_once(ours, ["server", "client"], flags, options)?);
        let roles = ["echo-server", "echo-client"];
        others.push(echo_once(theirs, roles, flags, options)?);
    }
    Ok((mine, others))
}

/// Makes one measurement with one server process and one client process.
fn echo_once(
    program: &Path,
    [server, client]: [&str; 2],
    flags: &[&str],
    options: &Options,
) -> Result<Value, AnyError> {
    // Ours runs with the default configuration, which most users have.
    let timing: &[&str] = match client {
        "echo-client" => &["--mode", "fast2"],
        _ => &[],
    };
    let mut child = KillOnDrop(
        Command::new(program)
            .arg(server)
            .args(flags)
            .args(timing)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let mut ready = String::new();
    BufReader::new(
        child
            .0
            .stdout
            .take()
            .ok_or("the server's standard output is not piped")?,
    )
    .read_line(&mut ready)?;
    let ready: Value = serde_json::from_str(&ready)?;
    let addr = ready["listening"]
        .as_str()
        .ok_or("the server printed no address")?;
    let output = Command::new(program)
        .arg(client)
        .args(["--connect", addr])
        .args(flags)
        .args(timing)
        .args([
            "--bytes",
            &options.bytes.to_string(),
            "--message",
            &options.message.to_string(),
        ])
        .args(if client == "echo-client" {
            &["--pings", "200"][..]
        } else {
            &[]
        })
        .stderr(Stdio::inherit())
        .output()?;
    let line = String::from_utf8(output.stdout)?;
    Ok(serde_json::from_str(
        line.lines().last().ok_or("the client printed nothing")?,
    )?)
}

/// A process that is killed when dropped.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // The process may have exited already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn median(runs: &[Value], field: &str) -> f64 {
    let mut values: Vec<f64> = runs.iter().filter_map(|run| run[field].as_f64()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
