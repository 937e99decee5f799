//! An echo server, and a client that measures throughput and round trips.

use std::borrow::Borrow;
use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use kcp_transport::net::{KcpListener, KcpStream, OwnedReadHalf, OwnedWriteHalf};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::address::HostPort;
use crate::options::Transport;
use crate::pattern::Pattern;
use crate::report::{Latencies, Table, milliseconds};
use crate::stop::Stop;

/// Echoes all received bytes on each connection until the listener fails. The caller may keep a
/// reference to the listener and read its statistics meanwhile.
///
/// Dropping the future stops accepting and drops the connections.
///
/// # Errors
///
/// The listener's.
pub async fn serve(listener: impl Borrow<KcpListener>) -> io::Result<()> {
    serve_until(listener, Stop::never()).await.map(drop)
}

/// Serves like [`serve`], until `stop` is requested.
///
/// New connections are then refused. Each open connection echoes the bytes read so far and ends its
/// stream. It is reset if the peer does not acknowledge this and end its own stream within two seconds.
/// The port is free when this returns. Returns the number of connections accepted.
///
/// # Errors
///
/// The listener's.
pub async fn serve_until(listener: impl Borrow<KcpListener>, stop: Stop) -> io::Result<u64> {
    let mut connections = JoinSet::new();
    let mut accepted = 0;
    loop {
        let stream = tokio::select! {
            stream = listener.borrow().accept() => stream?.0,
            Some(_) = connections.join_next() => continue,
            () = stop.requested() => break,
        };
        accepted += 1;
        let stop = stop.clone();
        // The client checks the echo and reports errors.
        connections.spawn(async move { echo(stream, stop).await.ok() });
    }
    let listener = listener.borrow();
    listener.stop_accepting();
    let drained = async {
        while connections.join_next().await.is_some() {}
        listener.shutdown(Duration::MAX).await;
    };
    if timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        listener.shutdown(Duration::ZERO).await;
    }
    Ok(accepted)
}

async fn echo(mut stream: KcpStream, stop: Stop) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let len = tokio::select! {
            read = stream.read(&mut buffer) => read?,
            () = stop.requested() => 0,
        };
        match len {
            0 => break,
            len => stream.write_all(&buffer[..len]).await?,
        }
    }
    stream.shutdown().await?;
    // Dropping a stream with unread bytes resets it, and the reset could reach the client before it has read
    // the end of the stream.
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// Connects to the first address of the host that answers.
///
/// # Errors
///
/// If the host has no address, or if no address answers. The error then lists each address and its reason.
pub async fn connect(server: &HostPort, transport: &Transport) -> io::Result<KcpStream> {
    let builder = KcpStream::builder(&transport.security).config(&transport.config);
    builder.connect(server.as_str()).await
}

/// The transfer and pings that the client makes.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Bytes to write and read back.
    pub bytes: u64,
    /// Bytes per write.
    pub message: usize,
    /// Round trips of [`PING`] bytes to time after the transfer, one at a time.
    pub pings: usize,
}

/// Results of the client.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measurement {
    /// Bytes echoed correctly.
    pub bytes: u64,
    /// Seconds from the first write until the last byte was read back.
    pub seconds: f64,
    /// Throughput in one direction, in 10^6 bytes per second.
    pub mb_per_s: f64,
    /// Median round-trip time of a ping, in microseconds.
    pub p50_us: u64,
    /// 99th percentile of the pings' round-trip times, in microseconds.
    pub p99_us: u64,
}

impl Measurement {
    /// The measurement as a table.
    #[must_use]
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table
            .row([&"bytes echoed", &self.bytes])
            .row([&"time", &format!("{:.3} s", self.seconds)])
            .row([&"throughput", &format!("{:.1} MB/s", self.mb_per_s)])
            .row([&"ping p50", &milliseconds(self.p50_us)])
            .row([&"ping p99", &milliseconds(self.p99_us)]);
        table
    }
}

/// Progress of a measurement, which can be read while it runs.
#[derive(Debug)]
pub struct Meter {
    start: Instant,
    /// Time from the first write until the last byte was read back.
    echoed: OnceLock<Duration>,
    /// Counts the bytes echoed correctly, and shows them.
    progress: ProgressBar,
    pings: Mutex<Vec<Duration>>,
}

impl Meter {
    /// A meter with no results; its clock starts now.
    #[must_use]
    pub fn new(progress: ProgressBar) -> Self {
        Self {
            start: Instant::now(),
            echoed: OnceLock::new(),
            progress,
            pings: Mutex::default(),
        }
    }

