//! Builds the Go peers from `interop/go`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Why there are no Go peers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GoError {
    /// There is no Go on this machine.
    #[error("`go` was not found; install Go 1.26 or later and put it on the PATH")]
    Missing,
    /// The directory for the program could not be prepared.
    #[error("cannot prepare {}", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Go could not be started.
    #[error("cannot run `go build`")]
    Run(#[source] io::Error),
    /// Go refused.
    #[error("`go build` in {} failed:\n{output}", .path.display())]
    Build {
        /// Where the sources are.
        path: PathBuf,
        /// What Go said.
        output: String,
    },
}

/// Builds the Go peers, unless they are up to date, and returns the program.
///
/// It lies in `interop-go` in Cargo's target directory. A lock lets any number of processes ask at
/// the same time. Blocks for as long as the build takes: a minute the first time, if Go has to
/// fetch modules.
///
/// # Errors
///
/// [`GoError::Missing`] if there is no Go, others if it fails.
pub fn build() -> Result<&'static Path, GoError> {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    if let Some(program) = PROGRAM.get() {
        return Ok(program);
    }
    let built = build_into(&target_dir().join("interop-go"))?;
    Ok(PROGRAM.get_or_init(|| built))
}

fn build_into(directory: &Path) -> Result<PathBuf, GoError> {
    let unprepared = |source| GoError::Directory {
        path: directory.to_owned(),
        source,
    };
    fs::create_dir_all(directory).map_err(unprepared)?;
    let lock = File::create(directory.join("lock")).map_err(unprepared)?;
    // Held until the end of this function: closing the file releases it.
    lock.lock().map_err(unprepared)?;

    let program = directory.join(PROGRAM_NAME);
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("go");
    let output = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(&sources)
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => GoError::Missing,
            _ => GoError::Run(error),
        })?;
    if output.status.success() {
        Ok(program)
    } else {
        Err(GoError::Build {
            path: sources,
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// Where Cargo builds to, as an absolute path: Go runs in another directory.
fn target_dir() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    workspace.join(target)
}

const PROGRAM_NAME: &str = if cfg!(windows) {
    "kcp-interop.exe"
} else {
    "kcp-interop"
};
