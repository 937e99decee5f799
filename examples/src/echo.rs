//! An echo server, and a client that measures throughput and round trips.

use std::borrow::Borrow;
use std::io;
use std::time::Instant;

use kcp_transport::net::{KcpListener, KcpStream, OwnedReadHalf, OwnedWriteHalf};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::pattern::Pattern;
use crate::report::{Latencies, Table, milliseconds};

/// Echoes whatever arrives on each connection, until the listener fails. It may be shared, by who
/// wants to look at its statistics.
///
/// Dropping the future stops accepting; connections go on as long as the runtime does.
///
/// # Errors
///
/// The listener's.
pub async fn serve(listener: impl Borrow<KcpListener>) -> io::Result<()> {
    let listener = listener.borrow();
    loop {
        let (stream, _) = listener.accept().await?;
        // How a connection ends is the client's business: it has seen its bytes, or an error.
        tokio::spawn(async move { echo(stream).await.ok() });
    }
}

async fn echo(mut stream: KcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.shutdown().await,
            len => stream.write_all(&buffer[..len]).await?,
        }
    }
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

/// Writes and reads back what the plan says, then pings, then shuts down.
///
/// # Errors
///
/// The stream's; [`io::ErrorKind::UnexpectedEof`] if the server ended it early, and
/// [`io::ErrorKind::InvalidData`] if a byte came back wrong.
pub async fn measure(stream: KcpStream, plan: Plan) -> io::Result<Measurement> {
    let pattern = Pattern::new(BUFFER.max(plan.message));
    let (mut reader, writer) = stream.into_split();

    let start = Instant::now();
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
    let read = read_back(&mut reader, plan.bytes, &pattern);
    let ((), writer) = tokio::try_join!(read, written)?;
    let seconds = start.elapsed().as_secs_f64();
    let mut stream = reader.reunite(writer).map_err(io::Error::other)?;

    let pings = ping(&mut stream, plan.pings, &pattern).await?;
    stream.shutdown().await?;
    Ok(Measurement {
        bytes: plan.bytes,
        seconds,
        mb_per_s: plan.bytes as f64 / 1e6 / seconds,
        p50_us: pings.percentile_us(50),
        p99_us: pings.percentile_us(99),
    })
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

async fn read_back(reader: &mut OwnedReadHalf, bytes: u64, pattern: &Pattern) -> io::Result<()> {
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
            read += len as u64;
            continue;
        };
        let (kind, problem) = problem;
        let message = format!("{problem}, after {read} of {bytes} bytes");
        return Err(io::Error::new(kind, message));
    }
    Ok(())
}

async fn ping(stream: &mut KcpStream, pings: usize, pattern: &Pattern) -> io::Result<Latencies> {
    let mut samples = Vec::with_capacity(pings);
    let mut answer = [0; PING];
    for position in (0..).step_by(PING).take(pings) {
        let start = Instant::now();
        stream.write_all(pattern.slice(position, PING)).await?;
        stream.flush().await?;
        stream.read_exact(&mut answer).await?;
        samples.push(start.elapsed());
        if !pattern.matches(position, &answer) {
            let message = "other bytes came back than were pinged";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
    }
    Ok(Latencies::new(samples))
}

/// Bytes of a ping.
pub const PING: usize = 64;

/// Bytes read at a time: dozens of segments, and no more than a second-level cache holds twice.
const BUFFER: usize = 64 << 10;
