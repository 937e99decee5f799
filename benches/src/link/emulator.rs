//! A running link between two TUN devices, with one thread per direction.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tun_rs::SyncDevice;

use super::pipe::{Counters, Pipe};
use super::spec::Link;
use crate::clock;
use crate::priority;

/// A running link. Dropping it stops the link and loses the packets in flight.
#[derive(Debug)]
pub struct Emulator {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stopped: AtomicBool,
    up: Mutex<Lane>,
    down: Mutex<Lane>,
}

/// State that the thread of a direction shares with other threads.
#[derive(Debug, Default)]
struct Lane {
    counters: Counters,
    dead_until: Option<Duration>,
    failure: Option<io::Error>,
}

/// Counters of both directions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// From the client to the server.
    pub up: Counters,
    /// From the server to the client.
    pub down: Counters,
}

impl Traffic {
    /// The difference to `earlier` counters.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            up: self.up.since(&earlier.up),
            down: self.down.since(&earlier.down),
        }
    }

    /// IP bytes that entered the link, in both directions.
    pub fn bytes(&self) -> u64 {
        self.up.bytes + self.down.bytes
    }

    /// Packets dropped because a queue was full, in both directions.
    pub fn queue_drops(&self) -> u64 {
        self.up.queue_drops + self.down.queue_drops
    }

    /// Mean round-trip time; `None` if a direction carried nothing.
    pub fn mean_rtt(&self) -> Option<Duration> {
        Some(self.up.mean_transit()? + self.down.mean_transit()?)
    }
}

impl Emulator {
    /// Connects the client's device to the server's. `seed` determines the faults.
    ///
    /// # Errors
    ///
    /// The system's, if a device cannot be read or a thread cannot be started.
    pub fn start(
        link: &Link,
        seed: u64,
        client: &Arc<SyncDevice>,
        server: &Arc<SyncDevice>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            stopped: AtomicBool::new(false),
            up: Mutex::default(),
            down: Mutex::default(),
        });
        let mut emulator = Self {
            shared: Arc::clone(&shared),
            threads: Vec::new(),
        };
        let start = clock::now();
        let up = Pipe::new(link.up.clone(), seed);
        let down = Pipe::new(link.down.clone(), !seed);
        for (is_up, pipe, from, to) in [(true, up, client, server), (false, down, server, client)] {
            discard_waiting(from)?;
            let worker = Worker {
                start,
                pipe,
                from: Arc::clone(from),
                to: Arc::clone(to),
                shared: Arc::clone(&shared),
                is_up,
            };
            let name = if is_up { "link-up" } else { "link-down" };
            let thread = thread::Builder::new().name(name.to_owned());
            emulator.threads.push(thread.spawn(|| worker.run())?);
        }
        Ok(emulator)
    }

    /// Counters since the start.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            up: lock(&self.shared.up).counters,
            down: lock(&self.shared.down).counters,
        }
    }

    /// Loses all packets of both directions for this time.
    pub fn cut(&self, time: Duration) {
        let until = clock::now() + time;
        lock(&self.shared.up).dead_until = Some(until);
        lock(&self.shared.down).dead_until = Some(until);
    }

    /// Stops the link.
    ///
    /// # Errors
    ///
    /// If a device failed or a thread panicked meanwhile.
    pub fn stop(mut self) -> io::Result<()> {
        self.join()?;
        for lane in [&self.shared.up, &self.shared.down] {
            if let Some(failure) = lock(lane).failure.take() {
                return Err(failure);
            }
        }
        Ok(())
    }

    fn join(&mut self) -> io::Result<()> {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                result = Err(io::Error::other("a thread of the link panicked"));
            }
        }
        result
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // A panic of the thread has been printed already.
        let _ = self.join();
    }
}

/// The thread of one direction.
struct Worker {
    start: Duration,
    pipe: Pipe,
    from: Arc<SyncDevice>,
    to: Arc<SyncDevice>,
    shared: Arc<Shared>,
    is_up: bool,
}

impl Worker {
    fn run(mut self) {
        priority::raise_this_thread();
        let mut buffer = vec![0; LARGEST_PACKET];
        let failure = loop {
            if self.shared.stopped.load(Ordering::Relaxed) {
                return;
            }
            if let Err(failure) = self.turn(&mut buffer) {
                break failure;
            }
        };
        lock(self.lane()).failure = Some(failure);
    }

    /// Reads waiting packets, delivers the packets that are due, and waits for the next event.
    fn turn(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..PACKETS_A_TURN {
            match self.from.recv(buffer) {
                Ok(len) if is_ipv4(&buffer[..len]) => {
                    self.pipe.push(clock::now() - self.start, &buffer[..len]);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        while let Some(packet) = self.pipe.pop(clock::now() - self.start) {
            // The kernel refuses a packet only if the device is going down, which ends the run anyway.
            let _ = self.to.send(&packet);
        }
        self.exchange();
        self.wait()
    }

    fn exchange(&mut self) {
        let mut lane = lock(self.lane());
        lane.counters = self.pipe.counters();
        let dead_until = lane.dead_until.take();
        drop(lane);
        if let Some(until) = dead_until {
            self.pipe.cut_until(until.saturating_sub(self.start));
        }
    }

    /// Sleeps until a packet arrives or [`SPIN`] before the next delivery.
    fn wait(&self) -> io::Result<()> {
        let now = clock::now() - self.start;
        let left = match self.pipe.next_delivery() {
            Some(due) => due.saturating_sub(now),
            None => LONGEST_WAIT,
        };
        if left <= SPIN {
            return Ok(());
        }
        let left = (left - SPIN).min(LONGEST_WAIT);
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = [PollFd::new(&*self.from, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn lane(&self) -> &Mutex<Lane> {
        if self.is_up {
            &self.shared.up
        } else {
            &self.shared.down
        }
    }
}

/// Discards packets that an earlier run has left in a device.
fn discard_waiting(device: &SyncDevice) -> io::Result<()> {
    let mut buffer = vec![0; LARGEST_PACKET];
    loop {
        match device.recv(&mut buffer) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Whether this is an IPv4 packet. Other packets, which only the kernel itself sends, are not counted.
fn is_ipv4(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first >> 4 == 4)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Poisoning does not matter: the counters are consistent even if a thread has panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const LARGEST_PACKET: usize = 2048;

/// Maximum number of packets read before due packets are delivered: at about 1 us each, a delivery is late by
/// 0.1 ms at most.
const PACKETS_A_TURN: usize = 64;

/// Time before a delivery in which the thread spins instead of sleeping. System timers are 5 to 50 us late even with
/// real-time priority; spinning for longer would take CPU time from the measured programs.
const SPIN: Duration = Duration::from_micros(20);

/// Interval at which a thread without traffic checks for a stop or an outage. Must be below a second, because the
/// time-out is passed in nanoseconds only.
const LONGEST_WAIT: Duration = Duration::from_millis(10);
