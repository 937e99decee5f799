//! tonic's channel to one server, as calls use it.

use tonic::Status;
use tonic::transport::{Channel, Error};
use tower::util::MapErr;

use crate::channel::status::status_of;

/// tonic's channel, with the statuses of gRPC's specification.
pub(super) type Connection = MapErr<Channel, fn(Error) -> Status>;

pub(super) fn connection(channel: Channel) -> Connection {
    MapErr::new(channel, |error| status_of(Box::new(error)))
}
