//! gRPC: our client and server, and the expected replies.
//!
//! The services are those of grpc-go's examples: a greeter, and an echo service with every kind of call.

mod client;
mod server;

pub use client::call;
pub use server::serve;

use serde::Deserialize;

use crate::Failure;
use crate::case::CallKind;

/// Generated from `proto/echo.proto`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    clippy::nursery,
    clippy::all
)]
pub mod proto {
    tonic::include_proto!("grpc.examples.echo");
}

/// The result that the Go client prints. A kind that was not requested has no field.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Report {
    ok: bool,
    error: String,
    calls: u64,
    unary: bool,
    server: bool,
    client: bool,
    bidi: bool,
}

impl Report {
    /// Checks that the greeting and the calls of this kind had correct replies.
    ///
    /// # Errors
    ///
    /// [`Failure::Wrong`] if one had not.
    pub fn check(&self, kind: CallKind) -> Result<(), Failure> {
        let answered = match kind {
            CallKind::Unary => self.unary,
            CallKind::ServerStream => self.server,
            CallKind::ClientStream => self.client,
            CallKind::Bidi => self.bidi,
        };
        if self.ok && self.calls == 1 && answered {
            Ok(())
        } else {
            Err(Failure::Wrong(format!("the Go client reported {self:?}")))
        }
    }
}

/// The reply of a server-streaming call with this index.
fn numbered(message: &str, index: usize) -> String {
    format!("{message} {index}")
}

/// Number of replies of a server-streaming call.
const STREAM_REPLIES: usize = 10;

/// Separator of the messages in the reply to a client-streaming call.
const SEPARATOR: &str = ",";
