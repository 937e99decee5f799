//! A server that returns what it receives, and a client.
//!
//! cargo run -p kcp-transport --example echo

use kcp_transport::{KcpListener, KcpStream, Security};
use tokio::io::{self, AsyncReadExt, AsyncWriteExt};

#[tokio::main]
pub(crate) async fn main() -> io::Result<()> {
    // Both sides derive the same key from the password, as kcptun does.
    let security = Security::from_password("aes-128-gcm", "a password", Security::KCPTUN_SALT)?;
    let listener = KcpListener::bind("127.0.0.1:0", &security).await?;
    let server = listener.local_addr()?;
    tokio::spawn(serve(listener));

    // Fails with `TimedOut` or `ConnectionRefused` unless the server answers.
    let mut stream = KcpStream::connect(server, &security).await?;
    stream.write_all(b"hello").await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    println!("{}", String::from_utf8_lossy(&answer));
    // Returns once the server has received everything, and ends its copy.
    stream.shutdown().await
}

async fn serve(listener: KcpListener) -> io::Result<()> {
    loop {
        let (mut stream, peer) = listener.accept().await?;
        tokio::spawn(async move {
            let (mut reader, mut writer) = stream.split();
            // End of file is signalled by peers of this crate. With others, a time-out ends the copy.
            match io::copy(&mut reader, &mut writer).await {
                Ok(bytes) => println!("{peer} has sent {bytes} bytes"),
                Err(error) => println!("{peer}: {error}"),
            }
        });
    }
}
