//! UDP sockets: sending and receiving batches.

#[cfg(any(target_os = "linux", target_os = "android"))]
use std::collections::HashSet;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::io::IoSlice;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

#[cfg(not(any(target_os = "linux", target_os = "android")))]
use quinn_udp::Transmit;
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
#[cfg(any(target_os = "linux", target_os = "android"))]
use socket2::MsgHdr;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::config::Config;
use crate::packet::SegmentRun;

#[cfg(any(target_os = "linux", target_os = "android"))]
use super::linux::{ControlMessages, Offload, Refusals, allow_fragments, forbid_fragments};
#[cfg(any(target_os = "linux", target_os = "android"))]
use super::transport::is_too_long;
use super::transport::{Path, Received, Transport};

/// A UDP socket that uses segmentation and receive offload where the system has them.
#[derive(Debug)]
pub(in crate::net) struct Socket {
    io: UdpSocket,
    /// The reactor has reported that the socket can be written to. Until then only a call tells: with
    /// many new sockets the first report may take long.
    is_reported: AtomicBool,
    /// `None` where the system lacks a socket option that `quinn_udp` requires. Datagrams are then
    /// received and sent one by one, and without the local address.
    state: Option<UdpSocketState>,
    /// The configuration sets a code point (DSCP). `quinn_udp` sets the traffic class of each call
    /// itself, so sending bypasses it and keeps that of the socket.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    marked: bool,
    /// Whether segmentation offload works. Here too sending bypasses `quinn_udp`, which gives up
    /// offload for good at the first error of a single datagram.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    offload: Offload,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    refusals: Refusals,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    is_v6: bool,
}

impl Socket {
    /// Takes over a socket that the caller created.
    pub(in crate::net) fn adopt(socket: std::net::UdpSocket, config: &Config) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        if let Some(bytes) = config.socket_buffer() {
            let socket = SockRef::from(&socket);
            // The kernel may grant less; a smaller buffer costs throughput, not correctness.
            let _ = socket.set_recv_buffer_size(bytes);
            let _ = socket.set_send_buffer_size(bytes);
        }
        if config.dscp() != 0 {
            set_dscp(&socket, config.dscp())?;
        }
        let state = UdpSocketState::new(UdpSockRef::from(&socket))
            .inspect_err(|error| tracing::debug!(%error, "no offload and no local addresses"))
            .ok();
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let is_v6 = socket.local_addr()?.is_ipv6();
        // Where a system refuses, datagrams that are too long are lost.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = allow_fragments(&socket, is_v6);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let refusals = Refusals::enable(&socket, is_v6);
        let io = UdpSocket::from_std(socket)?;
        Ok(Self {
            io,
            is_reported: AtomicBool::new(false),
            #[cfg(not(any(target_os = "linux", target_os = "android")))]
            marked: config.dscp() != 0,
            #[cfg(any(target_os = "linux", target_os = "android"))]
            offload: Offload::new(max_segments(state.as_ref())),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            refusals,
            #[cfg(any(target_os = "linux", target_os = "android"))]
            is_v6,
            state,
        })
    }

    /// Sends a run, in one call if the kernel segments it.
    ///
    /// Where it refuses to, the datagrams leave singly. If they do, segmentation is suspended, unless
    /// they were only too long for it; if not even the first does, the error concerns the path, for
    /// example an address that cannot be sent to.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn send_run(&self, path: Path, run: SegmentRun<'_>) -> io::Result<()> {
        if run.probe {
            return self.send_probe(path, run.bytes);
        }
        if run.datagrams <= 1 {
            return self.send_message(path, run.bytes, None);
        }
        let size = u16::try_from(run.segment_size).map_err(io::Error::other)?;
        let is_fragmented = match self.send_message(path, run.bytes, Some(size)) {
            Err(error) if is_too_long(&error) => true,
            Err(error) if matches!(error.raw_os_error(), Some(EIO | EINVAL)) => false,
            result => return result,
        };
        let mut datagrams = run.bytes.chunks(run.segment_size);
        if let Some(first) = datagrams.next() {
            self.send_message(path, first, None)?;
        }
        if !is_fragmented {
            self.offload.suspend();
        }
        for datagram in datagrams {
            // A run is sent as a whole. What fails after its first datagram counts as lost on the
            // way.
            let _ = self.send_message(path, datagram, None);
        }
        Ok(())
    }

    /// Sends a datagram that must not be fragmented.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn send_probe(&self, path: Path, bytes: &[u8]) -> io::Result<()> {
        let _ = forbid_fragments(&self.io, self.is_v6);
        let sent = self.send_message(path, bytes, None);
        // The system queues its own refusal with the whole datagram.
        if sent.is_err() {
            self.refusals.collect(&self.io);
        }
        let _ = allow_fragments(&self.io, self.is_v6);
        sent
    }

    /// Sends bytes as one datagram, or as datagrams of `segment_size`.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn send_message(&self, path: Path, bytes: &[u8], segment_size: Option<u16>) -> io::Result<()> {
        let mut control = ControlMessages::default();
        if let Some(size) = segment_size {
            control = control.segment_size(size);
        }
        if let Some(ip) = path.local {
            control = control.source(ip);
        }
        let peer = path.peer.into();
        let contents = [IoSlice::new(bytes)];
        let message = MsgHdr::new()
            .with_addr(&peer)
            .with_buffers(&contents)
            .with_control(control.bytes());
        self.retry_after_reports(|| {
            loop {
                match SockRef::from(&self.io).sendmsg(&message, 0) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    sent => return sent.map(|_| ()),
                }
            }
        })
    }

    /// Makes a call, and again if it failed because of a report about an earlier datagram.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn retry_after_reports<T>(&self, call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        self.refusals.retry(&self.io, call)
    }

    /// Makes a call: errors are its own where the system reports no others.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    #[allow(clippy::unused_self, reason = "as on Linux")]
    fn retry_after_reports<T>(&self, mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        call()
    }

    /// Sends a run; `quinn_udp` segments it where the system has that.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn send_run(&self, path: Path, run: SegmentRun<'_>) -> io::Result<()> {
        let Some(state) = self.state.as_ref().filter(|_| !self.marked) else {
            return self.send_plain(path, run);
        };
        let transmit = Transmit {
            destination: path.peer,
            ecn: None,
            contents: run.bytes,
            segment_size: (run.datagrams > 1).then_some(run.segment_size),
            src_ip: path.local,
        };
        state.try_send(UdpSockRef::from(&self.io), &transmit)
    }

    /// Sends a datagram with the socket's own traffic class.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn send_plain(&self, path: Path, run: SegmentRun<'_>) -> io::Result<()> {
        let peer = path.peer.into();
        SockRef::from(&self.io)
            .send_to(run.bytes, &peer)
            .map(|_| ())
    }

    /// Receives datagrams one by one, until there are no more or the buffers are full.
    fn recv_plain(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> io::Result<usize> {
        let mut count = 0;
        for (buffer, received) in buffers.iter_mut().zip(received) {
            match self.retry_after_reports(|| self.io.try_recv_from(buffer)) {
                Ok((len, peer)) => *received = Received::new(Path::new(peer), len),
                Err(error) if count == 0 => return Err(error),
                // A later call returns it, if it lasts.
                Err(_) => break,
            }
            count += 1;
        }
        Ok(count)
    }
}

