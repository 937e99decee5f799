//! Runs a subset of the matrix that covers every cipher, FEC setting, direction, peer and kind of call.
//! `cargo run --release --bin interop` runs the whole matrix.

mod support;

use kcp_interop::case;
use kcp_interop::report::{self, Cell};
use kcp_interop::run::{Plan, run_all};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn covering_subset_passes() {
    let cases = case::covering();
    let Some(programs) = support::peers(&format!("{} cases of the matrix", cases.len())) else {
        return;
    };
    let plan = Plan {
        programs,
        seed: 1,
        jobs: 4,
    };
    let cells = run_all(&cases, plan, |_| {}).await;
    let failures: Vec<String> = cells
        .iter()
        .filter(|cell| !cell.is_ok())
        .map(|cell| cell.explain(plan.seed))
        .collect();
    assert!(
        cells.len() == cases.len() && cells.iter().all(Cell::is_ok),
        "{}\n{}",
        report::table(&cells, false),
        failures.join("\n")
    );
}
