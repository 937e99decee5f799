//! Echo over a plain stream: our client, and what must come back.

use kcp_transport::net::{KcpStream, OwnedReadHalf, OwnedWriteHalf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::Failure;
use crate::case::{Case, Shape};
use crate::comparison::Comparison;
use crate::data::bytes;

/// Writes [`bytes`] in the shape given, with a pause after half of them, reads them back meanwhile and
/// compares them; then shuts down. A peer that has read the end shuts down, too.
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

const BUFFER: usize = 64 << 10;
