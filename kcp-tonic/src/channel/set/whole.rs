//! Responses that are read to their end before they are passed on.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use tonic::body::Body;
use tonic::{Code, Status};

use super::judge::FinalCode;

/// Reads a response to its end and records its status. A long response is read in part.
pub(super) async fn read(response: Response<Body>) -> Result<Response<Body>, Status> {
    let (mut parts, mut body) = response.into_parts();
    let mut read = VecDeque::new();
    let mut size = 0;
    let rest = loop {
        let frame = poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut body), cx)).await;
        let Some(frame) = frame.transpose()? else {
            break None;
        };
        size += frame.data_ref().map_or(0, Bytes::len);
        if let Some(status) = frame.trailers_ref().and_then(Status::from_header_map) {
            parts.extensions.insert(FinalCode(status.code()));
        }
        read.push_back(frame);
        if size > LONGEST {
            // The rest is passed on as it arrives, so another try is not possible.
            parts.extensions.insert(FinalCode(Code::Ok));
            break Some(body);
        }
    };
    Ok(Response::from_parts(
        parts,
        Body::new(ReadBody { read, rest }),
    ))
}

/// Frames that have been read, and the rest.
struct ReadBody {
    read: VecDeque<Frame<Bytes>>,
    rest: Option<Body>,
}

impl http_body::Body for ReadBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if let Some(frame) = this.read.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match &mut this.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        let rest = self.rest.as_ref();
        self.read.is_empty() && rest.is_none_or(http_body::Body::is_end_stream)
    }
}

/// tonic's clients decode no larger message unless they are told to.
const LONGEST: usize = 4 << 20;
