//! Command-line options that all servers share.

use std::io;
use std::net::SocketAddr;

use serde::Serialize;

use super::{Failure, print, print_json};
use crate::address::HostPort;
use crate::stop::Stop;

/// Command-line options that all servers share.
#[derive(Clone, Debug, clap::Args)]
pub struct ServerArgs {
    /// UDP address to listen on; with port 0 the system picks a free port
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: HostPort,

    /// Print the address on which the server listens as a line of JSON: {"listening":"IP:PORT"}
    #[arg(long)]
    pub json: bool,

    /// Stop when standard input is closed, which also happens when the parent process exits
    #[arg(long)]
    pub until_stdin_closes: bool,
}

impl ServerArgs {
    /// The address to bind: the first to which the name resolves.
    ///
    /// # Errors
    ///
    /// If the name does not resolve.
    pub async fn address(&self) -> Result<SocketAddr, Failure> {
        let resolved = self.listen.resolve().await;
        resolved
            .map(|addresses| addresses[0])
            .map_err(self.cannot_listen())
    }

    /// Wraps an error of binding, for `map_err`.
    pub fn cannot_listen(&self) -> impl FnOnce(io::Error) -> Failure {
        Failure::io(format!("cannot listen on {}", self.listen))
    }

    /// Prints the address on which the server listens.
    ///
    /// # Errors
    ///
    /// If standard output is closed or full.
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

    /// Stop requests for this server: Ctrl-C, SIGTERM and, if enabled, the end of standard input.
    #[must_use]
    pub fn stop(&self) -> Stop {
        if self.until_stdin_closes {
            Stop::on_signals_or_stdin()
        } else {
            Stop::on_signals()
        }
    }
}
