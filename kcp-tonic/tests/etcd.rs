//! Servers that register in etcd, with etcd of Debian.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[path = "../../kcp-tower/tests/support/debian.rs"]
mod debian;
#[path = "../examples/etcd.rs"]
#[allow(dead_code, reason = "its main function reads arguments")]
mod example;
mod support;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::time::Duration;

use debian::{Running, own_address, program};
use futures_util::Stream;
use kcp_tonic::balance::{Change, Discovery, Endpoint};
use kcp_tonic::etcd::{Etcd, Registration, RegistrationStatus};
use support::helloworld::greeter_client::GreeterClient;
use support::{Hello, Setup, hello};

/// An etcd server on an address that only this test has.
struct Server {
    address: String,
    program: std::path::PathBuf,
}

impl Server {
    fn new(number: u8) -> Option<Self> {
        let program = program("etcd", "etcd-server")?;
        let address = format!("http://{}", own_address(number));
        Some(Self { address, program })
    }

    fn start(&self, data: &Path) -> Running {
        let (client, peer) = (self.client(), format!("{}:2380", self.address));
        let mut etcd = Command::new(&self.program);
        etcd.arg("--data-dir").arg(data);
        etcd.args([
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
        ]);
        etcd.args([
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
        ]);
        etcd.args(["--initial-cluster", &format!("default={peer}")]);
        etcd.stdout(Stdio::null()).stderr(Stdio::null());
        Running(etcd.spawn().unwrap())
    }

    fn client(&self) -> String {
        format!("{}:2379", self.address)
    }

    fn greeters(&self) -> Etcd {
        let channel = tonic::transport::Endpoint::new(self.client()).unwrap();
        Etcd::new(channel.connect_lazy(), "/greeter")
    }
}

/// What a discovery has found.
struct Found {
    discovery: Discovery,
    endpoints: BTreeMap<String, String>,
    problem: Option<String>,
}

impl Found {
    fn by(etcd: &Etcd) -> Self {
        Self {
            discovery: etcd.discover(),
            endpoints: BTreeMap::new(),
            problem: None,
        }
    }

