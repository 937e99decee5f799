//! Servers from Debian's packages.
#![allow(dead_code, unreachable_pub)]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

static INSTALLING: Mutex<()> = Mutex::new(());

/// A program of a package, which is installed if it is missing and that is possible. Without it, the
/// test is left out with a notice; with `CI` in the environment, that is a failure.
pub fn program(name: &str, package: &str) -> Option<PathBuf> {
    // Tests of other threads install too.
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = find(name) {
        return Some(path);
    }
    let install = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.args(["-o", "DPkg::Lock::Timeout=120"]).args(arguments);
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt.stdout(Stdio::null()).stderr(Stdio::null()).status()
    };
    let _ = install(&["update"]);
    let _ = install(&["install", "--yes", "--no-install-recommends", package]);
    let found = find(name);
    if found.is_none() {
        let notice = format!("LEFT OUT: {name} of Debian's package {package} cannot be installed");
        assert!(std::env::var_os("CI").is_none(), "{notice}");
        // Not captured, unlike `eprintln!`.
        let _ = writeln!(std::io::stderr(), "{notice}");
    }
    found
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path);
    let system = ["/usr/sbin", "/usr/bin"].map(PathBuf::from);
    let mut files = folders.chain(system).map(|folder| folder.join(name));
    files.find(|it| it.is_file())
}

/// An address of the loopback network that only this process uses, so that its ports are free.
pub fn own_address(number: u8) -> std::net::IpAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    [127, 100 + number, high, low.clamp(1, 254)].into()
}

/// A process that is killed when this is dropped.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
