//! A swarm of simulations: every seed draws a network, its troubles, its users and their options,
//! and all must hold the same properties.
//!
//! ```text
//! KCP_SIM_SEED=7 cargo test -p kcp-transport --test swarm -- --nocapture       one seed
//! KCP_SIM_SEEDS=0..500000 cargo test -p kcp-transport --test swarm -- --nocapture   a campaign
//! KCP_SIM_KEEP_GOING=1   with KCP_SIM_SEEDS: prints all seeds that fail, not only the first
//! KCP_SIM_CLASSES=Loss,Pause KCP_SIM_HALVINGS=2     with KCP_SIM_SEED: what is left when shrunk
//! ```

mod class;
mod clock;
mod plan;
mod run;
mod watch;
mod world;

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use class::Classes;
use run::Outcome;
use run::figures::Figures;
use run::shrink;

/// Seeds of each `cargo test`.
const SEEDS: Range<u64> = 0..20_000;

#[test]
fn no_seed_breaks_a_promise() {
    if let Some(seed) = number("KCP_SIM_SEED") {
        let classes = std::env::var("KCP_SIM_CLASSES");
        let classes = classes.map_or(Classes::ALL, |list| Classes::parse(&list));
        let halvings = number("KCP_SIM_HALVINGS").unwrap_or(0) as u32;
        let plan = plan::Plan::draw(seed, classes, halvings);
        println!("{plan:?}");
        match shrink::attempt(seed, classes, halvings) {
            Ok(outcome) => println!("{outcome:#?}"),
            Err(violation) => panic!("seed {seed}: {violation}"),
        }
        return;
    }
    let started = kcp_started();
    let (figures, failure) = campaign(range());
    if let Some((seed, violation)) = failure {
        panic!("{}", shrink::report(seed, &violation));
    }
    let real = started.elapsed().as_secs_f64();
    for (name, value) in figures.rows() {
        println!("{name:24} {value:>16}");
    }
    let surprises = figures.surprises();
    assert!(surprises.is_empty(), "{surprises:#?}");
    let rate = figures.virtual_seconds() / real;
    println!(
        "{} seeds, {:.0} virtual seconds in {real:.1} s: {rate:.0} a second",
        figures.runs,
        figures.virtual_seconds()
    );
}

#[test]
fn same_seed_gives_the_same_run() {
    for seed in (0..4_000).step_by(100) {
        let run = || shrink::attempt(seed, Classes::ALL, 0);
        assert_eq!(run(), run(), "KCP_SIM_SEED={seed}");
    }
}

/// Runs all seeds on two threads; returns the sums, and the lowest seed that fails.
fn campaign(seeds: Range<u64>) -> (Figures, Option<(u64, String)>) {
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicBool::new(false);
    let sums = Mutex::new(Figures::default());
    let failures = Mutex::new(Vec::new());
    let keeps_going = std::env::var_os("KCP_SIM_KEEP_GOING").is_some();
    let quiet = shrink::silence_panics();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut own = Figures::default();
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    match shrink::attempt(seed, Classes::ALL, 0) {
                        Ok(Outcome { figures, .. }) => own.merge(&figures),
                        Err(violation) => {
                            if !keeps_going {
                                stop.store(true, Ordering::Relaxed);
                            }
                            if let Ok(mut failures) = failures.lock() {
                                failures.push((seed, violation));
                            }
                        }
                    }
                }
                if let Ok(mut sums) = sums.lock() {
                    sums.merge(&own);
                }
            });
        }
    });
    drop(quiet);
    let mut failures = failures.into_inner().unwrap_or_default();
    failures.sort();
    for (seed, violation) in &failures {
        println!("KCP_SIM_SEED={seed}: {violation}");
    }
    let sums = sums.into_inner().unwrap_or_default();
    (sums, failures.into_iter().next())
}

fn range() -> Range<u64> {
    let Ok(range) = std::env::var("KCP_SIM_SEEDS") else {
        return SEEDS;
    };
    let ends = range
        .split_once("..")
        .and_then(|(start, end)| Some(start.parse().ok()?..end.parse().ok()?));
    ends.expect("KCP_SIM_SEEDS is a range such as 0..1000")
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

/// The real time, which only the speed is measured by.
#[expect(
    clippy::disallowed_methods,
    reason = "measures the test, not the protocol"
)]
fn kcp_started() -> std::time::Instant {
    std::time::Instant::now()
}
