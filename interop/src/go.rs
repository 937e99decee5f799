//! Builds the Go peers from `interop/go` and `interop/go-v5.4`. `interop/go` is built twice: with the kcp-go of its own
//! `go.mod`, and with that of `interop/go-v5.7`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::peer::Peer;

/// Why the Go peers could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GoError {
    /// The Go toolchain is not installed.
    #[error("`go` was not found; install Go 1.26 or later and put it on the PATH")]
    Missing,
    /// The output directory could not be prepared.
    #[error("cannot prepare {}", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// `go build` could not be started.
    #[error("cannot run `go build`")]
    Run(#[source] io::Error),
    /// `go build` failed.
    #[error("`go build` in {} failed:\n{output}", .path.display())]
    Build {
        /// The directory of the sources.
        path: PathBuf,
        /// Its output on standard error.
        output: String,
    },
}

/// The programs of the peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    kcp_go: PathBuf,
    kcp_go_5_7: PathBuf,
    kcp_go_5_4: PathBuf,
    native: PathBuf,
}

impl Programs {
    /// Builds the Go peers unless they are up to date. `native` is the program `interop`, which also contains the
    /// peers built on Rust crates.
    ///
    /// The programs are in the directory `interop-go` of Cargo's target directory, where a file lock serializes
    /// concurrent builds. Blocks for the time of the build: about a minute the first time, if Go has to download modules.
    ///
    /// # Errors
    ///
    /// [`GoError::Missing`] if Go is not installed; the other variants if the build fails.
    pub fn build(native: &Path) -> Result<&'static Self, GoError> {
        static PROGRAMS: OnceLock<Programs> = OnceLock::new();
        if let Some(programs) = PROGRAMS.get() {
            return Ok(programs);
        }
        let directory = target_dir().join("interop-go");
        let built = Self {
            kcp_go: build_into(&directory, ("go", "."), "go.mod", "kcp-interop")?,
            kcp_go_5_7: build_into(
                &directory,
                ("go", "."),
                "../go-v5.7/go.mod",
                "kcp-interop-v5.7",
            )?,
            kcp_go_5_4: build_into(&directory, ("go-v5.4", "."), "go.mod", "kcp-interop-v5.4")?,
            native: native.to_owned(),
        };
        Ok(PROGRAMS.get_or_init(|| built))
    }

    /// The program of a peer.
    #[must_use]
    pub fn of(&self, peer: Peer) -> &Path {
        match peer {
            Peer::KcpGo | Peer::GrpcGo | Peer::GrpcInterop => &self.kcp_go,
            Peer::KcpGo5_7 => &self.kcp_go_5_7,
            Peer::KcpGo5_4 => &self.kcp_go_5_4,
            Peer::Ikcp | Peer::TokioKcp | Peer::KcpTokio | Peer::Ours => &self.native,
        }
    }
}

/// Builds a Go program of another project, given as `package@version`, into the directory of the peers.
///
/// # Errors
///
/// As [`Programs::build`].
pub fn install(package: &str, name: &str) -> Result<PathBuf, GoError> {
    let directory = target_dir().join("interop-go");
    let _lock = lock(&directory)?;
    let output = Command::new("go")
        .args(["install", package])
        .env("GOBIN", &directory)
        .output();
    finish(output, &directory, executable(&directory, name))
}

/// Builds the hello world of grpc-go over kcp-go, `interop/go/greeter`, into the directory of the peers.
///
/// # Errors
///
/// As [`Programs::build`].
pub fn greeter() -> Result<PathBuf, GoError> {
    let directory = target_dir().join("interop-go");
    build_into(&directory, ("go", "./greeter"), "go.mod", "greeter")
}

/// Builds a package of the sources with the dependencies of `modfile`, both relative to the sources.
fn build_into(
    directory: &Path,
    (sources, package): (&str, &str),
    modfile: &str,
    name: &str,
) -> Result<PathBuf, GoError> {
    let _lock = lock(directory)?;
    let program = executable(directory, name);
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join(sources);
    let output = Command::new("go")
        .args(["build", "-modfile", modfile, "-o"])
        .arg(&program)
        .arg(package)
        .current_dir(&sources)
        .output();
    finish(output, &sources, program)
}

/// Creates the directory, and locks it until the returned file is closed.
fn lock(directory: &Path) -> Result<File, GoError> {
    let unprepared = |source| GoError::Directory {
        path: directory.to_owned(),
        source,
    };
    fs::create_dir_all(directory).map_err(unprepared)?;
    let lock = File::create(directory.join("lock")).map_err(unprepared)?;
    lock.lock().map_err(unprepared)?;
    Ok(lock)
}

fn executable(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

fn finish(
    output: io::Result<Output>,
    sources: &Path,
    program: PathBuf,
) -> Result<PathBuf, GoError> {
    let output = output.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => GoError::Missing,
        _ => GoError::Run(error),
    })?;
    if output.status.success() {
        Ok(program)
    } else {
        Err(GoError::Build {
            path: sources.to_owned(),
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// Cargo's target directory as an absolute path, because Go runs in another directory.
fn target_dir() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    workspace.join(target)
}
