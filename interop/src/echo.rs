//! Our echo client for streams.

use kcp_transport::net::{KcpStream, OwnedReadHalf, OwnedWriteHalf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::Failure;
use crate::case::{Case, Shape};
use crate::comparison::Comparison;
use crate::data::bytes;

/// Writes [`bytes()`] in the given shape, with the pause of the case after half of them, and concurrently reads the
/// echo and compares it. Then shuts down; a peer with extensions must shut down too.
///
/// # Errors
///
/// [`Failure::Stream`] if the stream fails, [`Failure::Wrong`] if the echo differs from the data.
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
            return Err(Failure::Wrong(
                "the echo is longer than the data".to_owned(),
            ));
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

/// Reads as many bytes as were sent, and compares them.
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
            return Err(Failure::Wrong(format!(
                "the stream ended {left} bytes early"
            )));
        }
        comparison.update(&buffer[..read]);
    }
    comparison.finish()
}

const BUFFER: usize = 64 << 10;