    /// Follows changes until a condition holds.
    async fn until(&mut self, condition: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !condition(self) {
                let next = poll_fn(|cx| Pin::new(&mut self.discovery).poll_next(cx)).await;
                self.apply(next.unwrap());
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
        assert!(waited.is_ok(), "{:?}, {:?}", self.endpoints, self.problem);
    }

    fn apply(&mut self, next: Result<Change<String, Endpoint>, kcp_tonic::kcp_tower::BoxError>) {
        self.problem = None;
        match next {
            Ok(Change::Insert(key, endpoint)) => {
                self.endpoints.insert(key, endpoint.to_string());
            }
            Ok(Change::Remove(key)) => {
                self.endpoints.remove(&key);
            }
            Err(error) => self.problem = Some(error.to_string()),
        }
    }

    async fn until_these(&mut self, endpoints: &[&str]) {
        self.until(|it| it.endpoints.values().eq(endpoints)).await;
    }
}

async fn registered(registration: &Registration) {
    let mut status = registration.status();
    let registered = status.wait_for(|it| *it == RegistrationStatus::Registered);
    registered.await.unwrap();
}

const LEASE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn servers_are_found_changed_and_removed_while_etcd_comes_and_goes() {
    let Some(server) = Server::new(4) else { return };
    let greeters = server.greeters();
    let mut found = Found::by(&greeters);

    // No etcd yet: an error for both sides.
    found.until(|it| it.problem.is_some()).await;
    assert!(found.problem.as_ref().unwrap().starts_with("etcd: "));
    let one = Endpoint::parse("kcp://10.0.0.1:4000 weight=3 zone=eu-1").unwrap();
    let one = greeters.register(one, LEASE);
    let failed = |it: &RegistrationStatus| matches!(it, RegistrationStatus::Failed(_));
    one.status().wait_for(failed).await.unwrap();

    let data = tempfile::tempdir().unwrap();
    let etcd = server.start(data.path());
    registered(&one).await;
    found
        .until_these(&["kcp://10.0.0.1:4000 weight=3 zone=eu-1"])
        .await;
    let two = Endpoint::parse("kcp://10.0.0.2:4000").unwrap();
    let two = greeters.register(two, LEASE);
    let both = [
        "kcp://10.0.0.1:4000 weight=3 zone=eu-1",
        "kcp://10.0.0.2:4000",
    ];
    found.until_these(&both).await;
    one.update(|endpoint| endpoint.active(false));
    let both = [
        "kcp://10.0.0.1:4000 weight=3 zone=eu-1 inactive",
        "kcp://10.0.0.2:4000",
    ];
    found.until_these(&both).await;

    // Killed: the endpoints stay. Started without its data: both register again.
    drop(etcd);
    found.until(|it| it.problem.is_some()).await;
    assert!(found.endpoints.values().eq(&both));
    one.status().wait_for(failed).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let etcd = server.start(data.path());
    registered(&one).await;
    registered(&two).await;
    found.until(|it| it.problem.is_none()).await;
    found.until_these(&both).await;

    // Killed and started with its data.
    drop(etcd);
    found.until(|it| it.problem.is_some()).await;
    let _etcd = server.start(data.path());
    found.until(|it| it.problem.is_none()).await;
    found.until_these(&both).await;

    one.deregister().await.unwrap();
    found.until_these(&["kcp://10.0.0.2:4000"]).await;
    drop(two);
    found.until_these(&[]).await;
}

#[tokio::test]
async fn killed_server_is_gone_when_its_lease_has_expired_and_calls_go_to_the_other() {
    let Some(server) = Server::new(5) else { return };
    let data = tempfile::tempdir().unwrap();
    let _etcd = server.start(data.path());
    let setup = Setup::plaintext();
    let (one, two) = (
        setup.serve(Hello::named("one")).await,
        setup.serve(Hello::named("two")).await,
    );
    let greeters = server.greeters();
    let register = |greeters: &Etcd, addr| {
        let endpoint = Endpoint::parse(format!("kcp://{addr}")).unwrap();
        greeters.register(endpoint, LEASE)
    };
    let _two = register(&greeters, two);
    // A process of its own, which is killed.
    let process = tokio::runtime::Runtime::new().unwrap();
    let _one = process
        .spawn(async move {
            let registration = register(&server.greeters(), one);
            registered(&registration).await;
            registration
        })
        .await
        .unwrap();
    let channel = setup.connecting().connect_discover(greeters.discover());
    let mut client = GreeterClient::new(channel.clone());
    while channel.endpoints().len() < 2 {
        tokio::task::yield_now().await;
    }
    let mut names = Vec::new();
    for _ in 0..2 {
        names.push(
            client
                .say_hello(hello("server name"))
                .await
                .unwrap()
                .into_inner()
                .message,
        );
    }
    names.sort();
    assert_eq!(names, ["one", "two"]);
    process.shutdown_background();
    let mut found = Found::by(&greeters);
    found.until_these(&[&format!("kcp://{two}")]).await;
    // The channel has a watch of its own.
    while channel.endpoints().len() > 1 {
        tokio::task::yield_now().await;
    }
    let answer = client.say_hello(hello("server name")).await.unwrap();
    assert_eq!(answer.into_inner().message, "two");
}

#[tokio::test]
async fn example_runs_to_its_end() {
    let Some(server) = Server::new(6) else { return };
    let data = tempfile::tempdir().unwrap();
    let _etcd = server.start(data.path());
    let running = async {
        // Until etcd accepts connections.
        while let Err(error) = example::run(server.client()).await {
            assert!(error.to_string().starts_with("etcd: "), "{error}");
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), running).await;
    ended.unwrap();
}
