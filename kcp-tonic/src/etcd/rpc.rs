//! The calls of etcd's v3 API that are needed here, with the fields that are needed here.
//!
//! The existing client crate runs `protoc` when it is built, which would be needed on every machine.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use http::uri::PathAndQuery;
use kcp_tower::BoxError;
use prost::Message;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// etcd, over a channel of tonic.
#[derive(Clone, Debug)]
pub(super) struct Rpc {
    pub(super) channel: Channel,
}

impl Rpc {
    pub(super) async fn range(&self, request: RangeRequest) -> Result<RangeResponse, BoxError> {
        self.unary("/etcdserverpb.KV/Range", request).await
    }

    pub(super) async fn put(&self, request: PutRequest) -> Result<(), BoxError> {
        let Empty {} = self.unary("/etcdserverpb.KV/Put", request).await?;
        Ok(())
    }

    pub(super) async fn delete(&self, request: RangeRequest) -> Result<(), BoxError> {
        let Empty {} = self.unary("/etcdserverpb.KV/DeleteRange", request).await?;
        Ok(())
    }

    pub(super) async fn grant(&self, ttl: i64) -> Result<Lease, BoxError> {
        let request = LeaseGrantRequest { ttl };
        self.unary("/etcdserverpb.Lease/LeaseGrant", request).await
    }

    pub(super) async fn revoke(&self, id: i64) -> Result<(), BoxError> {
        let request = LeaseRequest { id };
        let Empty {} = self
            .unary("/etcdserverpb.Lease/LeaseRevoke", request)
            .await?;
        Ok(())
    }

    /// Renews a lease each time a request is sent.
    pub(super) async fn keep_alive(
        &self,
        requests: Requests<LeaseRequest>,
    ) -> Result<Streaming<Lease>, BoxError> {
        let path = "/etcdserverpb.Lease/LeaseKeepAlive";
        self.streaming(path, requests).await
    }

    pub(super) async fn watch(
        &self,
        requests: Requests<WatchRequest>,
    ) -> Result<Streaming<WatchResponse>, BoxError> {
        self.streaming("/etcdserverpb.Watch/Watch", requests).await
    }

    async fn unary<M, R>(&self, path: &'static str, message: M) -> Result<R, BoxError>
    where
        M: Message + Default + 'static,
        R: Message + Default + 'static,
    {
        let path = PathAndQuery::from_static(path);
        let mut grpc = Grpc::new(self.channel.clone());
        let call = async {
            grpc.ready()
                .await
                .map_err(|error| Status::from_error(error.into()))?;
            grpc.unary(Request::new(message), path, ProstCodec::<M, R>::default())
                .await
        };
        Ok(answer(call).await?.into_inner())
    }

    async fn streaming<M, R>(
        &self,
        path: &'static str,
        requests: Requests<M>,
    ) -> Result<Streaming<R>, BoxError>
    where
        M: Message + Default + 'static,
        R: Message + Default + 'static,
    {
        let path = PathAndQuery::from_static(path);
        let mut grpc = Grpc::new(self.channel.clone());
        let call = async {
            grpc.ready()
                .await
                .map_err(|error| Status::from_error(error.into()))?;
            let codec = ProstCodec::<M, R>::default();
            grpc.streaming(Request::new(requests), path, codec).await
        };
        Ok(answer(call).await?.into_inner())
    }
}

/// Waits for an answer of etcd for a limited time.
pub(super) async fn answer<T>(
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, BoxError> {
    match tokio::time::timeout(LIMIT, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(status)) => Err(describe(&status)),
        Err(_) => Err(format!("etcd: no answer within {LIMIT:?}").into()),
    }
}

pub(super) fn describe(status: &Status) -> BoxError {
    let mut text = format!("etcd: {:?}: {}", status.code(), status.message());
    let mut next = std::error::Error::source(status);
    while let Some(error) = next {
        text.push_str(&format!(": {error}"));
        next = error.source();
    }
    text.into()
}

/// An answer takes milliseconds.
const LIMIT: Duration = Duration::from_secs(5);

/// The requests of a stream.
pub(super) struct Requests<M>(mpsc::Receiver<M>);

impl<M> Requests<M> {
    /// A stream that begins with this request: etcd sends the head of its response with the first
    /// answer.
    pub(super) fn beginning_with(first: M) -> (mpsc::Sender<M>, Self) {
        let (sender, receiver) = mpsc::channel(1);
        // There is room for one.
        let _ = sender.try_send(first);
        (sender, Self(receiver))
    }
}

impl<M> Stream for Requests<M> {
    type Item = M;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<M>> {
        self.0.poll_recv(cx)
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Empty {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ResponseHeader {
    #[prost(int64, tag = "3")]
    pub(super) revision: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValue {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub(super) value: Vec<u8>,
}

/// Of `Range` and of `DeleteRange`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    /// The first key that does not belong to it; empty for one key.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) range_end: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RangeResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<ResponseHeader>,
    #[prost(message, repeated, tag = "2")]
    pub(super) kvs: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
    #[prost(int64, tag = "3")]
    pub(super) lease: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LeaseGrantRequest {
    /// In seconds.
    #[prost(int64, tag = "1")]
    pub(super) ttl: i64,
}

/// Of `LeaseRevoke` and of `LeaseKeepAlive`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct LeaseRequest {
    #[prost(int64, tag = "1")]
    pub(super) id: i64,
}

/// The response of `LeaseGrant` and of `LeaseKeepAlive`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Lease {
    #[prost(int64, tag = "2")]
    pub(super) id: i64,
    /// In seconds; 0 if the lease has expired.
    #[prost(int64, tag = "3")]
    pub(super) ttl: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WatchRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) create: Option<WatchCreateRequest>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WatchCreateRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) range_end: Vec<u8>,
    #[prost(int64, tag = "3")]
    pub(super) start_revision: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WatchResponse {
    #[prost(bool, tag = "4")]
    pub(super) canceled: bool,
    #[prost(string, tag = "6")]
    pub(super) cancel_reason: String,
    #[prost(message, repeated, tag = "11")]
    pub(super) events: Vec<Event>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    /// 0 for a put, 1 for a deletion.
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) kv: Option<KeyValue>,
}
