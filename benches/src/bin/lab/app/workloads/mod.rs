//! The workloads: what clients do.

pub(crate) mod calls;
pub(crate) mod frame;
pub(crate) mod plan;
pub(crate) mod upload;

use std::time::Duration;

use super::link::names::LOSSES;
use super::subjects::Subject;
use plan::{Kind, Plan};

/// A workload by its name.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) plan: Plan,
    /// The link is cut for this long, a second after the start.
    pub(crate) outage: Option<Duration>,
    /// A TCP cubic upload on the same link: which of the two begins.
    pub(crate) rival: Option<Rival>,
    /// Whether gRPC can do it.
    pub(crate) is_rpc: bool,
    /// The links it runs on by default.
    pub(crate) links: &'static [&'static str],
}

/// When the other flow of a pair begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rival {
    /// It comes later.
    Second,
    /// It is there before.
    First,
}

impl Rival {
    /// How much later the second of two flows begins.
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

    /// Whether the subject can do it.
    pub(crate) fn suits(&self, subject: &Subject) -> bool {
        self.is_rpc || !subject.is_rpc()
    }

    /// Whether it is about how several flows share a link.
    pub(crate) fn is_fairness(&self) -> bool {
        self.rival.is_some() || (self.plan.kind == Kind::Bulk && self.plan.connections > 1)
    }

    /// The same with a quarter of the work, for a first look.
    pub(crate) fn quick(mut self) -> Self {
        self.plan.calls = (self.plan.calls / 4).max(1);
        self.plan.bytes /= 4;
        self.plan.limit_ms /= 4;
        self
    }
}

/// Links of the workloads that stand for all of their kind.
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
    // All subjects at all losses, with bulk-10mb, stay below a quarter of an hour.
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
            "200 bytes each 10 ms and their echo, one connection",
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
                "unary-1k, the link dead for 2 s",
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
            "4 uploads for 30 s, each begun 2 s after the one before",
            Plan {
                connections: 4,
                stagger_ms: 2000,
                ..bulk(0, 30_000)
            },
        )
        .on(&["loss-0", "slow-q100"]),
        pair(
            "against-cubic",
            "uploads 30 s, TCP with cubic comes 2 s later",
            Rival::Second,
        ),
        pair(
            "after-cubic",
            "the same, but TCP is there first",
            Rival::First,
        ),
    ]
}

/// A workload by its name.
pub(crate) fn find(name: &str) -> Result<Workload, String> {
    all()
        .into_iter()
        .find(|workload| workload.name == name)
        .ok_or_else(|| format!("no workload is called {name}; --list shows all"))
}
