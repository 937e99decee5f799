//! Two network namespaces with a TUN device each, which are removed on drop.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tun_rs::{DeviceBuilder, SyncDevice};

/// Why the namespaces could not be created.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The process is not root.
    #[error("this program creates network namespaces and TUN devices and must run as root")]
    NotRoot,
    /// The system has no TUN driver.
    #[error("this machine has no /dev/net/tun, which the emulated link needs")]
    NoTun,
    /// The program `ip` is missing or failed.
    #[error("`{command}` failed: {output}")]
    Command {
        /// Its command line.
        command: String,
        /// What it printed as errors.
        output: String,
    },
    /// A TUN device could not be created.
    #[error("cannot create a TUN device")]
    Tun(#[source] io::Error),
}

/// A namespace and its only device.
pub struct Host {
    name: String,
    /// The address of the device.
    pub addr: Ipv4Addr,
    /// The end of the device outside of the namespace.
    pub device: Arc<SyncDevice>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("name", &self.name)
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

/// The namespaces of client and server.
#[derive(Debug)]
pub struct Namespaces {
    /// That of the client.
    pub client: Host,
    /// That of the server.
    pub server: Host,
}

impl Namespaces {
    /// Creates both namespaces.
    ///
    /// # Errors
    ///
    /// As [`check`], and if the program `ip` fails or a device cannot be created.
    pub fn create() -> Result<Self, NamespaceError> {
        check()?;
        Ok(Self {
            client: Host::create(CLIENT, SERVER)?,
            server: Host::create(SERVER, CLIENT)?,
        })
    }
}

/// Checks that namespaces can be created on this machine.
///
/// # Errors
///
/// [`NamespaceError::NotRoot`] and [`NamespaceError::NoTun`].
pub fn check() -> Result<(), NamespaceError> {
    if !rustix::process::geteuid().is_root() {
        return Err(NamespaceError::NotRoot);
    }
    if !Path::new("/dev/net/tun").exists() {
        return Err(NamespaceError::NoTun);
    }
    Ok(())
}

impl Host {
    fn create(addr: Ipv4Addr, other: Ipv4Addr) -> Result<Self, NamespaceError> {
        let name = random_name();
        let tun = |error| NamespaceError::Tun(error);
        let device = DeviceBuilder::new()
            .name(&name)
            .mtu(1500)
            .enable(false)
            .with(|options| {
                options.tx_queue_len(DEVICE_QUEUE);
            })
            .build_sync()
            .map_err(tun)?;
        device.set_nonblocking(true).map_err(tun)?;
        ip(&["netns", "add", &name])?;
        // From here on the namespace is removed even if the rest fails.
        let host = Self {
            name,
            addr,
            device: Arc::new(device),
        };
        let name = host.name.as_str();
        ip(&["link", "set", name, "netns", name])?;
        for (file, value) in SETTINGS {
            let set = format!("echo {value} > /proc/sys/net/{file}");
            ip(&["netns", "exec", name, "sh", "-c", &set])?;
        }
        let (addr, other) = (addr.to_string(), other.to_string());
        ip(&[
            "-n", name, "addr", "add", &addr, "peer", &other, "dev", name,
        ])?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        ip(&["-n", name, "link", "set", name, "up"])?;
        Ok(host)
    }

    /// The name of the namespace, for `ip netns`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that runs `program` in the namespace.
    pub fn command(&self, program: &Path, prefix: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("ip");
        command.args(["netns", "exec", &self.name]);
        command.args(prefix);
        command.arg(program);
        command
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "delete", &self.name]) {
            eprintln!(
                "warning: cannot delete the namespace {}: {error}",
                self.name
            );
        }
    }
}

fn ip(args: &[&str]) -> Result<(), NamespaceError> {
    let failed = |output| NamespaceError::Command {
        command: format!("ip {}", args.join(" ")),
        output,
    };
    let output = Command::new("ip")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(())
    } else {
        let text = String::from_utf8_lossy(&output.stderr);
        Err(failed(text.trim().to_owned()))
    }
}

/// A random name that fits into the 15 bytes of a device name.
fn random_name() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    // Each RandomState has random keys from the system's entropy.
    let random = RandomState::new().build_hasher().finish() as u32;
    format!("kcplab{random:08x}")
}

/// Addresses of client and server, from the range that RFC 2544 reserves for benchmarks. They exist only in the
/// namespaces.
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

/// Length of the device's queue, in packets. Packets must not be dropped outside the emulated queue, and some programs
/// send a whole window of 1024 at once.
const DEVICE_QUEUE: u32 = 20_000;

/// Kernel settings that avoid packets other than those of the measured programs, and cached metrics of earlier TCP
/// connections.
const SETTINGS: [(&str, &str); 3] = [
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv6/conf/default/disable_ipv6", "1"),
    ("ipv4/tcp_no_metrics_save", "1"),
];
