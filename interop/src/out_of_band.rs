//! Datagrams beside the stream. They are not retransmitted, so each is sent until its echo arrives.

use std::time::Duration;

use kcp_transport::net::Datagrams;

use crate::Failure;
use crate::data::bytes;

/// Sends datagrams of all sizes, from empty to the largest, and awaits the echo of each.
///
/// # Errors
///
/// [`Failure::Stream`], or [`Failure::Wrong`] if the connection carries none.
pub async fn exchange(datagrams: &Datagrams, seed: u64) -> Result<(), Failure> {
    let largest = datagrams.max_size();
    let largest = largest.ok_or_else(|| Failure::Wrong("datagrams have no room".to_owned()))?;
    for index in 0..COUNT {
        let data = bytes(seed, largest * index / (COUNT - 1));
        while !is_echoed(datagrams, &data).await? {}
    }
    match datagrams.send(&vec![0; largest + 1]) {
        Err(_) => Ok(()),
        Ok(()) => Err(Failure::Wrong(
            "a datagram above the largest was taken".to_owned(),
        )),
    }
}

/// Sends a datagram; whether it comes back soon.
async fn is_echoed(datagrams: &Datagrams, data: &[u8]) -> Result<bool, Failure> {
    let sent = datagrams.send(data);
    sent.map_err(Failure::stream("sending a datagram"))?;
    let echo = async {
        loop {
            // Others are late echoes of what was sent twice.
            if datagrams.recv().await? == data {
                return Ok(());
            }
        }
    };
    match tokio::time::timeout(REPEAT, echo).await {
        Ok(echo) => echo
            .map_err(Failure::stream("receiving a datagram"))
            .map(|()| true),
        Err(_) => Ok(false),
    }
}

/// Sends every datagram back, for as long as the connection lives.
pub(crate) async fn serve(datagrams: Datagrams) {
    while let Ok(data) = datagrams.recv().await {
        // One that has no room is lost, as any may be.
        let _ = datagrams.send(&data);
    }
    std::future::pending::<()>().await;
}

/// Sizes tried.
pub const COUNT: usize = 9;

/// Far more than a round trip.
const REPEAT: Duration = Duration::from_millis(100);
