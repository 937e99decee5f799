//! Echo over a plain stream: our client and server, and what must come back.

use kcp_transport::config::Mode;
use kcp_transport::net::{ConnectionInfo, KcpListener, KcpStream, OwnedReadHalf, OwnedWriteHalf};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use crate::case::{Case, Shape};
use crate::comparison::Comparison;
use crate::{Failure, messages, out_of_band};

/// Writes [`bytes`] as the shape says, with a pause after half of them, reads them back meanwhile and
/// compares them; then shuts down. A peer that is told so shuts down, too.
///
/// # Errors
///
/// [`Failure::Stream`], or [`Failure::Wrong`] if other bytes came back.
pub async fn exchange(
    stream: KcpStream,
    seed: u64,
    case: &Case,
    shape: Shape,
) -> Result<(), Failure> {
    let (len, pause) = (shape.bytes as usize, case.pause());
    let data = bytes(seed, len);
    let (mut reader, mut writer) = stream.into_split();
    let writing = async {
        let (first, second) = data.split_at(len / 2);
        let size = shape.write as usize;
        if pause.is_zero() {
            return write(&mut writer, &data, size).await;
        }
        write(&mut writer, first, size).await?;
        tokio::time::sleep(pause).await;
        write(&mut writer, second, size).await
    };
    tokio::try_join!(writing, read(&mut reader, &data))?;
    writer
        .shutdown()
        .await
        .map_err(Failure::stream("shutting down"))?;
    if case.is_extended() {
        let end = reader.read(&mut [0]).await;
        if end.map_err(Failure::stream("reading the end"))? > 0 {
            return Err(Failure::Wrong("more came back than was sent".to_owned()));
        }
    }
    Ok(())
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

/// Reads as much as was sent, and compares it.
async fn read(reader: &mut OwnedReadHalf, data: &[u8]) -> Result<(), Failure> {
    let mut comparison = Comparison::new(data);
    let mut buffer = vec![0; BUFFER];
    while comparison.left() > 0 {
        let limit = comparison.left().min(BUFFER);
        let read = reader
            .read(&mut buffer[..limit])
            .await
            .map_err(Failure::stream("reading"))?;
        if read == 0 {
            let left = comparison.left();
            return Err(Failure::Wrong(format!("end of stream, {left} bytes early")));
        }
        comparison.update(&buffer[..read]);
    }
    comparison.finish()
}

/// Accepts one connection and echoes until it ends, whole messages in message mode, and datagrams
/// out of band. Says over `accepted` how to look at it.
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
    let datagrams = stream.datagrams();
    let serving = async {
        if mode == Mode::Message {
            messages::serve(stream).await;
            return;
        }
        let mut buffer = vec![0; BUFFER];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            if stream.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = serving => Ok(()),
        () = out_of_band::serve(datagrams) => Ok(()),
    }
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

const BUFFER: usize = 64 << 10;
