//! gRPC's interoperability cases, against grpc-go's own client and server.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md> specifies them.

mod client;
mod messages;
mod server;
mod tls;
mod trailers;

pub use client::call;
pub use server::serve;
pub use tls::Identities;

use serde::Deserialize;

use crate::Failure;

/// Generated from `proto/test.proto`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    clippy::nursery,
    clippy::all
)]
pub mod proto {
    tonic::include_proto!("grpc.testing");
}

/// The report of grpc-go's client. It prints none if the case failed.
#[derive(Debug, Deserialize)]
pub struct Report {
    ok: bool,
    case: String,
}

impl Report {
    /// Checks that this is the report of a case that passed.
    ///
    /// # Errors
    ///
    /// [`Failure::Wrong`] otherwise.
    pub fn check(&self, case: &str) -> Result<(), Failure> {
        if self.ok && self.case == case {
            Ok(())
        } else {
            Err(Failure::Wrong(format!("the Go client reported {self:?}")))
        }
    }
}

/// Header that the server returns in its initial metadata.
const ECHO_HEADER: &str = "x-grpc-test-echo-initial";

/// Header that the server returns in its trailers.
const ECHO_TRAILER: &str = "x-grpc-test-echo-trailing-bin";
