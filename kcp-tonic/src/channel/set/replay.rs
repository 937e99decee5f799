//! Calls that can be sent several times.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request};
use http_body::{Body as _, Frame};
use kcp_tower::balance::Attempts;
use tonic::Status;
use tonic::body::Body;

use super::deadline;

/// Changes the headers of a try.
pub(super) type TryHeaders = Arc<dyn Fn(&mut HeaderMap) + Send + Sync>;

/// The tries of one call.
pub(in crate::channel) struct Calls {
    content: Content,
    headers: Option<TryHeaders>,
}

enum Content {
    /// Its body is passed on as it is, once.
    Once(Option<Request<Body>>),
    /// Its body is kept as it is read, up to a limit.
    Replayed {
        parts: Parts,
        kept: Arc<Mutex<Kept>>,
    },
}

impl Calls {
    pub(super) fn once(request: Request<Body>) -> Self {
        Self::of(Content::Once(Some(request)))
    }

    pub(in crate::channel) fn replayed(request: Request<Body>, limit: usize) -> Self {
        let (parts, body) = request.into_parts();
        let rest = (!body.is_end_stream()).then_some(body);
        let kept = Kept {
            rest,
            frames: Vec::new(),
            room: Some(limit),
            attempt: 0,
            read: 0,
            waker: None,
        };
        Self::of(Content::Replayed {
            parts,
            kept: Arc::new(Mutex::new(kept)),
        })
    }

    /// Calls a hook with the headers of each try.
    pub(super) fn with_headers(mut self, headers: Option<TryHeaders>) -> Self {
        self.headers = headers;
        self
    }

    fn of(content: Content) -> Self {
        let headers = None;
        Self { content, headers }
    }
}

/// No try follows, so nothing more is kept for one.
impl Drop for Calls {
    fn drop(&mut self) {
        if let Content::Replayed { kept, .. } = &self.content {
            lock(kept).release();
        }
    }
}

impl Attempts<Request<Body>> for Calls {
    fn next(&mut self, left: Option<Duration>, concurrent: bool) -> Option<Request<Body>> {
        let mut request = match &mut self.content {
            Content::Once(request) => request.take()?,
            Content::Replayed { parts, kept } => {
                let body = Kept::replay(kept, concurrent)?;
                Request::from_parts(parts.clone(), Body::new(body))
            }
        };
        if let Some(left) = left {
            deadline::set(request.headers_mut(), left);
        }
        if let Some(change) = &self.headers {
            change(request.headers_mut());
        }
        Some(request)
    }
}

/// The part of a body that has been read, and the rest.
struct Kept {
    /// `None` once all of it is in `frames`.
    rest: Option<Body>,
    frames: Vec<Part>,
    /// The bytes that may still be kept; `None` after there were more, and nothing is kept any more.
    room: Option<usize>,
    /// The try that reads the rest. A body of an earlier try that is still being read ends.
    attempt: u32,
    /// How many of the parts that try has read.
    read: usize,
    /// Of that try, while it waits for the rest.
    waker: Option<Waker>,
}

#[derive(Clone)]
enum Part {
    Data(Bytes),
    Trailers(HeaderMap),
    Failed(Status),
}

impl Kept {
    /// The body for another try, unless it was too long, or another try waits for more of it.
    fn replay(kept: &Arc<Mutex<Self>>, concurrent: bool) -> Option<ReplayedBody> {
        let mut this = lock(kept);
        let first = this.attempt == 0;
        if concurrent {
            this.read_ready();
        }
        if !first && (this.room.is_none() || concurrent && this.rest.is_some()) {
            return None;
        }
        this.attempt += 1;
        this.read = 0;
        Some(ReplayedBody {
            kept: Arc::clone(kept),
            attempt: this.attempt,
            position: 0,
        })
    }

    /// Reads what is there already. A try that waits for its connection has read nothing, although the
    /// content is complete.
    fn read_ready(&mut self) {
        let waker = self.waker.clone();
        let mut cx = Context::from_waker(waker.as_ref().unwrap_or(Waker::noop()));
        while self.room.is_some() {
            let Poll::Ready(Some(part)) = self.poll_rest(&mut cx) else {
                return;
            };
            // The current try has not read it, so it stays even if it is beyond the limit.
            self.count(&part);
            self.frames.push(part);
        }
    }

