//! The connections to one server of a set.

mod recent;
mod saturation;

use std::sync::{Mutex, PoisonError};

use kcp_tower::balance::{Link, Origin, Reconnect};
use kcp_tower::{KcpConnector, Stats};
use tonic::transport::Endpoint;

use super::Grpc;
use super::connection::{Connection, connection};
#[cfg(feature = "health")]
use super::health::Watching;
use crate::calls::now;
use recent::{RecentLoss, Segments};
use saturation::Saturation;

/// Makes tonic's channels to one server.
#[derive(Debug)]
pub(in crate::channel) struct GrpcOrigin {
    endpoint: Endpoint,
    connector: KcpConnector,
    reconnect: Reconnect<KcpConnector>,
    loss: Mutex<RecentLoss>,
    saturation: Mutex<Saturation>,
    #[cfg(feature = "health")]
    health: Option<Watching>,
}

impl GrpcOrigin {
    pub(super) fn new(endpoint: Endpoint, connector: KcpConnector) -> Self {
        Self {
            endpoint,
            reconnect: Reconnect::new(connector.clone()),
            connector,
            loss: Mutex::default(),
            saturation: Mutex::default(),
            #[cfg(feature = "health")]
            health: None,
        }
    }

    /// Watches the health of a service, over a connection that calls use too.
    #[cfg(feature = "health")]
    pub(super) fn with_health_of(mut self, service: &str) -> Self {
        self.health = Some(Watching::start(self.another(), service));
        self
    }

    fn another(&self) -> Connection {
        let connector = self.reconnect.clone();
        connection(self.endpoint.connect_with_connector_lazy(connector))
    }

    pub(in crate::channel) fn connector(&self) -> &KcpConnector {
        &self.connector
    }
}

impl Origin<Grpc> for GrpcOrigin {
    type Service = Connection;

    fn connection(&self) -> Connection {
        #[cfg(feature = "health")]
        if let Some(first) = self.health.as_ref().and_then(Watching::take_connection) {
            return first;
        }
        self.another()
    }

    fn unreachable(&self) -> Option<String> {
        self.reconnect.unreachable()
    }

    fn saturated(&self) -> bool {
        let saturation = self.saturation.lock();
        let mut saturation = saturation.unwrap_or_else(PoisonError::into_inner);
        saturation.update(now(), || saturation::work(&self.connector.connections()))
    }

    #[cfg(feature = "health")]
    fn unhealthy(&self) -> Option<String> {
        self.health.as_ref()?.problem()
    }

    /// Of the connection that was made last and has measured its path; the loss of the last 5 to 10 s.
    fn link(&self) -> Option<Link> {
        let connections = self.connector.connections();
        let newest_first = connections.iter().rev().map(|it| it.stats());
        let (rtt, stats) = newest_first
            .filter_map(|stats| Some((stats.smoothed_rtt?, stats)))
            .next()?;
        let mut loss = self.loss.lock().unwrap_or_else(PoisonError::into_inner);
        let loss = loss.update(segments(&stats), now());
        Some(Link { rtt, loss })
    }
}

fn segments(stats: &Stats) -> Segments {
    let spurious = stats.spurious_retransmitted;
    Segments {
        sent: stats.data_segments_sent + stats.retransmitted,
        lost: stats.retransmitted.saturating_sub(spurious),
    }
}
