//! Forged packets against a live session: what an attacker can send that knows its address.

use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::fec::FecRatio;
use kcp_transport::net::{KcpListener, KcpStream};
use kcp_transport::testing::Rng;
use kcp_transport::wire::{Command, ConversationId, SegmentHeader, Timestamp};
use tokio::time::timeout;

use super::memory::{Fault, Network, Way};
use super::{exchange, pattern};

/// One packet that is not the session's peer's: of another conversation, out of band, cut short,
/// or of this very conversation with fields that cannot be.
fn forge(rng: &mut Rng, conversation: ConversationId) -> Vec<u8> {
    let command = [
        Command::Push,
        Command::Ack,
        Command::WindowProbe,
        Command::WindowUpdate,
    ][rng.below(4) as usize];
    let mut data = vec![0; rng.below(40) as usize];
    rng.fill(&mut data);
    let mut header = SegmentHeader {
        conversation: ConversationId::new(rng.next_u32()),
        command,
        fragments_left: 0,
        window: rng.next_u32() as u16,
        timestamp: Timestamp::from_wire(rng.next_u32()),
        sequence: [0, rng.next_u32()][rng.below(2) as usize],
        unacknowledged: 0,
        payload_len: data.len() as u32,
    };
    let kind = rng.below(8);
    match kind {
        // Of this conversation: acknowledges what was never sent, or is cut short.
        0 => {
            header.conversation = conversation;
            header.unacknowledged = 0x4000_0000 + rng.below(1 << 20) as u32;
        }
        1 => {
            header.conversation = conversation;
            header.payload_len = data.len() as u32 + 1 + rng.below(1 << 20) as u32;
        }
        // Data far beyond the window, or long before it.
        2 => {
            header.conversation = conversation;
            header.command = Command::Push;
            header.sequence = 0x2000_0000 + rng.below(1 << 30) as u32;
            // Acknowledges nothing.
            header.unacknowledged = 0x4000_0000;
        }
        _ => {}
    }
    let mut packet = vec![0; 24];
    header.encode(&mut packet);
    packet.extend_from_slice(&data);
    match kind {
        3 => packet.truncate(rng.below(24) as usize),
        // Out of band, of another conversation or of none.
        4 => {
            let mut oob = rng.next_u32().to_le_bytes().to_vec();
            oob.extend([0xf3, 0, 0, 0]);
            oob.extend(rng.next_u32().to_le_bytes());
            return oob;
        }
        // FEC of any kind, with a number from anywhere.
        5 => {
            let mut shard = rng.next_u32().to_le_bytes().to_vec();
            shard.extend([0xf1 + rng.below(2) as u8, 0]);
            shard.extend((packet.len() as u16 + 2).to_le_bytes());
            shard.extend(&packet);
            return shard;
        }
        6 => rng.fill(&mut packet),
        _ => {}
    }
    packet
}

#[tokio::test(start_paused = true)]
async fn million_forged_packets_close_no_session_and_lose_no_byte() {
    let fec = FecRatio::new(4, 2).expect("in range");
    for fec in [None, Some(fec)] {
        let network = Network::default();
        let (client_host, server_host) = (network.host(), network.host());
        client_host.forget_history();
        server_host.forget_history();
        let (client_addr, addr) = (client_host.addr(), server_host.addr());
        // Only the conversation id protects a session from an attacker that knows its address.
        let security = Security::Plaintext;
        let config = Config::builder().fec(fec).build().expect("in range");
        let listener = KcpListener::builder(&security)
            .config(&config)
            .on_transport(server_host.clone())
            .expect("in range");
        let (client, server) = tokio::join!(
            KcpStream::builder(&security)
                .config(&config)
                .transport(client_host.clone())
                .connect(addr),
            listener.accept(),
        );
        let (mut client, mut server) = (client.expect("connects"), server.expect("accepts").0);
        let conversation = client.conversation();
        let data = pattern(20_000);
        let mut rng = Rng::new(3);
        for _ in 0..500 {
            for host in [&client_host, &server_host] {
                host.set_fault(Way::Receive, Fault::None);
                host.set_fault(Way::Send, Fault::None);
            }
            for _ in 0..500 {
                client_host.inject(addr, &forge(&mut rng, conversation));
                server_host.inject(client_addr, &forge(&mut rng, conversation));
            }
            let transfer = exchange(&mut client, &mut server, &data);
            timeout(Duration::from_secs(10), transfer)
                .await
                .expect("a stalled session");
        }
        let (client, server) = (client.stats(), server.stats());
        assert_eq!(client.bytes_read, 500 * data.len() as u64);
        assert_eq!(server.bytes_read, 500 * data.len() as u64);
        assert!(server.invalid_received > 0);
    }
}
