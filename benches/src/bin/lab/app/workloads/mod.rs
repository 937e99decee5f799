//! The workloads: what clients do.

pub(crate) mod calls;
pub(crate) mod frame;
pub(crate) mod plan;
pub(crate) mod upload;

use std::time::Duration;

use plan::{Kind, Plan};

/// A workload by its name.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) plan: Plan,
    /// The link is cut for this long, a while after the start.
    pub(crate) outage: Option<Duration>,
    /// The links it runs on when none is asked for.
    pub(crate) links: &'static [&'static str],
}

impl Workload {
    /// The same with a quarter of the work, for a first look.
    pub(crate) fn quick(mut self) -> Self {
        self.plan.calls = (self.plan.calls / 4).max(1);
        self.plan.bytes /= 4;
        self.plan.limit_ms /= 4;
        self
    }
}

const LOSSES: &[&str] = &["loss-0", "loss-1", "loss-5", "loss-10", "loss-20"];

/// All workloads.
pub(crate) fn all() -> Vec<Workload> {
    let workload = |name, about, plan| Workload {
        name,
        about,
        plan,
        outage: None,
        links: LOSSES,
    };
    let bulk = |bytes, limit_ms| Plan {
        kind: Kind::Bulk,
        connections: 1,
        bytes,
        limit_ms,
        ..Plan::default()
    };
    vec![
        workload(
            "unary-1k",
            "1 KiB each way, closed loop on 4 connections",
            Plan {
                limit_ms: 30_000,
                ..Plan::default()
            },
        ),
        workload(
            "bulk-10mb",
            "uploads 10 MB on one connection",
            bulk(10_000_000, 12_000),
        ),
        workload(
            "bulk-100mb",
            "uploads 100 MB on one connection",
            bulk(100_000_000, 30_000),
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
