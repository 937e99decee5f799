//! Echo over loopback, ours and kcp-go's in turn: server and client are two processes each.
//!
//! Ratios of medians are what counts; absolute figures depend on the machine and its neighbours.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use clap::{Parser, Subcommand};
use kcp_examples::echo::{self, Plan};
use kcp_examples::options::Args;
use kcp_interop::go::Programs;
use kcp_interop::peer::Peer;
use kcp_transport::net::{KcpListener, KcpStream};
use serde_json::Value;

type AnyError = Box<dyn std::error::Error>;

/// Echo throughput and latency beside kcp-go's.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    command: Option<Half>,
    /// Measurements of each side; medians are shown.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Bytes echoed in one measurement.
    #[arg(long, default_value_t = 100_000_000)]
    bytes: u64,
    /// Bytes of one write.
    #[arg(long, default_value_t = 65_536)]
    message: usize,
    /// Prints one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// What a measurement starts as processes of its own.
#[derive(Debug, Subcommand)]
enum Half {
    #[command(hide = true)]
    Server(Args),
    #[command(hide = true)]
    Client {
        #[command(flatten)]
        transport: Args,
        #[arg(long)]
        connect: SocketAddr,
        #[arg(long)]
        bytes: u64,
        #[arg(long)]
        message: usize,
    },
}

/// Cipher and FEC of one row.
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
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<(), AnyError> {
    let runtime = tokio::runtime::Runtime::new()?;
    match options.command {
        Some(Half::Server(transport)) => runtime.block_on(serve(&transport)),
        Some(Half::Client {
            transport,
            connect,
            bytes,
            message,
        }) => runtime.block_on(measure(
            &transport,
            connect,
            Plan {
                bytes,
                message,
                pings: 200,
            },
        )),
        None => compare(&options),
    }
}

async fn serve(transport: &Args) -> Result<(), AnyError> {
    let listener = KcpListener::bind_with(
        "127.0.0.1:0".parse()?,
        &transport.security()?,
        &transport.config()?,
    )
    .await?;
    println!(
        "{}",
        serde_json::json!({ "listening": listener.local_addr()?.to_string() })
    );
    Ok(echo::serve(listener).await?)
}

async fn measure(transport: &Args, peer: SocketAddr, plan: Plan) -> Result<(), AnyError> {
    let stream =
        KcpStream::connect_with(peer, &transport.security()?, &transport.config()?).await?;
    let measurement = echo::measure(stream, plan).await?;
    println!("{}", serde_json::to_string(&measurement)?);
    Ok(())
}

fn compare(options: &Options) -> Result<(), AnyError> {
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
        let mut mine = Vec::new();
        let mut others = Vec::new();
        for _ in 0..options.rounds.max(1) {
            mine.push(echo_once(&ours, ["server", "client"], flags, options)?);
            others.push(echo_once(
                theirs,
                ["echo-server", "echo-client"],
                flags,
                options,
            )?);
        }
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

/// One server process, one client process, one measurement.
fn echo_once(
    program: &Path,
    [server, client]: [&str; 2],
    flags: &[&str],
    options: &Options,
) -> Result<Value, AnyError> {
    let timing = ["--mode", "fast2"];
    let mut child = Killed(
        Command::new(program)
            .arg(server)
            .args(flags)
            .args(timing)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let mut ready = String::new();
    BufReader::new(child.0.stdout.take().ok_or("no output")?).read_line(&mut ready)?;
    let ready: Value = serde_json::from_str(&ready)?;
    let addr = ready["listening"]
        .as_str()
        .ok_or("server did not say where it listens")?;
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
        line.lines().last().ok_or("client printed nothing")?,
    )?)
}

/// A process that does not outlive its measurement.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn median(runs: &[Value], field: &str) -> f64 {
    let mut values: Vec<f64> = runs.iter().filter_map(|run| run[field].as_f64()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
