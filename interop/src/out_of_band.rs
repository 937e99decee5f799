//! Exchange of out-of-band datagrams. They are not retransmitted, so each is repeated until its echo arrives.

use std::time::Duration;

use kcp_transport::net::Datagrams;

use crate::Failure;
use crate::data::bytes;

/// Sends datagrams of all sizes, from empty to the largest, and waits for the echo of each.
///
/// # Errors
///
/// [`Failure::Stream`] if the connection fails, [`Failure::Wrong`] if it cannot carry datagrams or accepts one above
/// the maximum size.
pub async fn exchange(datagrams: &Datagrams, seed: u64) -> Result<(), Failure> {
    let largest = datagrams.max_size();
    let largest = largest
        .ok_or_else(|| Failure::Wrong("the connection cannot carry datagrams".to_owned()))?;
    for index in 0..COUNT {
        let data = bytes(seed, largest * index / (COUNT - 1));
        while !is_echoed(datagrams, &data).await? {}
    }
    match datagrams.send(&vec![0; largest + 1]) {
        Err(_) => Ok(()),
        Ok(()) => Err(Failure::Wrong(
            "a datagram above the maximum size was accepted".to_owned(),
        )),
    }
}

/// Sends a datagram. Returns whether it is echoed within [`REPEAT`].
async fn is_echoed(datagrams: &Datagrams, data: &[u8]) -> Result<bool, Failure> {
    let sent = datagrams.send(data);
    sent.map_err(Failure::stream("sending a datagram"))?;
    let echo = async {
        loop {
            // Other datagrams are late echoes of repeated ones.
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

/// Echoes datagrams until the connection is closed, then never completes.
pub(crate) async fn serve(datagrams: Datagrams) {
    while let Ok(data) = datagrams.recv().await {
        // A datagram that does not fit is dropped; datagrams are unreliable.
        let _ = datagrams.send(&data);
    }
    std::future::pending::<()>().await;
}

/// Number of datagram sizes to try.
pub const COUNT: usize = 9;

/// Time after which a datagram is sent again: far longer than a round trip.
const REPEAT: Duration = Duration::from_millis(100);
