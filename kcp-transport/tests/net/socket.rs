//! What streams on real sockets look like on the wire: addresses and traffic class.

use std::net::SocketAddr;

use kcp_transport::config::Config;
#[cfg(target_os = "linux")]
use kcp_transport::config::ListenerConfig;
use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpListener, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn marked(code_point: u8) -> Config {
    Config::builder()
        .dscp(code_point)
        .build()
        .expect("in range")
}

/// Has data go both ways between a listener on `bound` and a client that knows it as `known`.
/// Returns the client's address and how the server sees its own.
async fn exchange(bound: &str, known: &str, config: &Config) -> (SocketAddr, SocketAddr) {
    let listener = KcpListener::builder(&Security::Plaintext)
        .config(config)
        .bind(addr(bound))
        .await
        .expect("binds");
    let mut target = addr(known);
    target.set_port(listener.local_addr().expect("bound").port());
    let (client, server) = tokio::join!(
        KcpStream::builder(&Security::Plaintext)
            .config(config)
            .connect(target),
        listener.accept()
    );
    let mut client = client.unwrap_or_else(|error| panic!("{bound} as {known}: {error}"));
    let mut server = server.expect("accepts").0;
    let data = vec![7; 200_000];
    for _ in 0..2 {
        let mut received = vec![0; data.len()];
        let (written, read) =
            tokio::join!(client.write_all(&data), server.read_exact(&mut received));
        written.expect("writes");
        read.expect("reads");
        assert!(received == data);
        std::mem::swap(&mut client, &mut server);
    }
    (
        client.local_addr().expect("bound"),
        server.local_addr().expect("bound"),
    )
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn answers_leave_from_the_address_the_peer_used() {
    // A client's socket is connected: it takes nothing from another address than it sent to.
    for config in [Config::default(), marked(46)] {
        for bound in ["0.0.0.0:0", "[::]:0"] {
            let (_, server) = exchange(bound, "127.0.0.2:0", &config).await;
            assert_eq!(server.ip().to_canonical(), addr("127.0.0.2:0").ip());
        }
    }
}

/// IP packets as the loopback interface carries them. `None` without the right to look.
#[cfg(target_os = "linux")]
fn sniff() -> Option<socket2::Socket> {
    use socket2::{Domain, Protocol, Socket, Type};
    const ETH_P_ALL: u16 = 3;
    let protocol = Protocol::from(i32::from(ETH_P_ALL.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol)).ok()?;
    let _ = socket.set_recv_buffer_size(16 << 20);
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

/// Traffic class, ports and length of a UDP packet.
#[cfg(target_os = "linux")]
fn parse(packet: &[u8]) -> Option<(u8, [u16; 2], usize)> {
    let (class, protocol, header) = match packet.first()? >> 4 {
        4 => (packet[1], packet[9], usize::from(packet[0] & 15) * 4),
        6 => (packet[0] << 4 | packet[1] >> 4, packet[6], 40),
        _ => return None,
    };
    let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    (protocol == 17).then(|| (class, [port(header), port(header + 2)], packet.len()))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn code_point_is_on_every_packet_and_runs_stay_whole() {
    use std::io::Read;
    for (bound, known) in [
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("[::1]:0", "[::1]:0"),
        ("[::]:0", "127.0.0.1:0"),
    ] {
        let Some(mut sniffer) = sniff() else {
            eprintln!("not allowed to look at packets");
            return;
        };
        let (client, server) = exchange(bound, known, &marked(46)).await;
        let ports = [client.port(), server.port()];
        let mut packet = vec![0; 1 << 17];
        let (mut seen, mut longest) = (0, 0);
        while let Ok(len) = sniffer.read(&mut packet) {
            let Some((class, between, len)) = parse(&packet[..len]) else {
                continue;
            };
            if between == ports || between == [ports[1], ports[0]] {
                assert_eq!(class, 46 << 2, "{bound} to {known}: {between:?}");
                seen += 1;
                longest = longest.max(len);
            }
        }
        assert!(seen > 10, "{seen} packets seen");
        assert!(longest > 1500, "no run of datagrams: {longest} at most");
    }
}

#[test]
fn code_point_is_set_on_the_socket() {
    let runtime = tokio::runtime::Runtime::new().expect("starts");
    let _context = runtime.enter();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("binds");
    let same = socket.try_clone().expect("clones");
    let _listener = KcpListener::builder(&Security::Plaintext)
        .config(&marked(10))
        .on_socket(socket)
        .expect("starts");
    let class = socket2::SockRef::from(&same).tos_v4().expect("known");
    assert_eq!(class, 10 << 2);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn sharded_listener_echoes_over_sockets_of_one_port() {
    let config = ListenerConfig::builder().shards(4).build();
    let listener = KcpListener::builder(&Security::Plaintext)
        .listener_config(&config.expect("in range"))
        .bind("127.0.0.1:0")
        .await
        .expect("binds");
    let addr = listener.local_addr().expect("bound");
    let tasks = tokio::runtime::Handle::current().metrics();
    assert_eq!(tasks.num_alive_tasks(), 4);
    for index in 0..32_u8 {
        let (client, accepted) = tokio::join!(
            KcpStream::connect(addr, &Security::Plaintext),
            listener.accept()
        );
        let (mut client, (mut server, _)) = (client.expect("connects"), accepted.expect("accepts"));
        client.write_all(&[index; 100]).await.expect("writes");
        client.flush().await.expect("flushes");
        let mut heard = [0; 100];
        server.read_exact(&mut heard).await.expect("reads");
        server.write_all(&heard).await.expect("writes");
        server.flush().await.expect("flushes");
        client.read_exact(&mut heard).await.expect("reads");
        assert_eq!(heard, [index; 100]);
    }
    assert_eq!(listener.stats().passive_opens, 32);
}
