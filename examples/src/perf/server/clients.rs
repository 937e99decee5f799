//! Readings of the connections of each client, at the same times.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Connection, ConnectionEvent, Event};
use crate::perf::figures::Figures;
use crate::perf::meter::{Direction, Meter};
use crate::perf::readings::Readings;
use crate::perf::wire::{Limit, Request, Side};

/// The clients whose tests run.
#[derive(Debug)]
pub(super) struct Clients {
    interval: Duration,
    running: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    /// All connections of a client have the same, with the client's number.
    request: Request,
    readings: Readings,
    /// Of all connections.
    meters: Vec<Arc<Meter>>,
    /// Connections that have not ended.
    open: usize,
    /// Those that have ended since the last reading: they are shown below the next one.
    ended: Vec<Connection>,
}

impl Clients {
    /// No clients. There are no readings if the interval is zero.
    pub(super) fn new(interval: Duration) -> Self {
        let running = Vec::new();
        Self { interval, running }
    }

    /// When the next reading is due.
    pub(super) fn next(&self) -> Option<Instant> {
        let due = self.running.iter().filter_map(|it| it.readings.next());
        due.min()
    }

    /// Adds a connection whose data may flow; returns what is to be shown. Tests without a limit, those of `kcp
    /// ping`, have no readings.
    pub(super) fn begin(&mut self, id: u64, request: Request, meter: Arc<Meter>) -> Option<Event> {
        if self.interval.is_zero() || request.limit == Limit::Unlimited {
            return None;
        }
        let known = self.running.iter_mut().find(|it| it.request == request);
        if let Some(client) = known {
            client.meters.push(Arc::clone(&meter));
            client.readings.add(id, meter, None);
            client.open += 1;
            return None;
        }
        let kind = request.kind;
        let mut readings = Readings::new(meter.begin(), self.interval, &request, Side::Server);
        readings.add(id, Arc::clone(&meter), None);
        self.running.push(Client {
            request,
            readings,
            meters: vec![meter],
            open: 1,
            ended: Vec::new(),
        });
        Some(Event::Begin(kind))
    }

    /// What is to be shown after an event. An end without an error waits for the next reading, or for the end of
    /// the other connections of its client.
    pub(super) fn show(&mut self, event: Connection) -> Vec<Event> {
        let ConnectionEvent::Ended { request, error, .. } = &event.kind else {
            return vec![Event::Connection(event)];
        };
        let running = |it: &Client| it.request == *request && it.readings.has(event.id);
        let Some(index) = self.running.iter().position(running) else {
            return vec![Event::Connection(event)];
        };
        let failed = error.is_some();
        let client = &mut self.running[index];
        client.open -= 1;
        client.ended.push(event);
        if client.open == 0 {
            self.running.swap_remove(index).finish()
        } else if failed {
            client.take_ended()
        } else {
            Vec::new()
        }
    }

    /// The reading that is due first, and what follows it.
    pub(super) fn read(&mut self) -> Vec<Event> {
        let first = self.running.iter_mut().min_by_key(|it| it.readings.next());
        let Some(client) = first else {
            return Vec::new();
        };
        let interval = client.readings.take();
        let mut events = vec![Event::Interval(client.request.kind, interval)];
        events.append(&mut client.take_ended());
        events
    }

    /// What has not been shown yet.
    pub(super) fn finish(&mut self) -> Vec<Event> {
        self.running.drain(..).flat_map(Client::finish).collect()
    }
}

impl Client {
    fn finish(mut self) -> Vec<Event> {
        let last = self.readings.last();
        let last = last.map(|it| Event::Interval(self.request.kind, it));
        let events = last.into_iter().chain(self.take_ended());
        events.chain(self.sum()).collect()
    }

    fn sum(&self) -> Option<Event> {
        let kind = self.request.kind;
        let total = |direction| {
            let flows = Direction::of(kind, Side::Server).any(|it| it == direction);
            flows.then(|| {
                let mut sum = Figures::default();
                for meter in &self.meters {
                    sum += meter.figures(direction);
                }
                sum
            })
        };
        let both = [Direction::Received, Direction::Sent].map(total);
        (self.meters.len() > 1).then_some(Event::Sum(kind, both))
    }

    fn take_ended(&mut self) -> Vec<Event> {
        let mut ended = std::mem::take(&mut self.ended);
        ended.sort_unstable_by_key(|it| it.id);
        for event in &ended {
            self.readings.remove(event.id);
        }
        ended.into_iter().map(Event::Connection).collect()
    }
}
