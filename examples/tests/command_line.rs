//! Output and exit status of the programs.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

use kcp_transport::{KcpStream, Security};
use support::{Server, last_line_as_json, run, signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ECHO: &str = env!("CARGO_BIN_EXE_echo");
const GREETER: &str = env!("CARGO_BIN_EXE_greeter");
const HTTP: &str = env!("CARGO_BIN_EXE_http");

/// A client with too much data to finish during a test.
struct EndlessClient {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl EndlessClient {
    /// Returns when the first bytes are echoed, as the client's log shows: the server has then accepted the
    /// connection.
    fn start(server: &Server) -> Self {
        let mut child = Command::new(ECHO)
            .args(["client", "--connect", &server.address, "--json", "-vv"])
            .args(["--bytes", "1000000000000"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("is piped"));
        let mut line = String::new();
        while !line.contains("first bytes echoed") {
            line.clear();
            assert!(stderr.read_line(&mut line).expect("reads") > 0, "it ended");
        }
        Self { child, stderr }
    }

    fn wait(mut self) -> Output {
        let mut stderr = Vec::new();
        self.stderr.read_to_end(&mut stderr).expect("reads");
        let output = self.child.wait_with_output().expect("ends");
        Output { stderr, ..output }
    }
}

/// Far below the 30 seconds after which a client closes a connection that gets no answer.
const AT_ONCE: Duration = Duration::from_secs(10);

#[test]
fn refused_options_are_one_line_and_status_2() {
    for (program, arguments, part) in [
        (ECHO, "", "subcommand"),
        (ECHO, "server", "--listen"),
        (ECHO, "server --listen nowhere", "'nowhere'"),
        (ECHO, "client --connect 127.0.0.1:1 --mtu 44", "mtu is 44"),
        (
            ECHO,
            "client --connect 127.0.0.1:1 --message 0",
            "--message",
        ),
        (GREETER, "--datashard 300", "'300'"),
        (GREETER, "--parityshard 0", "--parityshard is 0"),
        (GREETER, "--loss 91", "0 to 90"),
        (GREETER, "client --connect 127.0.0.1:1 --calls 0", "--calls"),
        (HTTP, "--crypt rot13", "'rot13'"),
    ] {
        let output = run(program, arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {message}");
        assert!(message.starts_with("error: "), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.contains(part), "{message:?} lacks {part:?}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn failures_while_running_are_one_line_and_status_1() {
    // The discard port: usually closed, and a service there would not answer.
    for (program, arguments) in [
        (ECHO, "client --connect 127.0.0.1:9 --connect-timeout 0.1"),
        (
            GREETER,
            "client --connect 127.0.0.1:9 --connect-timeout 0.1",
        ),
    ] {
        let output = run(program, arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.starts_with("error: "), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert_eq!(message.matches("127.0.0.1:9").count(), 1, "{message}");
    }
}

#[test]
fn servers_print_their_address_and_stop_at_the_end_of_standard_input() {
    for program in [ECHO, GREETER] {
        let output = run(
            program,
            "server --listen 127.0.0.1:0 --json --until-stdin-closes",
        );
        assert!(output.status.success());
        let listening = last_line_as_json(&output)["listening"].clone();
        let listening = listening.as_str().expect("a string");
        assert!(listening.starts_with("127.0.0.1:"), "{listening}");
        assert!(!listening.ends_with(":0"), "{listening}");
    }
}

#[test]
fn greeter_prints_one_json_object_at_the_end() {
    let output = run(GREETER, "--calls 20 --delay 2 --loss 5 --json");
    assert!(output.status.success(), "{output:?}");
    let summary = last_line_as_json(&output);
    let keys: Vec<_> = summary.as_object().expect("an object").keys().collect();
    let mut expected = [
        "calls",
        "errors",
        "p50_us",
        "p99_us",
        "segments",
        "retransmitted",
        "fec_recovered",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(summary["calls"], 20);
    assert_eq!(summary["errors"], 0);
}

#[test]
fn every_program_has_a_version_and_log_levels() {
    for program in [ECHO, GREETER, HTTP] {
        let output = run(program, "--version");
        assert!(output.status.success());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.trim().ends_with(env!("CARGO_PKG_VERSION")), "{text}");
        let help = run(program, "--help");
        assert!(help.status.success());
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        assert!(help.contains("RUST_LOG"), "{help}");
    }
}

#[test]
fn events_are_logged_to_standard_error_on_request() {
    let log = |option: Option<&str>, variable: &str| {
        let output = Command::new(ECHO)
            .args(["client", "--connect", "127.0.0.1:9"])
            .args(["--connect-timeout", "0.1"])
            .args(option)
            .env("RUST_LOG", variable)
            .stdin(Stdio::null())
            .output()
            .expect("starts");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(!log(None, "").contains("TRACE"));
    for traced in [log(Some("-vvv"), ""), log(None, "trace")] {
        assert!(traced.contains("TRACE"), "{traced}");
    }
}

#[test]
fn bad_filter_in_the_environment_is_refused() {
    let output = Command::new(ECHO)
        .args(["server", "--listen", "127.0.0.1:0"])
        .env("RUST_LOG", "kcp_transport=loud")
        .stdin(Stdio::null())
        .output()
        .expect("starts");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("RUST_LOG"), "{message}");
}

#[test]
fn hosts_may_be_names_and_keys_may_come_from_the_environment() {
    let server = Server::start(
        ECHO,
        "server --listen localhost:0 --json",
        Some("from outside"),
    );
    let (_, port) = server.address.rsplit_once(':').expect("has a port");
    let output = Command::new(ECHO)
        .args([
            "client",
            "--connect",
            &format!("localhost:{port}"),
            "--bytes",
            "1000",
        ])
        .args(["--pings", "1", "--json"])
        .env("KCPTUN_KEY", "from outside")
        .output()
        .expect("starts");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(last_line_as_json(&output)["bytes"], 1000);
}

#[cfg(unix)]
#[test]
fn signals_stop_servers_at_once_and_end_their_clients_streams() {
    for signal in ["-INT", "-TERM"] {
        let mut server = Server::start(ECHO, "server --listen 127.0.0.1:0 --json", None);
        let client = EndlessClient::start(&server);
        let start = Instant::now();
        support::signal(server.child.id(), signal);
        let ended = client.wait();
        assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
        let message = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{message}");
        assert!(
            message.contains("the server ended the connection"),
            "{message}"
        );
        assert!(server.child.wait().expect("ends").success());
    }
}

/// The client does not end its stream, so its connection is still open when the drain time-out expires.
#[cfg(unix)]
#[tokio::test]
async fn stopped_server_resets_connections_that_do_not_drain() {
    for program in [ECHO, GREETER] {
        let listen = "server --listen 127.0.0.1:0 --crypt null --json";
        let mut server = Server::start(program, listen, None);
        let null = Security::from_password("null", "", b"").expect("is known");
        let client = KcpStream::connect(&*server.address, &null).await;
        let mut client = client.expect("connects");
        if program == ECHO {
            client.write_all(b"x").await.expect("writes");
        }
        // The echo, or the first byte of HTTP/2's SETTINGS, shows that the server has accepted.
        client.read_u8().await.expect("reads");
        signal(server.child.id(), "-TERM");
        let mut pause = tokio::time::interval(Duration::from_millis(10));
        let end = tokio::time::timeout(AT_ONCE, async {
            while client.read_u8().await.is_ok() {}
            while client.write_all(b"still there?").await.is_ok() {
                pause.tick().await;
            }
        });
        end.await.expect("is reset");
        assert!(server.child.wait().expect("ends").success());
    }
}

#[cfg(unix)]
#[test]
fn interrupted_client_prints_its_results_so_far() {
    let server = Server::start(ECHO, "server --listen 127.0.0.1:0 --json", None);
    let client = EndlessClient::start(&server);
    signal(client.child.id(), "-INT");
    let ended = client.wait();
    assert_eq!(ended.status.code(), Some(130), "{ended:?}");
    let seconds = last_line_as_json(&ended)["seconds"].as_f64();
    assert!(seconds.expect("a number") > 0.0);
}