    /// Results so far.
    #[must_use]
    pub fn measurement(&self) -> Measurement {
        let bytes = self.progress.position();
        let elapsed = self.echoed.get().copied();
        let seconds = elapsed
            .unwrap_or_else(|| self.start.elapsed())
            .as_secs_f64();
        let pings = self.pings.lock().unwrap_or_else(PoisonError::into_inner);
        let pings = Latencies::new(pings.clone());
        Measurement {
            bytes,
            seconds,
            mb_per_s: bytes as f64 / 1e6 / seconds,
            p50_us: pings.percentile_us(50),
            p99_us: pings.percentile_us(99),
        }
    }

    /// Removes the progress bar from the terminal. Call it after the last [`measurement`](Self::measurement):
    /// the bar also counts the bytes.
    pub fn clear(&self) {
        self.progress.finish_and_clear();
    }

    fn on_ping(&self, round_trip: Duration) {
        let mut pings = self.pings.lock().unwrap_or_else(PoisonError::into_inner);
        pings.push(round_trip);
    }
}

/// Writes the bytes of the plan, reads them back, sends the pings and shuts the stream down.
///
/// # Errors
///
/// [`io::ErrorKind::UnexpectedEof`] if the server ended the stream early,
/// [`io::ErrorKind::InvalidData`] if the echo differs from the bytes sent, and errors of the stream.
pub async fn measure(stream: KcpStream, plan: Plan) -> io::Result<Measurement> {
    let meter = Meter::new(ProgressBar::hidden());
    measure_with(stream, plan, &meter).await?;
    Ok(meter.measurement())
}

/// Measures like [`measure`], into a meter that can be read meanwhile and after the future is dropped.
///
/// # Errors
///
/// The same errors as [`measure`].
pub async fn measure_with(stream: KcpStream, plan: Plan, meter: &Meter) -> io::Result<()> {
    let pattern = Pattern::new(BUFFER.max(plan.message));
    let (mut reader, writer) = stream.into_split();

    // Writing runs in a task of its own, concurrently with comparing. The set aborts the task if this
    // future fails or is dropped.
    let mut writing = JoinSet::new();
    writing.spawn(write(writer, plan, pattern.clone()));
    let written = async {
        let joined = writing.join_next().await;
        joined
            .expect("one task was spawned")
            .map_err(io::Error::other)?
    };
    let read = read_back(&mut reader, plan.bytes, &pattern, &meter.progress);
    let ((), writer) = tokio::try_join!(read, written)?;
    let _ = meter.echoed.set(meter.start.elapsed());
    meter.progress.finish_and_clear();
    let mut stream = reader.reunite(writer).map_err(io::Error::other)?;

    ping(&mut stream, plan.pings, &pattern, meter).await?;
    stream.shutdown().await
}

async fn write(
    mut writer: OwnedWriteHalf,
    plan: Plan,
    pattern: Pattern,
) -> io::Result<OwnedWriteHalf> {
    let mut written = 0;
    while written < plan.bytes {
        let left = usize::try_from(plan.bytes - written).unwrap_or(usize::MAX);
        let message = pattern.slice(written, plan.message.min(left));
        writer.write_all(message).await?;
        written += message.len() as u64;
    }
    writer.flush().await?;
    Ok(writer)
}

async fn read_back(
    reader: &mut OwnedReadHalf,
    bytes: u64,
    pattern: &Pattern,
    progress: &ProgressBar,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut read = 0;
    while read < bytes {
        let len = reader.read(&mut buffer).await?;
        let problem = if len == 0 {
            (
                io::ErrorKind::UnexpectedEof,
                "the server ended the connection",
            )
        } else if len as u64 > bytes - read {
            (
                io::ErrorKind::InvalidData,
                "the echo is longer than the data",
            )
        } else if !pattern.matches(read, &buffer[..len]) {
            (io::ErrorKind::InvalidData, "the echo differs from the data")
        } else {
            if read == 0 {
                tracing::debug!("first bytes echoed");
            }
            read += len as u64;
            progress.set_position(read);
            continue;
        };
        let (kind, problem) = problem;
        let message = format!("{problem} after {read} of {bytes} bytes");
        return Err(io::Error::new(kind, message));
    }
    Ok(())
}

async fn ping(
    stream: &mut KcpStream,
    pings: usize,
    pattern: &Pattern,
    meter: &Meter,
) -> io::Result<()> {
    let mut answer = [0; PING];
    for position in (0..).step_by(PING).take(pings) {
        let start = Instant::now();
        stream.write_all(pattern.slice(position, PING)).await?;
        stream.flush().await?;
        stream.read_exact(&mut answer).await?;
        meter.on_ping(start.elapsed());
        if !pattern.matches(position, &answer) {
            let message = "the echo of a ping differs from it";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
    }
    Ok(())
}

/// Bytes per ping.
pub const PING: usize = 64;

/// Bytes of a read buffer: dozens of segments, small enough for the buffer and the pattern to stay in the
/// second-level cache.
const BUFFER: usize = 64 << 10;

/// Time for open connections to end after a stop request: far longer than the last acknowledgements take,
/// and short enough for a user who waits.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
