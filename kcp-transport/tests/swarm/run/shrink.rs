//! Running one seed, and finding out how little of it still fails.

use std::cell::RefCell;
use std::fmt::Write;
use std::panic::{self, AssertUnwindSafe};

use crate::class::Classes;
use crate::plan::Plan;
use crate::run::{Outcome, run};

thread_local! {
    /// Where this thread panicked last.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs a seed; a panic is a violation like others.
pub(crate) fn attempt(seed: u64, classes: Classes, halvings: u32) -> Result<Outcome, String> {
    let plan = Plan::draw(seed, classes, halvings);
    let result = panic::catch_unwind(AssertUnwindSafe(|| run(plan)));
    result.unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string));
        let place = PLACE.take();
        Err(format!("panic: {} at {place}", text.unwrap_or_default()))
    })
}

/// Keeps panics from being printed one by one until dropped.
pub(crate) fn silence_panics() -> Silence {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        PLACE.set(place.unwrap_or_default());
    }));
    Silence(Some(hook))
}

type Hook = Box<dyn Fn(&panic::PanicHookInfo<'_>) + Sync + Send + 'static>;

pub(crate) struct Silence(Option<Hook>);

impl Drop for Silence {
    fn drop(&mut self) {
        if let Some(hook) = self.0.take() {
            panic::set_hook(hook);
        }
    }
}

/// Shrinks a failing seed and prints the command that repeats it.
pub(crate) fn report(seed: u64, violation: &str) -> String {
    if std::env::var_os("KCP_SIM_NO_SHRINK").is_some() {
        return format!("seed {seed}: {violation}");
    }
    let quiet = silence_panics();
    let mut classes = Plan::draw(seed, Classes::ALL, 0).classes;
    let (mut halvings, mut last) = (0, violation.to_owned());
    // One pass is not enough: what one class hid, another may have needed.
    for _ in 0..2 {
        for class in classes.iter() {
            let fewer = classes.without(class);
            if let Err(error) = attempt(seed, fewer, 0) {
                (classes, last) = (fewer, error);
            }
        }
    }
    for more in 1..16 {
        if let Err(error) = attempt(seed, classes, more) {
            (halvings, last) = (more, error);
        }
    }
    drop(quiet);
    let plan = Plan::draw(seed, classes, halvings);
    let mut text = format!("seed {seed}: {violation}\n\n");
    let _ = writeln!(text, "shrunk to {plan:#?}\n\nwhich fails with: {last}\n");
    let _ = writeln!(
        text,
        "KCP_SIM_SEED={seed} cargo test -p kcp-transport --test swarm -- --nocapture\n\
         KCP_SIM_SEED={seed} KCP_SIM_CLASSES={classes} KCP_SIM_HALVINGS={halvings} \
         cargo test -p kcp-transport --test swarm no_seed -- --nocapture"
    );
    text
}
