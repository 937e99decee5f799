//! Options of the servers.

use std::io;
use std::net::SocketAddr;

use serde::Serialize;

use super::{Failure, print, print_json};
use crate::address::HostPort;
use crate::stop::Stop;

/// Options of the servers.
#[derive(Clone, Debug, clap::Args)]
pub struct ServerArgs {
    /// UDP address to listen on; port 0 picks a free one
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: HostPort,

    /// Print that the server is ready as a JSON line {"listening":"IP:PORT"}
    #[arg(long)]
    pub json: bool,

    /// Stop also when standard input ends, as it does when the parent process ends
    #[arg(long)]
    pub until_stdin_closes: bool,
}

impl ServerArgs {
    /// The address to bind: the first one of the name.
    ///
    /// # Errors
    ///
    /// If the name has no address.
    pub async fn address(&self) -> Result<SocketAddr, Failure> {
        let resolved = self.listen.resolve().await;
        resolved
            .map(|addresses| addresses[0])
            .map_err(self.cannot_listen())
    }

    /// For `map_err` on what binding returns.
    pub fn cannot_listen(&self) -> impl FnOnce(io::Error) -> Failure {
        Failure::io(format!("cannot listen on {}", self.listen))
    }

    /// Prints the address on which the server listens.
    ///
    /// # Errors
    ///
    /// If standard output does not take it.
    pub fn announce(&self, listening: SocketAddr) -> Result<(), Failure> {
        #[derive(Serialize)]
        struct Ready {
            listening: SocketAddr,
        }
        if self.json {
            print_json(&Ready { listening })
        } else {
            print(&format!("listening on {listening}\n"))
        }
    }

    /// The request to stop the server: Ctrl-C, SIGTERM or, if enabled, the end of standard input.
    #[must_use]
    pub fn stop(&self) -> Stop {
        if self.until_stdin_closes {
            Stop::on_signals_or_stdin()
        } else {
            Stop::on_signals()
        }
    }
}
