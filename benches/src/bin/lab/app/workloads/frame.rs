//! The protocol on byte streams: requests contain the size of their answers.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use kcp_benches::clock;

/// The header of a request: 16 bytes, four little-endian `u32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Length of the request, this header included.
    pub(crate) request: u32,
    /// Length of the answer.
    pub(crate) answer: u32,
    /// Bytes per write of the answer; 0 writes it at once.
    pub(crate) piece: u32,
    /// Whether the answer is the arrival time of the request instead: 8 bytes, little endian, in nanoseconds of the
    /// monotonic clock.
    pub(crate) is_timed: bool,
}

/// Length of [`Header`], in bytes.
pub(crate) const HEADER_LEN: usize = 16;

/// Length of the answer to a timed request, in bytes.
pub(crate) const TIME_LEN: u32 = 8;

impl Header {
    pub(crate) fn encode(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let fields = [self.request, self.answer, self.piece, self.is_timed.into()];
        for (slot, field) in bytes.chunks_exact_mut(4).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; HEADER_LEN]) -> Self {
        let field = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Self {
            request: field(0),
            answer: field(4),
            piece: field(8),
            is_timed: field(12) != 0,
        }
    }
}

/// Answers the requests of one stream until it ends.
///
/// # Errors
///
/// If reading or writing fails.
pub(crate) async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut header = [0; HEADER_LEN];
    loop {
        match stream.read_exact(&mut header).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
        let Header {
            request,
            answer,
            piece,
            is_timed,
        } = Header::decode(&header);
        skip(&mut stream, request as usize - HEADER_LEN, &mut buffer).await?;
        if is_timed {
            // A u64 holds 584 years of nanoseconds.
            let now = clock::now().as_nanos() as u64;
            stream.write_all(&now.to_le_bytes()).await?;
            stream.flush().await?;
        } else {
            write_pieces(&mut stream, &vec![0x5a; answer as usize], piece).await?;
        }
    }
}

/// Writes in pieces of `piece` bytes and flushes each; 0 writes all at once.
pub(crate) async fn write_pieces(
    stream: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    piece: u32,
) -> io::Result<()> {
    let size = if piece == 0 {
        bytes.len()
    } else {
        piece as usize
    };
    for part in bytes.chunks(size.max(1)) {
        stream.write_all(part).await?;
        stream.flush().await?;
    }
    Ok(())
}

/// Reads and discards `left` bytes.
pub(crate) async fn skip(
    stream: &mut (impl AsyncRead + Unpin),
    mut left: usize,
    buffer: &mut [u8],
) -> io::Result<()> {
    while left > 0 {
        let limit = left.min(buffer.len());
        let read = stream.read(&mut buffer[..limit]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left -= read;
    }
    Ok(())
}

/// A request with this header.
pub(crate) fn request(header: Header) -> Vec<u8> {
    let mut bytes = vec![0xa5; header.request as usize];
    bytes[..HEADER_LEN].copy_from_slice(&header.encode());
    bytes
}

/// Reads the answer to a timed request.
pub(crate) async fn read_time(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Duration> {
    let mut bytes = [0; TIME_LEN as usize];
    stream.read_exact(&mut bytes).await?;
    Ok(Duration::from_nanos(u64::from_le_bytes(bytes)))
}

pub(crate) const BUFFER: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_round_trips() {
        let header = Header {
            request: 1024,
            answer: 65_536,
            piece: 400,
            is_timed: true,
        };
        assert_eq!(Header::decode(&header.encode()), header);
    }

    #[tokio::test]
    async fn answer_has_the_requested_size() {
        let (mut client, server) = tokio::io::duplex(4096);
        let serving = tokio::spawn(serve(server));
        let header = Header {
            request: 1200,
            answer: 3000,
            piece: 400,
            is_timed: false,
        };
        for _ in 0..3 {
            write_pieces(&mut client, &request(header), header.piece)
                .await
                .expect("written");
            skip(&mut client, 3000, &mut [0; 100]).await.expect("read");
        }
        drop(client);
        serving.await.expect("no panic").expect("ends cleanly");
    }
}