/// The number of datagrams that one call sends.
fn max_segments(state: Option<&UdpSocketState>) -> usize {
    state.map_or(1, UdpSocketState::max_gso_segments)
}

impl Transport for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_recv_ready(cx)
    }

    fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_send_ready(cx)
    }

    fn try_recv(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> io::Result<usize> {
        let Some(state) = &self.state else {
            return self.recv_plain(buffers, received);
        };
        let mut metas = [RecvMeta::default(); quinn_udp::BATCH_SIZE];
        let most = buffers.len().min(received.len()).min(metas.len());
        let count = self.io.try_io(Interest::READABLE, || {
            self.retry_after_reports(|| {
                let socket = UdpSockRef::from(&self.io);
                state.recv(socket, &mut buffers[..most], &mut metas[..most])
            })
        })?;
        for (received, meta) in received.iter_mut().zip(&metas[..count]) {
            *received = Received::new(Path::new(meta.addr).with_local(meta.dst_ip), meta.len)
                .with_stride(meta.stride);
        }
        Ok(count)
    }

    fn try_send(&self, path: Path, run: SegmentRun<'_>) -> io::Result<()> {
        let mut is_called = false;
        let sent = self.io.try_io(Interest::WRITABLE, || {
            is_called = true;
            self.send_run(path, run)
        });
        if is_called {
            self.is_reported.store(true, Ordering::Relaxed);
        } else if !self.is_reported.load(Ordering::Relaxed) {
            return self.send_run(path, run);
        }
        sent
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn take_refusals(&self) -> Option<HashSet<SocketAddr>> {
        self.refusals.take()
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn max_run(&self) -> usize {
        self.offload.max_run()
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn max_run(&self) -> usize {
        if self.marked {
            1
        } else {
            max_segments(self.state.as_ref())
        }
    }
}

fn set_dscp(socket: &std::net::UdpSocket, code_point: u8) -> io::Result<()> {
    // The code point is the upper six bits of the traffic class; ECN has the lower two.
    let class = u32::from(code_point) << 2;
    let v6 = socket.local_addr()?.is_ipv6();
    let socket = SockRef::from(socket);
    if v6 {
        set_traffic_class_v6(&socket, class)?;
        // A dual-stack socket needs it for its v4 peers too; a v6-only socket refuses it.
        let _ = socket.set_tos_v4(class);
        Ok(())
    } else {
        socket.set_tos_v4(class)
    }
}

#[cfg(any(
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly"
))]
fn set_traffic_class_v6(socket: &SockRef<'_>, class: u32) -> io::Result<()> {
    socket.set_tclass_v6(class)
}

