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

/// Echoes what arrives on each connection, until the listener fails. The listener may be shared, so
/// that its statistics can be read meanwhile.
///
/// Dropping the future stops accepting, and ends the connections.
///
/// # Errors
///
/// The listener's.
pub async fn serve(listener: impl Borrow<KcpListener>) -> io::Result<()> {
    serve_until(listener, Stop::never()).await.map(drop)
}

/// As [`serve`], until `stop` is requested: then new connections are refused, and each connection gets
/// the echo of what was read so far, and the end of the stream. Returns how many connections there were,
/// and leaves the port free.
///
/// Connections whose peers do not acknowledge that and end theirs within two seconds are reset.
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
        // How a connection ends is the client's business: it has seen its bytes, or an error.
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
    // To drop a stream with unread bytes resets it, and the client may see that before it reads the end.
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// Connects to the address of a host that answers first.
///
/// # Errors
///
/// If the host has no address, or none of them answers: the error contains each with its reason.
pub async fn connect(server: &HostPort, transport: &Transport) -> io::Result<KcpStream> {
    let builder = KcpStream::builder(&transport.security).config(&transport.config);
    builder.connect(server.as_str()).await
}

/// What the client sends.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Bytes to write, and to read back.
    pub bytes: u64,
    /// Bytes of one write.
    pub message: usize,
    /// Round trips of [`PING`] bytes to time afterwards, one at a time.
    pub pings: usize,
}

/// What the client saw.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measurement {
    /// Bytes that went to the server and came back right.
    pub bytes: u64,
    /// From the first write until the last byte was back.
    pub seconds: f64,
    /// Millions of bytes a second, counted in one direction.
    pub mb_per_s: f64,
    /// Median round trip of a ping, in microseconds.
    pub p50_us: u64,
    /// Round trip that 99 % of the pings do not exceed, in microseconds.
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

/// What a measurement has seen so far, for a look at it while it runs.
#[derive(Debug)]
pub struct Meter {
    start: Instant,
    /// From the first write until the last byte was back.
    echoed: OnceLock<Duration>,
    /// Shows the bytes that came back right, and counts them.
    progress: ProgressBar,
    pings: Mutex<Vec<Duration>>,
}

impl Meter {
    /// A meter that has seen nothing, and begins to count the time.
    #[must_use]
    pub fn new(progress: ProgressBar) -> Self {
        Self {
            start: Instant::now(),
            echoed: OnceLock::new(),
            progress,
            pings: Mutex::default(),
        }
    }

    /// What has been seen so far.
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

    /// Takes the progress from the terminal. To be called after the last look at the measurement.
    pub fn clear(&self) {
        self.progress.finish_and_clear();
    }

    fn on_ping(&self, round_trip: Duration) {
        let mut pings = self.pings.lock().unwrap_or_else(PoisonError::into_inner);
        pings.push(round_trip);
    }
}

/// Writes and reads back the bytes of the plan, then pings, then shuts down.
///
/// # Errors
///
/// The stream's; [`io::ErrorKind::UnexpectedEof`] if the server ended it early, and
/// [`io::ErrorKind::InvalidData`] if a byte came back wrong.
pub async fn measure(stream: KcpStream, plan: Plan) -> io::Result<Measurement> {
    let meter = Meter::new(ProgressBar::hidden());
    measure_with(stream, plan, &meter).await?;
    Ok(meter.measurement())
}

/// As [`measure`], with a meter that may be read meanwhile, and after the future was dropped.
///
/// # Errors
///
/// As [`measure`].
pub async fn measure_with(stream: KcpStream, plan: Plan, meter: &Meter) -> io::Result<()> {
    let pattern = Pattern::new(BUFFER.max(plan.message));
    let (mut reader, writer) = stream.into_split();

    // A task of its own, so that writing and comparing run side by side; the set ends it if this
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
            (io::ErrorKind::InvalidData, "more came back than was sent")
        } else if !pattern.matches(read, &buffer[..len]) {
            (
                io::ErrorKind::InvalidData,
                "other bytes came back than were sent",
            )
        } else {
            if read == 0 {
                tracing::debug!("first bytes came back");
            }
            read += len as u64;
            progress.set_position(read);
            continue;
        };
        let (kind, problem) = problem;
        let message = format!("{problem}, after {read} of {bytes} bytes");
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
            let message = "other bytes came back than were pinged";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
    }
    Ok(())
}

/// Bytes of a ping.
pub const PING: usize = 64;

/// Bytes read at a time: dozens of segments, and no more than a second-level cache holds twice.
const BUFFER: usize = 64 << 10;

/// Far more than the last acknowledgements take, and short for a user at a prompt.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
