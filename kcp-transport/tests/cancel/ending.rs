//! Shutting down listeners and endpoints, and waiting until they are idle.

use std::sync::Arc;
use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpEndpoint, KcpStream};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::harness::{Case, paused, sweep};
use crate::{SEEDS, listen, network};

const SECURITY: Security = Security::Plaintext;

/// Each waits for resets that are repeated, and takes thousands of polls.
const FEW_SEEDS: u64 = SEEDS / 5;

/// Longer than everything that is waited for here.
const PATIENCE: Duration = Duration::from_secs(120);

/// Some of the pairs' packets are lost: then a time-out ends what no reset has.
async fn check_ended(stream: &mut KcpStream) {
    let end = timeout(PATIENCE, stream.read_u8()).await;
    end.expect("ends").expect_err("has ended");
}

#[test]
fn listener_whose_shutdown_is_dropped_can_be_shut_down_again() {
    for (name, waits) in [
        ("KcpListener::shutdown", false),
        ("KcpListener::wait_idle", true),
    ] {
        sweep(name, FEW_SEEDS, paused, async |case: Case| {
            let network = network(case.seed);
            let (host, listener) = listen(&network, &Config::default());
            let connecting = KcpStream::builder(&SECURITY).transport(network.host());
            let (client, accepted) =
                tokio::join!(connecting.connect(host.addr()), listener.accept());
            let mut client = client.expect("connects");
            let (mut server, _) = accepted.expect("accepts");
            let ended = if waits {
                listener.close(kcp_transport::ResetCode::CANCELLED);
                case.drive(listener.wait_idle()).await
            } else {
                case.drive(listener.shutdown(Duration::from_millis(30)))
                    .await
            };
            assert_eq!(case.alarm.kept(), 0, "a dropped future keeps its waker");
            let done = ended.is_some();
            listener.shutdown(Duration::from_millis(10)).await;
            assert_eq!(Arc::strong_count(&host), 1, "the transport is still used");
            assert!(listener.accept().await.is_err());
            check_ended(&mut server).await;
            check_ended(&mut client).await;
            done
        });
    }
}

#[test]
fn endpoint_whose_shutdown_is_dropped_can_be_shut_down_again() {
    for (name, waits) in [
        ("KcpEndpoint::shutdown", false),
        ("KcpEndpoint::wait_idle", true),
    ] {
        sweep(name, FEW_SEEDS, paused, async |case: Case| {
            let network = network(case.seed);
            let (server_host, _listener) = listen(&network, &Config::default());
            let host = network.host();
            let transport = KcpEndpoint::builder(&SECURITY).transport(host.clone());
            let endpoint = transport.endpoint().expect("in range");
            let client = endpoint.connect(server_host.addr()).await;
            let mut client = client.expect("connects");
            let ended = if waits {
                endpoint.close(kcp_transport::ResetCode::CANCELLED);
                case.drive(endpoint.wait_idle()).await
            } else {
                case.drive(endpoint.shutdown(Duration::from_millis(30)))
                    .await
            };
            assert_eq!(case.alarm.kept(), 0, "a dropped future keeps its waker");
            let done = ended.is_some();
            endpoint.shutdown(Duration::from_millis(10)).await;
            assert_eq!(Arc::strong_count(&host), 1, "the transport is still used");
            let again = endpoint.connect(server_host.addr()).await;
            assert!(again.is_err());
            check_ended(&mut client).await;
            done
        });
    }
}
