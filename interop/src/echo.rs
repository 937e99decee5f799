//! Echo over a plain stream: our client and server, and what must come back.

use kcp_transport::config::Mode;
use kcp_transport::net::{ConnectionInfo, KcpListener, KcpStream, OwnedReadHalf, OwnedWriteHalf};
use kcp_transport::stats::Stats;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use crate::case::{Case, Payload, Shape};
use crate::{Failure, messages};

/// Writes [`bytes`] as the shape says, reads them back meanwhile and compares SHA-256; then shuts down.
///
/// # Errors
///
/// [`Failure::Stream`], or [`Failure::Wrong`] if other bytes came back.
pub async fn exchange(stream: KcpStream, seed: u64, shape: Shape) -> Result<(), Failure> {
    let len = shape.bytes as usize;
    let data = bytes(seed, len);
    let (mut reader, mut writer) = stream.into_split();
    let ((), received) = tokio::try_join!(
        write(&mut writer, &data, shape.write as usize),
        read(&mut reader, len)
    )?;
    compare(&sha256(&data), &received)?;
    writer
        .shutdown()
        .await
        .map_err(Failure::stream("shutting down"))
}

async fn write(writer: &mut OwnedWriteHalf, data: &[u8], size: usize) -> Result<(), Failure> {
    for message in data.chunks(size.max(1)) {
        writer
            .write_all(message)
            .await
            .map_err(Failure::stream("writing"))?;
    }
    writer.flush().await.map_err(Failure::stream("flushing"))
}

/// The digest of what came back.
async fn read(reader: &mut OwnedReadHalf, len: usize) -> Result<String, Failure> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    let mut left = len;
    while left > 0 {
        let limit = left.min(BUFFER);
        let read = reader
            .read(&mut buffer[..limit])
            .await
            .map_err(Failure::stream("reading"))?;
        if read == 0 {
            return Err(Failure::Wrong(format!("end of stream, {left} bytes early")));
        }
        digest.update(&buffer[..read]);
        left -= read;
    }
    Ok(hex(&digest.finalize()))
}

/// Accepts one connection and echoes until it ends, whole messages in message mode. Says over `accepted` how to look at it.
///
/// # Errors
///
/// If accepting fails. How the connection ends is the client's business.
pub async fn serve_one(
    listener: &KcpListener,
    mode: Mode,
    accepted: oneshot::Sender<ConnectionInfo>,
) -> Result<(), Failure> {
    let (mut stream, _) = listener
        .accept()
        .await
        .map_err(Failure::stream("accepting"))?;
    // Nobody may care.
    let _ = accepted.send(stream.info());
    if mode == Mode::Message {
        messages::serve(stream).await;
        return Ok(());
    }
    let mut buffer = vec![0; BUFFER];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Whether the digest is the expected one.
///
/// # Errors
///
/// [`Failure::Wrong`] if not.
pub fn compare(expected: &str, received: &str) -> Result<(), Failure> {
    if received == expected {
        Ok(())
    } else {
        Err(Failure::Wrong(format!(
            "bytes with SHA-256 {received} came back, not {expected}"
        )))
    }
}

/// Whether FEC did what the case asks for, by our side's counters.
///
/// # Errors
///
/// [`Failure::Wrong`] if not: the bytes may all be right, and FEC still dead.
pub fn check_fec(case: &Case, stats: &Stats) -> Result<(), Failure> {
    let wrong = |what: &str| Err(Failure::Wrong(format!("{what}: {stats:?}")));
    let Payload::Echo(shape) = case.payload else {
        return Ok(());
    };
    // Few packets may be less than a group.
    let enough = shape.bytes / u32::from(case.mtu) >= ENOUGH_PACKETS;
    let expected = |fec: Option<_>, parity: u64| match fec {
        Some(_) => !enough || parity > 0,
        None => parity == 0,
    };
    if !expected(case.fec.ours, stats.fec_parity_sent)
        || !expected(case.fec.theirs, stats.fec_parity_received)
    {
        return wrong("parity came with FEC off, or none with FEC on");
    }
    let lossy = case.trouble.loss >= 10 && enough;
    if case.fec.theirs.is_some() && lossy && stats.fec_recovered == 0 {
        return wrong("nothing was rebuilt from parity");
    }
    if stats.fec_errors > 0 || stats.invalid_received > 0 {
        return wrong("packets made no sense");
    }
    Ok(())
}

/// What the Go client sends for this seed: SplitMix64 outputs as little-endian words.
#[must_use]
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    });
    words.flat_map(u64::to_le_bytes).take(len).collect()
}

/// In hexadecimal digits, as the Go client prints it.
#[must_use]
pub fn sha256(data: &[u8]) -> String {
    hex(&Sha256::digest(data))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Of which a good part of FEC groups is lost and rebuilt at 10 % loss.
const ENOUGH_PACKETS: u32 = 150;

const BUFFER: usize = 64 << 10;