/// `socket2` lacks the option on the other systems, Windows among them.
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly"
)))]
fn set_traffic_class_v6(_: &SockRef<'_>, _: u32) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this system cannot set the traffic class of IPv6 sockets; set dscp to 0 or use IPv4",
    ))
}

/// The errors of Linux if the driver of a network card cannot segment. Either may have other
/// causes.
#[cfg(any(target_os = "linux", target_os = "android"))]
const EIO: i32 = 5;
#[cfg(any(target_os = "linux", target_os = "android"))]
const EINVAL: i32 = 22;

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::disallowed_methods, reason = "a plain socket receives")]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::net::io::SocketMaker;

    fn run(bytes: &[u8], segment_size: usize) -> SegmentRun<'_> {
        SegmentRun {
            bytes,
            segment_size,
            datagrams: bytes.len().div_ceil(segment_size),
            probe: false,
        }
    }

    fn path(peer: SocketAddr) -> Path {
        Path { peer, local: None }
    }

    /// A socket that the runtime knows to be writable.
    async fn socket() -> Socket {
        let maker = SocketMaker::default();
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        let socket = maker.bind(any, &Config::default()).expect("binds");
        std::future::poll_fn(|cx| socket.poll_send_ready(cx))
            .await
            .expect("is open");
        socket
    }

    #[tokio::test]
    async fn new_socket_sends_before_the_runtime_has_looked_at_it() {
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        let socket = SocketMaker::default()
            .bind(any, &Config::default())
            .expect("binds");
        let other = std::net::UdpSocket::bind("127.0.0.1:0").expect("binds");
        let peer = other.local_addr().expect("bound");
        socket
            .try_send(path(peer), run(&[7; 10], 10))
            .expect("sends");
        assert_eq!(other.recv(&mut [0; 100]).expect("has arrived"), 10);
    }

    #[tokio::test]
    async fn system_without_an_option_receives_and_sends_one_by_one() {
        let mut plain = socket().await;
        plain.state = None;
        let other = std::net::UdpSocket::bind("127.0.0.1:0").expect("binds");
        let addr = plain.local_addr().expect("bound");
        for len in [10, 20, 30] {
            other.send_to(&vec![7; len], addr).expect("sends");
        }
        std::future::poll_fn(|cx| plain.poll_recv_ready(cx))
            .await
            .expect("is open");
        let mut bytes = [[0; 100]; 2];
        let [first, second] = &mut bytes;
        let mut buffers = [IoSliceMut::new(first), IoSliceMut::new(second)];
        let peer = path(other.local_addr().expect("bound"));
        let mut received = [Received::new(peer, 0), Received::new(peer, 0)];
        let count = plain.try_recv(&mut buffers, &mut received);
        assert_eq!(count.expect("receives"), 2);
        assert_eq!(
            received.map(|it| (it.path, it.len)),
            [(peer, 10), (peer, 20)]
        );
        let count = plain.try_recv(&mut buffers, &mut received);
        assert_eq!(count.expect("receives"), 1);
        let error = plain.try_recv(&mut buffers, &mut received);
        let error = error.expect_err("no more datagrams");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        plain.try_send(peer, run(b"back", 4)).expect("sends");
        let mut back = [0; 10];
        assert_eq!(other.recv(&mut back).expect("receives"), 4);
    }

    #[tokio::test]
    async fn address_that_cannot_be_sent_to_leaves_offload_on() {
        let socket = socket().await;
        let max = socket.max_run();
        assert!(max > 1, "the kernel does not segment");
        let nowhere = path((Ipv4Addr::LOCALHOST, 0).into());
        for datagrams in [1, 4] {
            let bytes = vec![0; 100 * datagrams];
            let error = socket
                .try_send(nowhere, run(&bytes, 100))
                .expect_err("port 0 is no destination");
            assert_eq!(error.raw_os_error(), Some(EINVAL));
            assert_eq!(socket.max_run(), max);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refused_segmentation_sends_singly_and_is_tried_again_later() {
        let socket = socket().await;
        let receiver = std::net::UdpSocket::bind("127.0.0.1:0").expect("binds");
        let to = path(receiver.local_addr().expect("bound"));
        let max = socket.max_run();
        // More datagrams than the kernel segments in a call.
        let bytes: Vec<u8> = (0..2000_u32).map(|index| index as u8).collect();
        socket.try_send(to, run(&bytes, 10)).expect("goes singly");
        let mut received = [0; 100];
        for datagram in bytes.chunks(10) {
            let len = receiver.recv(&mut received).expect("arrived");
            assert_eq!(&received[..len], datagram);
        }
        assert_eq!(socket.max_run(), 1);
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(socket.max_run(), max);
    }
}
