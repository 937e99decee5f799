//! A client whose network changes: its connection continues from another address.
//!
//! cargo run -p kcp-transport --example rebind

use std::io;

use kcp_transport::{KcpListener, KcpStream, Security};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::main]
pub(crate) async fn main() -> io::Result<()> {
    let security = Security::from_password("aes-128-gcm", "a password", Security::KCPTUN_SALT)?;
    let listener = KcpListener::bind("127.0.0.1:0", &security).await?;
    let mut client = KcpStream::connect(listener.local_addr()?, &security).await?;
    let (mut server, _peer) = listener.accept().await?;
    echo(&mut client, &mut server).await?;
    println!("the server's peer is {}", server.peer_addr()?);

    // Call it when the system reports another network. A stream does so by itself when its local
    // address or its route is gone. A new mapping of a NAT on the way needs nothing: the server
    // detects it by the next packet.
    client.rebind()?;

    // Moves once the server has validated the new address, two round trips later.
    while listener.stats().moved == 0 {
        echo(&mut client, &mut server).await?;
    }
    println!("the server's peer is {}", server.peer_addr()?);
    assert_eq!(server.peer_addr()?.port(), client.local_addr()?.port());
    Ok(())
}

async fn echo(client: &mut KcpStream, server: &mut KcpStream) -> io::Result<()> {
    let mut buffer = [0; 5];
    client.write_all(b"hello").await?;
    server.read_exact(&mut buffer).await?;
    server.write_all(&buffer).await?;
    client.read_exact(&mut buffer).await?;
    Ok(())
}
