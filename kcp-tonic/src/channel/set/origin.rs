//! The connections to one server of a set.

use kcp_tower::balance::{Link, Origin, Reconnect};
use kcp_tower::{KcpConnector, Stats};
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Error};
use tower::util::MapErr;

use super::Grpc;
use crate::channel::status::status_of;

/// Makes tonic's channels to one server.
#[derive(Debug)]
pub(in crate::channel) struct GrpcOrigin {
    endpoint: Endpoint,
    connector: KcpConnector,
    reconnect: Reconnect<KcpConnector>,
}

impl GrpcOrigin {
    pub(super) fn new(endpoint: Endpoint, connector: KcpConnector) -> Self {
        Self {
            endpoint,
            reconnect: Reconnect::new(connector.clone()),
            connector,
        }
    }

    pub(in crate::channel) fn connector(&self) -> &KcpConnector {
        &self.connector
    }
}

impl Origin<Grpc> for GrpcOrigin {
    type Service = MapErr<Channel, fn(Error) -> Status>;

    fn connection(&self) -> Self::Service {
        let connector = self.reconnect.clone();
        let channel = self.endpoint.connect_with_connector_lazy(connector);
        MapErr::new(channel, |error| status_of(Box::new(error)))
    }

    fn unreachable(&self) -> Option<String> {
        self.reconnect.unreachable()
    }

    /// Of the connection that was made last and has measured its path.
    fn link(&self) -> Option<Link> {
        let connections = self.connector.connections();
        let mut newest_first = connections.iter().rev();
        newest_first.find_map(|it| link_of(&it.stats()))
    }
}

fn link_of(stats: &Stats) -> Option<Link> {
    let rtt = stats.smoothed_rtt?;
    let lost = stats
        .retransmitted
        .saturating_sub(stats.spurious_retransmitted);
    let sent = stats.data_segments_sent + stats.retransmitted;
    let loss = if sent == 0 {
        0.0
    } else {
        lost as f64 / sent as f64
    };
    Some(Link { rtt, loss })
}
