//! The server process.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use kcp_examples::echo;
use kcp_transport::crypto::{AeadKey, Security};
use kcp_transport::net::KcpListener;

use crate::AnyError;

/// The cipher and key of server and clients.
pub(crate) fn security() -> Result<Security, AnyError> {
    Ok(Security::Aead(AeadKey::aes_128_gcm(&[7; 16])?))
}

/// Prints the address and echoes until the parent exits.
pub(crate) async fn serve() -> Result<(), AnyError> {
    let listener = KcpListener::bind((Ipv4Addr::LOCALHOST, 0), &security()?).await?;
    println!("{}", listener.local_addr()?);
    std::thread::spawn(|| {
        // Ends when the parent exits, which closes the pipe.
        let _ = std::io::stdin().lines().count();
        std::process::exit(0);
    });
    Ok(echo::serve(listener).await?)
}

/// The handle of a server process.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: SocketAddr,
}

impl Server {
    pub(crate) fn start() -> Result<Self, AnyError> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("server")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child
            .stdout
            .take()
            .ok_or("the server's standard output is not piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let addr = line.trim().parse()?;
        Ok(Self { child, addr })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
