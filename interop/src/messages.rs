//! Our echo client and server for messages.

use std::io;

use kcp_transport::net::{KcpStream, MessageReceiver, MessageSender};

use crate::Failure;
use crate::case::{Case, Shape};
use crate::comparison::Comparison;
use crate::data::bytes;

/// Sends the data as messages, and concurrently receives the echo and compares it. Then shuts down; a peer with
/// extensions must shut down too.
///
/// # Errors
///
/// [`Failure::Stream`] if the connection fails, [`Failure::Wrong`] if the echo differs from the messages.
pub async fn exchange(
    stream: KcpStream,
    seed: u64,
    shape: Shape,
    case: &Case,
) -> Result<(), Failure> {
    let data = bytes(seed, shape.bytes as usize);
    let messages: Vec<&[u8]> = data.chunks(shape.write.max(1) as usize).collect();
    let (mut receiver, mut sender) = stream.into_messages().into_split();
    let receiving = async {
        if case.peer.is_native() {
            receive_each(&mut receiver, &messages).await
        } else {
            receive_all(&mut receiver, &data).await
        }
    };
    tokio::try_join!(send(&mut sender, &messages), receiving)?;
    sender
        .shutdown()
        .await
        .map_err(Failure::stream("shutting down"))?;
    if case.is_extended() {
        match receiver.recv(&mut Vec::new()).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            other => return Err(Failure::Wrong(format!("expected the end, got {other:?}"))),
        }
    }
    Ok(())
}

async fn send(sender: &mut MessageSender, messages: &[&[u8]]) -> Result<(), Failure> {
    for message in messages {
        let sent = sender.send(message).await;
        sent.map_err(Failure::stream("sending"))?;
    }
    Ok(())
}

/// Checks that each message is echoed as one message.
async fn receive_each(receiver: &mut MessageReceiver, messages: &[&[u8]]) -> Result<(), Failure> {
    let mut received = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        receive(receiver, &mut received).await?;
        let mut comparison = Comparison::new(message);
        comparison.update(&received);
        let result = comparison.finish();
        result.map_err(|failure| Failure::Wrong(format!("message {index}: {failure}")))?;
    }
    Ok(())
}

/// Checks the data without boundaries: kcp-go sends each segment as a message.
async fn receive_all(receiver: &mut MessageReceiver, data: &[u8]) -> Result<(), Failure> {
    let mut comparison = Comparison::new(data);
    let mut received = Vec::new();
    while comparison.left() > 0 {
        receive(receiver, &mut received).await?;
        comparison.update(&received);
    }
    comparison.finish()
}

/// Receives the next message that is not empty.
async fn receive(receiver: &mut MessageReceiver, message: &mut Vec<u8>) -> Result<(), Failure> {
    loop {
        let len = receiver.recv(message).await;
        if len.map_err(Failure::stream("receiving"))? > 0 {
            return Ok(());
        }
    }
}

/// Echoes every message that is not empty, until the stream ends.
pub(crate) async fn serve(stream: KcpStream) {
    let mut messages = stream.into_messages();
    let mut message = Vec::new();
    while let Ok(len) = messages.recv(&mut message).await {
        if len > 0 && messages.send(&message).await.is_err() {
            break;
        }
    }
}
