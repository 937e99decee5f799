//! Uploads, and the times at which their data arrives.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};

use super::frame::{self, Header, TIME_LEN};
use crate::app::subjects::BoxStream;
use kcp_benches::clock;

/// Parameters of an upload.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    /// Number of bytes; `None` uploads until stopped.
    pub(crate) bytes: Option<u64>,
    pub(crate) starts: Duration,
    pub(crate) ends: Duration,
    /// Ends the upload early.
    pub(crate) stop: Arc<AtomicBool>,
}

/// Data that has arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrived {
    pub(crate) bytes: u64,
    /// Arrival time of the last byte.
    pub(crate) last: Duration,
    /// Bytes of each [`BIN`] since `starts`.
    pub(crate) bins: Vec<u64>,
    pub(crate) is_complete: bool,
}

/// Width of the bins in which arrivals are counted.
pub(crate) const BIN: Duration = Duration::from_millis(100);

/// Uploads in chunks of 64 KiB. The server answers each chunk with its arrival time.
pub(crate) async fn run(upload: Upload, stream: BoxStream) -> io::Result<Arrived> {
    tokio::time::sleep(upload.starts.saturating_sub(clock::now())).await;
    let (reader, writer) = tokio::io::split(stream);
    let ends = upload.ends;
    let mut arrived = Arrived::default();
    let transfer =
        async { tokio::try_join!(write(&upload, writer), read(&upload, reader, &mut arrived)) };
    match tokio::time::timeout(ends.saturating_sub(clock::now()), transfer).await {
        Ok(result) => {
            result?;
            arrived.is_complete = true;
        }
        Err(_) => arrived.last = ends,
    }
    Ok(arrived)
}

/// Lengths of the chunks. The last one may be shorter.
fn chunks(bytes: Option<u64>) -> impl Iterator<Item = u32> {
    let mut left = bytes.unwrap_or(u64::MAX);
    std::iter::from_fn(move || {
        // A request has at least its header.
        let chunk = left.min(CHUNK).max(frame::HEADER_LEN as u64);
        let more = left > 0;
        left = left.saturating_sub(chunk);
        more.then_some(chunk as u32)
    })
}

async fn write(
    upload: &Upload,
    mut writer: WriteHalf<BoxStream>,
) -> io::Result<WriteHalf<BoxStream>> {
    for chunk in chunks(upload.bytes) {
        if upload.stop.load(Ordering::Relaxed) {
            break;
        }
        let request = frame::request(Header {
            request: chunk,
            answer: TIME_LEN,
            piece: 0,
            is_timed: true,
        });
        writer.write_all(&request).await?;
    }
    writer.flush().await?;
    Ok(writer)
}

async fn read(
    upload: &Upload,
    mut reader: ReadHalf<BoxStream>,
    arrived: &mut Arrived,
) -> io::Result<()> {
    for chunk in chunks(upload.bytes) {
        if upload.stop.load(Ordering::Relaxed) {
            break;
        }
        let at = frame::read_time(&mut reader).await?;
        arrived.bytes += u64::from(chunk);
        arrived.last = at;
        let bin = at.saturating_sub(upload.starts).as_millis() / BIN.as_millis();
        let bin = bin as usize;
        if arrived.bins.len() <= bin {
            arrived.bins.resize(bin + 1, 0);
        }
        arrived.bins[bin] += u64::from(chunk);
    }
    Ok(())
}

/// Bytes per chunk.
const CHUNK: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_add_up_to_the_upload() {
        let lengths: Vec<_> = chunks(Some(200_000)).collect();
        assert_eq!(lengths, [65_536, 65_536, 65_536, 3392]);
        assert_eq!(chunks(Some(0)).count(), 0);
    }
}