    /// A part of the rest; `None` if all of it has been read.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Option<Part>> {
        loop {
            let Some(rest) = &mut self.rest else {
                return Poll::Ready(None);
            };
            let frame = ready!(Pin::new(&mut *rest).poll_frame(cx));
            if frame.is_none() || rest.is_end_stream() {
                self.rest = None;
            }
            let part = match frame.map(|it| it.map(Frame::into_data)) {
                None => return Poll::Ready(None),
                Some(Ok(Ok(data))) => Part::Data(data),
                Some(Ok(Err(frame))) => match frame.into_trailers() {
                    Ok(trailers) => Part::Trailers(trailers),
                    // There are no other frames.
                    Err(_) => continue,
                },
                Some(Err(error)) => {
                    self.rest = None;
                    Part::Failed(error)
                }
            };
            return Poll::Ready(Some(part));
        }
    }

    fn keep(&mut self, part: &Part) {
        self.count(part);
        if self.room.is_some() {
            self.frames.push(part.clone());
        } else {
            self.frames = Vec::new();
        }
    }

    fn release(&mut self) {
        self.room = None;
        if self.read >= self.frames.len() {
            self.frames = Vec::new();
        }
    }

    fn count(&mut self, part: &Part) {
        let size = match part {
            Part::Data(data) => data.len(),
            // Clients of gRPC send no trailers.
            Part::Trailers(_) | Part::Failed(_) => 0,
        };
        self.room = self.room.and_then(|room| room.checked_sub(size));
    }
}

/// The body of one try.
struct ReplayedBody {
    kept: Arc<Mutex<Kept>>,
    attempt: u32,
    position: usize,
}

impl http_body::Body for ReplayedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let mut kept = lock(&this.kept);
        let part = match kept.frames.get(this.position) {
            Some(part) => part.clone(),
            None if kept.rest.is_some() && kept.attempt != this.attempt => {
                Part::Failed(Status::cancelled("superseded by a later try"))
            }
            None => {
                kept.waker = Some(cx.waker().clone());
                let Some(part) = ready!(kept.poll_rest(cx)) else {
                    return Poll::Ready(None);
                };
                kept.keep(&part);
                part
            }
        };
        this.position += 1;
        if kept.attempt == this.attempt {
            kept.read = this.position;
        }
        Poll::Ready(Some(part.into_frame()))
    }

    fn is_end_stream(&self) -> bool {
        let kept = lock(&self.kept);
        kept.rest.is_none() && self.position >= kept.frames.len()
    }
}

