//! Waiting for a free file descriptor.

use std::io;
use std::time::Duration;

/// Makes a socket; waits a little if the process or the system has no descriptor for it.
///
/// The sockets of connections that were dropped are closed two retransmission time-outs after these
/// have ended. A program that opens connections faster than that has to slow down, and need not fail.
pub(super) async fn with_descriptor<T>(make: impl Fn() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..ATTEMPTS {
        match make() {
            Err(error) if is_exhausted(&error) => tokio::time::sleep(PAUSE).await,
            made => return made,
        }
    }
    make()
}

/// Whether there is no descriptor left: `EMFILE`, `ENFILE`, `WSAEMFILE`.
fn is_exhausted(error: &io::Error) -> bool {
    let codes: &[i32] = if cfg!(unix) {
        &[24, 23]
    } else if cfg!(windows) {
        &[10024]
    } else {
        &[]
    };
    error
        .raw_os_error()
        .is_some_and(|code| codes.contains(&code))
}

/// A short part of the time that a socket stays.
const PAUSE: Duration = Duration::from_millis(10);

/// Half a second in all: sockets that are dropped on usual paths are closed by then, and an error for
/// another reason does not wait for long.
const ATTEMPTS: usize = 50;

#[cfg(all(test, unix))]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_lack_of_descriptors_is_waited_for() {
        let made = Cell::new(0);
        let make = |code, until| {
            let made = &made;
            move || {
                made.set(made.get() + 1);
                match made.get() {
                    it if it < until => Err(io::Error::from_raw_os_error(code)),
                    it => Ok(it),
                }
            }
        };
        assert_eq!(with_descriptor(make(24, 3)).await.expect("waits"), 3);
        made.set(0);
        with_descriptor(make(13, 3))
            .await
            .expect_err("does not wait");
        assert_eq!(made.get(), 1);
        made.set(0);
        let error = with_descriptor(make(24, usize::MAX)).await;
        let error = error.expect_err("does not wait for long");
        assert_eq!(error.raw_os_error(), Some(24));
    }
}
