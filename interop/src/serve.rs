//! Our echo server.

use kcp_transport::config::Mode;
use kcp_transport::net::{ConnectionInfo, KcpListener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use crate::{Failure, messages, out_of_band};

/// Accepts one connection and echoes its stream or messages and its out-of-band datagrams until it ends. Sends the
/// connection's handle over `accepted`.
///
/// # Errors
///
/// If accepting fails. The client checks how the connection ends.
pub async fn serve_one(
    listener: &KcpListener,
    mode: Mode,
    accepted: oneshot::Sender<ConnectionInfo>,
) -> Result<(), Failure> {
    let (mut stream, _) = listener
        .accept()
        .await
        .map_err(Failure::stream("accepting"))?;
    // The receiver is dropped if it is not interested.
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

const BUFFER: usize = 64 << 10;
