//! The beginning of each connection: the client's request and the server's answer.
//!
//! | offset | length | content |
//! |---|---|---|
//! | 0 | 4 | `kcpp` |
//! | 4 | 1 | version, 1 |
//! | 5 | 1 | 1 for a request, 2 for an answer |
//! | 6 | 2 | length of the body, at most 1024, big-endian |
//! | 8 | | the body in JSON: [`Request`](super::Request) or [`Answer`] |

use std::io;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::request::{Request, Side};
use crate::perf::error::{TestError, printable};

/// The server's answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The test can begin.
    Accepted,
    /// The server does not run the test, for this reason.
    Refused(String),
}

/// Sends a request, and returns once the server has accepted it.
///
/// # Errors
///
/// If the server refuses it, is no server of this program, or does not answer within ten seconds.
pub async fn request<S>(stream: &mut S, request: &Request) -> Result<(), TestError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    write(stream, REQUEST, request).await?;
    match read(stream, ANSWER, Side::Server).await? {
        Answer::Accepted => Ok(()),
        Answer::Refused(reason) => Err(TestError::Refused(printable(&reason))),
    }
}

/// Receives a request.
///
/// # Errors
///
/// If the peer is no client of this program or requests something that is not allowed, or if the request
/// does not arrive within ten seconds.
pub async fn receive<S>(stream: &mut S) -> Result<Request, TestError>
where
    S: AsyncRead + Unpin,
{
    read(stream, REQUEST, Side::Client).await
}

/// Answers a request.
///
/// # Errors
///
/// The stream's.
pub async fn answer<S>(stream: &mut S, answer: &Answer) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    write(stream, ANSWER, answer).await
}

async fn write<S>(stream: &mut S, kind: u8, body: &impl Serialize) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    stream.write_all(&encode(kind, body)?).await?;
    stream.flush().await
}

fn encode(kind: u8, body: &impl Serialize) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(body)?;
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "the header is too long");
    let len = u16::try_from(body.len()).map_err(too_long)?;
    Ok([&MAGIC[..], &[VERSION, kind], &len.to_be_bytes(), &body].concat())
}

async fn read<S, T>(stream: &mut S, kind: u8, from: Side) -> Result<T, TestError>
where
    S: AsyncRead + Unpin,
    T: DeserializeOwned,
{
    let reading = async {
        let mut front = [0; FRONT];
        fill(stream, &mut front, from).await?;
        let mut body = vec![0; decode(front, kind, from)?];
        fill(stream, &mut body, from).await?;
        serde_json::from_slice(&body)
            .map_err(|problem| TestError::Header(from, printable(&problem.to_string())))
    };
    let late = |_| TestError::Silent(from, HEADER_TIMEOUT);
    timeout(HEADER_TIMEOUT, reading).await.map_err(late)?
}

/// Fills the buffer; the end of the stream has an error of its own.
async fn fill<S>(stream: &mut S, buffer: &mut [u8], from: Side) -> Result<(), TestError>
where
    S: AsyncRead + Unpin,
{
    match stream.read_exact(buffer).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(TestError::Ended(from)),
        Err(error) => Err(error.into()),
    }
}

/// The length of the body.
fn decode(front: [u8; FRONT], expected: u8, from: Side) -> Result<usize, TestError> {
    let [m0, m1, m2, m3, version, kind, high, low] = front;
    if [m0, m1, m2, m3] != *MAGIC || (version == VERSION && kind != expected) {
        return Err(TestError::OtherProtocol(from));
    }
    if version != VERSION {
        return Err(TestError::Version(from, version));
    }
    match usize::from(u16::from_be_bytes([high, low])) {
        len if len > MAX_BODY => {
            let problem = format!("its length is {len}; allowed: 0 to {MAX_BODY}");
            Err(TestError::Header(from, problem))
        }
        len => Ok(len),
    }
}

const MAGIC: &[u8; 4] = b"kcpp";

/// The version of the header and of all that follows it.
pub const VERSION: u8 = 1;

const REQUEST: u8 = 1;
const ANSWER: u8 = 2;

/// Length of the part before the body.
const FRONT: usize = 8;

const MAX_BODY: usize = 1024;

/// Limit for a header to arrive: several retransmissions on a bad path.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::super::request::example;
    use super::*;

    fn encoded() -> Vec<u8> {
        encode(REQUEST, &example()).unwrap()
    }

    async fn received(bytes: &[u8]) -> Result<Request, TestError> {
        receive(&mut &*bytes).await
    }

    #[tokio::test]
    async fn request_is_received_as_it_was_sent() {
        assert_eq!(received(&encoded()).await.unwrap(), example());
    }

    #[tokio::test]
    async fn truncated_request_is_an_early_end() {
        let bytes = encoded();
        for len in 0..bytes.len() {
            let error = received(&bytes[..len]).await.unwrap_err();
            assert!(
                matches!(error, TestError::Ended(Side::Client)),
                "{len}: {error}"
            );
        }
    }

    #[tokio::test]
    async fn damage_is_an_error_and_no_panic() {
        let bytes = encoded();
        for index in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[index] ^= 1 << bit;
                // A changed digit may be another valid request.
                let _ = received(&damaged).await;
            }
        }
        for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64], &[255; 64]] {
            let error = received(garbage).await.unwrap_err();
            assert!(matches!(error, TestError::OtherProtocol(_)), "{error}");
        }
    }

    #[tokio::test]
    async fn other_version_and_long_body_are_named() {
        let mut bytes = encoded();
        bytes[4] = 9;
        let error = received(&bytes).await.unwrap_err().to_string();
        assert!(error.contains("version 9"), "{error}");
        let mut bytes = encoded();
        bytes[6..8].copy_from_slice(&1025_u16.to_be_bytes());
        let error = received(&bytes).await.unwrap_err().to_string();
        assert!(
            error.contains("1025") && error.contains("0 to 1024"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn echoed_request_is_no_answer() {
        let (mut near, mut far) = tokio::io::duplex(4096);
        far.write_all(&encoded()).await.unwrap();
        let error = request(&mut near, &example()).await.unwrap_err();
        assert!(
            matches!(error, TestError::OtherProtocol(Side::Server)),
            "{error}"
        );
    }

    #[tokio::test]
    async fn refusal_reaches_the_client_without_control_characters() {
        let (mut near, mut far) = tokio::io::duplex(4096);
        let refused = Answer::Refused("no\u{1b}[31m\nroom".to_owned());
        answer(&mut far, &refused).await.unwrap();
        let error = request(&mut near, &example()).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("no[31mroom"), "{text:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn silent_peer_is_reported_after_ten_seconds() {
        let (mut near, _far) = tokio::io::duplex(4096);
        let error = request(&mut near, &example()).await.unwrap_err();
        assert!(
            matches!(error, TestError::Silent(Side::Server, _)),
            "{error}"
        );
    }
}
