//! `kcp relay`: its options, and what it prints.

use std::time::{Duration, Instant};

use kcp_examples::address::HostPort;
use kcp_examples::cli::{self, Failure, ServerArgs};
use kcp_examples::options::within;
use kcp_examples::relay::{Relay, RelayConfig, RelayStats};
use kcp_examples::stop::Stop;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

/// Options of `kcp relay`. Impairments apply to each direction by itself.
#[derive(Debug, clap::Args)]
pub(crate) struct RelayArgs {
    #[command(flatten)]
    listen: ServerArgs,

    /// Host name or IP address of the server, and its UDP port
    #[arg(long, value_name = "HOST:PORT")]
    server: HostPort,

    /// Packet loss in each direction, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = within(0.0..=100.0))]
    loss: f64,

    /// One-way delay, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0.0, value_parser = within(0.0..=10_000.0))]
    delay: f64,

    /// Largest random delay in addition, in milliseconds. Packets may overtake each other
    #[arg(long, value_name = "MS", default_value_t = 0.0, value_parser = within(0.0..=10_000.0))]
    jitter: f64,

    /// Share of packets held back by up to three times the delay, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = within(0.0..=100.0))]
    reorder: f64,

    /// Share of packets that arrive twice, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = within(0.0..=100.0))]
    duplicate: f64,

    /// Bandwidth of each client in each direction, in Mbit/s (10^6). Default: no limit
    #[arg(long, value_name = "MBIT", value_parser = within(0.001..=100_000.0))]
    rate: Option<f64>,

    /// Packets of 1500 bytes that may wait for the bandwidth; what exceeds them is lost
    #[arg(long, value_name = "PACKETS", default_value_t = 400, value_parser = within(1..=8192_usize))]
    #[arg(requires = "rate")]
    queue: usize,

    /// Longest UDP payload in bytes; longer packets are lost. Default: no limit
    #[arg(long, value_name = "BYTES", value_parser = within(1..=65_535_usize))]
    mtu: Option<usize>,

    /// Seed of the random losses and delays
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = within(0..=u64::MAX))]
    seed: u64,

    /// Seconds between lines with counts; 0 for counts at the end only
    #[arg(short, long, value_name = "SECONDS", default_value_t = 0.0, value_parser = cli::interval)]
    interval: f64,
}

impl RelayArgs {
    /// Relays until Ctrl-C or SIGTERM.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let unknown = Failure::io(format!("cannot resolve {}", self.server));
        let server = self.server.resolve().await.map_err(unknown)?[0];
        let address = self.listen.address().await?;
        let stop = self.listen.stop();
        let relay = Relay::start_on(address, server, self.config());
        let relay = relay.map_err(self.listen.cannot_listen())?;
        self.listen.announce(relay.local_addr())?;
        if self.interval > 0.0 {
            self.report_until(&relay, &stop).await?;
        } else {
            stop.requested().await;
        }
        self.print(&relay.stats(), "total")
    }

    async fn report_until(&self, relay: &Relay, stop: &Stop) -> Result<(), Failure> {
        let begin = Instant::now();
        let mut ticks = interval(Duration::from_secs_f64(self.interval));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut last = relay.stats();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.requested() => return Ok(()),
            }
            let stats = relay.stats();
            let name = format!("{:.2} s", begin.elapsed().as_secs_f64());
            self.print(&stats.since(&last), &name)?;
            last = stats;
        }
    }

    fn print(&self, stats: &RelayStats, name: &str) -> Result<(), Failure> {
        #[derive(Serialize)]
        struct Line<'a> {
            at: &'a str,
            received: u64,
            lost: u64,
            overflowed: u64,
        }
        let RelayStats {
            received,
            lost,
            overflowed,
        } = *stats;
        if self.listen.json {
            return cli::print_json(&Line {
                at: name,
                received,
                lost,
                overflowed,
            });
        }
        let share = lost as f64 * 100.0 / received.max(1) as f64;
        cli::print(&format!(
            "{name:>10}  {received:>9} packets received, {lost} lost ({share:.1}%), {overflowed} dropped by full queues\n"
        ))
    }

    fn config(&self) -> RelayConfig {
        let millis = |given: f64| Duration::from_secs_f64(given / 1000.0);
        RelayConfig {
            loss: self.loss / 100.0,
            delay: millis(self.delay),
            jitter: millis(self.jitter),
            reorder: self.reorder / 100.0,
            duplicate: self.duplicate / 100.0,
            mtu: self.mtu.unwrap_or(usize::MAX),
            // Cannot truncate: at most 12.5 GB/s.
            rate: self.rate.map(|mbit| (mbit * 125_000.0) as u64),
            queue: self.queue,
            seed: self.seed,
        }
    }
}