impl Part {
    fn into_frame(self) -> Result<Frame<Bytes>, Status> {
        match self {
            Self::Data(data) => Ok(Frame::data(data)),
            Self::Trailers(trailers) => Ok(Frame::trailers(trailers)),
            Self::Failed(status) => Err(status),
        }
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A body of these frames, which ends if `ends`.
    struct Frames {
        frames: VecDeque<&'static [u8]>,
        ends: bool,
    }

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            match self.frames.pop_front() {
                Some(frame) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(frame))))),
                None if self.ends => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    /// A body whose frames come through a channel.
    struct Channel(tokio::sync::mpsc::UnboundedReceiver<&'static [u8]>);

    impl http_body::Body for Channel {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            let frame = ready!(self.0.poll_recv(cx));
            Poll::Ready(frame.map(|it| Ok(Frame::data(Bytes::from_static(it)))))
        }
    }

    struct FailedBody;

    impl http_body::Body for FailedBody {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(Some(Err(Status::aborted("the application"))))
        }
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn calls(frames: &[&'static [u8]], ends: bool, limit: usize) -> Calls {
        let frames = frames.iter().copied().collect();
        let body = Body::new(Frames { frames, ends });
        Calls::replayed(Request::new(body), limit)
    }

    /// What can be read of a body now, and how it goes on.
    fn read(body: &mut Body) -> (Vec<u8>, Poll<Result<(), Status>>) {
        let mut cx = Context::from_waker(Waker::noop());
        let mut read = Vec::new();
        loop {
            match Pin::new(&mut *body).poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => read.extend(frame.into_data().unwrap()),
                Poll::Ready(Some(Err(error))) => return (read, Poll::Ready(Err(error))),
                Poll::Ready(None) => return (read, Poll::Ready(Ok(()))),
                Poll::Pending => return (read, Poll::Pending),
            }
        }
    }

    fn next(calls: &mut Calls, concurrent: bool) -> Option<Body> {
        calls.next(None, concurrent).map(Request::into_body)
    }

    #[test]
    fn body_is_the_same_each_time_also_at_the_same_time() {
        let mut calls = calls(&[b"one", b"two"], true, 6);
        // A try that waits for its connection has not read it yet.
        let mut first = next(&mut calls, false).unwrap();
        let mut second = next(&mut calls, true).unwrap();
        let mut third = next(&mut calls, true).unwrap();
        for body in [&mut first, &mut second, &mut third] {
            let (all, end) = read(body);
            assert_eq!(all, b"onetwo");
            assert!(matches!(end, Poll::Ready(Ok(()))));
            assert!(body.is_end_stream());
        }
    }

    #[test]
    fn body_beyond_the_limit_is_sent_once_and_whole() {
        let mut calls = calls(&[b"one", b"two", b"three"], true, 5);
        let mut first = next(&mut calls, false).unwrap();
        assert_eq!(read(&mut first).0, b"onetwothree");
        assert!(next(&mut calls, false).is_none());
    }

    #[test]
    fn body_that_is_not_complete_goes_on_in_the_next_try_only() {
        let mut calls = calls(&[b"one"], false, 100);
        let mut first = next(&mut calls, false).unwrap();
        assert!(read(&mut first).1.is_pending());
        assert!(next(&mut calls, true).is_none());
        let mut second = next(&mut calls, false).unwrap();
        let (all, end) = read(&mut second);
        assert_eq!(all, b"one");
        assert!(end.is_pending());
        assert!(matches!(read(&mut first).1, Poll::Ready(Err(_))));
    }

    #[test]
    fn body_beyond_the_limit_is_whole_when_another_try_was_to_begin_beside_it() {
        let mut calls = calls(&[b"one", b"two", b"three"], true, 5);
        let mut first = next(&mut calls, false).unwrap();
        assert!(next(&mut calls, true).is_none());
        assert_eq!(read(&mut first).0, b"onetwothree");
        assert!(next(&mut calls, false).is_none());
    }

    #[test]
    fn try_that_waits_for_the_body_is_woken_although_another_was_to_begin_beside_it() {
        let (sender, body) = tokio::sync::mpsc::unbounded_channel();
        let mut calls = Calls::replayed(Request::new(Body::new(Channel(body))), 100);
        let mut first = next(&mut calls, false).unwrap();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut first).poll_frame(&mut cx).is_pending());
        assert!(next(&mut calls, true).is_none());
        sender.send(b"one" as &[u8]).unwrap();
        assert!(woken.0.load(Ordering::Relaxed));
        drop(sender);
        assert_eq!(read(&mut first).0, b"one");
    }

    #[test]
    fn nothing_is_kept_once_no_try_can_follow() {
        let (sender, body) = tokio::sync::mpsc::unbounded_channel();
        let mut calls = Calls::replayed(Request::new(Body::new(Channel(body))), 100);
        let Content::Replayed { kept, .. } = &calls.content else {
            unreachable!("the call is replayed");
        };
        let kept = Arc::clone(kept);
        let mut body = next(&mut calls, false).unwrap();
        sender.send(b"one" as &[u8]).unwrap();
        assert_eq!(read(&mut body).0, b"one");
        assert_eq!(lock(&kept).frames.len(), 1);
        drop(calls);
        assert!(lock(&kept).frames.is_empty());
        sender.send(b"two").unwrap();
        assert_eq!(read(&mut body).0, b"two");
        assert!(lock(&kept).frames.is_empty());
    }

    #[test]
    fn body_that_failed_fails_in_each_try() {
        let body = Body::new(FailedBody);
        let mut calls = Calls::replayed(Request::new(body), 100);
        for _ in 0..2 {
            let mut body = next(&mut calls, false).unwrap();
            assert!(matches!(read(&mut body).1, Poll::Ready(Err(_))));
        }
    }

    #[test]
    fn body_without_content_has_ended_from_the_start() {
        let mut calls = Calls::replayed(Request::new(Body::empty()), 0);
        for _ in 0..2 {
            assert!(next(&mut calls, true).unwrap().is_end_stream());
        }
    }

    #[test]
    fn time_that_is_left_is_sent() {
        let mut calls = Calls::once(Request::new(Body::empty()));
        let left = Some(Duration::from_millis(250));
        let request = calls.next(left, false).unwrap();
        assert_eq!(request.headers()["grpc-timeout"], "250000u");
        assert!(calls.next(left, false).is_none());
    }
}
