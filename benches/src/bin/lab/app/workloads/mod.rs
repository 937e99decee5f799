//! The workloads of clients.

pub(crate) mod calls;
pub(crate) mod frame;
pub(crate) mod plan;
pub(crate) mod upload;

use std::time::Duration;

use super::subjects::Subject;
use kcp_benches::link::names::LOSSES;
use plan::{Kind, Plan};

/// A named workload.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) plan: Plan,
    /// Duration of an outage of the link, which begins a second after the start.
    pub(crate) outage: Option<Duration>,
    /// Competing TCP cubic upload on the same link: whether it starts first or second.
    pub(crate) rival: Option<Rival>,
    /// Whether gRPC subjects support the workload.
    pub(crate) is_rpc: bool,
    /// The links on which the workload runs by default.
    pub(crate) links: &'static [&'static str],
}

/// Order of the competing flow and the subject's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rival {
    /// The competing flow starts second.
    Second,
    /// The competing flow starts first.
    First,
}

impl Rival {
    /// Time between the starts of the two flows.
    pub(crate) const GAP: Duration = Duration::from_secs(2);
}

impl Workload {
    fn new(name: &'static str, about: &'static str, plan: Plan) -> Self {
        Self {
            name,
            about,
            plan,
            outage: None,
            rival: None,
            is_rpc: false,
            links: LOSSES,
        }
    }

    fn on(mut self, links: &'static [&'static str]) -> Self {
        self.links = links;
        self
    }

    fn for_rpc(mut self) -> Self {
        self.is_rpc = true;
        self
    }

    /// Whether the subject supports the workload.
    pub(crate) fn suits(&self, subject: &Subject) -> bool {
        self.is_rpc || !subject.is_rpc()
    }

    /// Whether the workload measures how several flows share a link.
    pub(crate) fn is_fairness(&self) -> bool {
        self.rival.is_some() || (self.plan.kind == Kind::Bulk && self.plan.connections > 1)
    }

    /// The workload with a quarter of the calls, bytes and time.
    pub(crate) fn quick(mut self) -> Self {
        self.plan.calls = (self.plan.calls / 4).max(1);
        self.plan.bytes /= 4;
        self.plan.limit_ms /= 4;
        self
    }
}

/// Links of the workloads that represent their kind.
const MOST: &[&str] = &[
    "loss-0",
    "loss-1",
    "loss-5",
    "loss-10",
    "loss-20",
    "burst3-1",
    "burst3-5",
    "burst3-10",
    "time3-1",
    "time3-5",
    "time10-1",
    "time10-5",
    "reorder-5",
    "far-2",
];

/// Links of the uploads.
const BULK: &[&str] = &[
    "loss-0",
    "loss-1",
    "loss-5",
    "loss-10",
    "loss-20",
    "after-1",
    "after-5",
    "after-10",
    "burst3-5",
    "time10-1",
    "reorder-5",
    "far-2",
    "slow-1",
];

/// All workloads.
pub(crate) fn all() -> Vec<Workload> {
    let mut all = calls();
    all.extend(uploads());
    all
}

fn calls() -> Vec<Workload> {
    let plan = |calls, limit_ms| Plan {
        calls,
        limit_ms,
        ..Plan::default()
    };
    // Chosen so that all subjects at all losses, together with bulk-10mb, take less than a quarter of an hour.
    let unary = plan(600, 15_000);
    vec![
        Workload::new(
            "unary-1k",
            "1 KiB each way, closed loop on 4 connections",
            unary.clone(),
        )
        .on(MOST)
        .for_rpc(),
        Workload::new(
            "unary-long",
            "unary-1k with 10 000 calls, enough for a p99.9",
            plan(10_000, 300_000),
        )
        .on(&["loss-0", "loss-1"]),
        Workload::new(
            "unary-open",
            "the same, 100 calls/s at fixed times",
            Plan {
                kind: Kind::Open,
                interval_us: 40_000,
                ..plan(1000, 40_000)
            },
        )
        .for_rpc(),
        Workload::new(
            "unary-3",
            "3 writes of 400 bytes each way, closed loop on 4 connections",
            Plan {
                request: 1200,
                answer: 1200,
                piece: 400,
                ..unary.clone()
            },
        ),
        Workload::new(
            "answer-64k",
            "1 KiB there, 64 KiB back, closed loop on 4 connections",
            Plan {
                answer: 65_536,
                ..plan(400, 30_000)
            },
        )
        .for_rpc(),
        Workload::new(
            "stream-10ms",
            "200 bytes every 10 ms and their echo, one connection",
            Plan {
                kind: Kind::Open,
                connections: 1,
                request: 200,
                answer: 200,
                interval_us: 10_000,
                ..plan(1000, 40_000)
            },
        ),
        Workload::new(
            "unary-under-bulk",
            "unary-1k while another connection uploads",
            Plan {
                bulk_beside: true,
                ..plan(400, 30_000)
            },
        ),
        Workload::new(
            "first-call",
            "connects and makes one call of 1 KiB, 4 at a time",
            Plan {
                kind: Kind::First,
                ..plan(200, 30_000)
            },
        )
        .on(&[
            "loss-0", "loss-1", "loss-5", "loss-10", "lose-1st", "lose-2nd", "lose-3rd",
        ])
        .for_rpc(),
        Workload {
            outage: Some(Duration::from_secs(2)),
            ..Workload::new(
                "outage-2s",
                "unary-1k, with an outage of the link of 2 s",
                plan(400, 20_000),
            )
            .on(&["loss-0", "loss-1"])
            .for_rpc()
        },
    ]
}

fn uploads() -> Vec<Workload> {
    let bulk = |bytes, limit_ms| Plan {
        kind: Kind::Bulk,
        connections: 1,
        bytes,
        limit_ms,
        ..Plan::default()
    };
    let pair = |name, about, rival| Workload {
        rival: Some(rival),
        ..Workload::new(name, about, bulk(0, 30_000)).on(&["slow-q25", "slow-q50", "slow-q100"])
    };
    vec![
        Workload::new("bulk-10mb", "uploads 10 MB", bulk(10_000_000, 10_000)).on(BULK),
        Workload::new("bulk-100mb", "uploads 100 MB", bulk(100_000_000, 30_000)),
        Workload::new(
            "four-flows",
            "4 uploads for 30 s, each started 2 s after the previous one",
            Plan {
                connections: 4,
                stagger_ms: 2000,
                ..bulk(0, 30_000)
            },
        )
        .on(&["loss-0", "slow-q100"]),
        pair(
            "against-cubic",
            "uploads for 30 s, an upload over TCP cubic starts 2 s later",
            Rival::Second,
        ),
        pair(
            "after-cubic",
            "the same, but TCP starts first",
            Rival::First,
        ),
    ]
}

/// The workload with this name.
pub(crate) fn find(name: &str) -> Result<Workload, String> {
    all()
        .into_iter()
        .find(|workload| workload.name == name)
        .ok_or_else(|| format!("unknown workload {name}; use a name from --list"))
}
