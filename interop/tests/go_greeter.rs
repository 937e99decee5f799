//! The hello world of grpc-go over kcp-go, with a server and a client made with kcp-tonic.

mod support;

use std::path::PathBuf;
use std::process::Stdio;

use kcp_examples::greeter::proto::HelloRequest;
use kcp_examples::greeter::proto::greeter_client::GreeterClient;
use kcp_examples::greeter::proto::greeter_server::GreeterServer;
use kcp_tonic::{Config, FecRatio, KcpChannel, KcpIncoming, Security, serve, server_builder};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// The program, and what both sides must agree on; `None` on a machine without Go.
fn setup() -> Option<(PathBuf, Security, Config)> {
    support::peers("the hello world of grpc-go")?;
    let program = kcp_interop::go::greeter().expect("builds");
    let security = Security::from_password("aes-128-gcm", "a password", Security::KCPTUN_SALT);
    let fec = FecRatio::new(10, 3).expect("in range");
    let config = Config::builder().fec(fec).build().expect("in range");
    Some((program, security.expect("known"), config))
}

#[tokio::test]
async fn go_client_calls_a_rust_server() {
    let Some((program, security, config)) = setup() else {
        return;
    };
    let incoming = KcpIncoming::builder(&security).config(&config);
    let incoming = incoming.bind("127.0.0.1:0").await.expect("a socket");
    let addr = incoming.local_addr().expect("bound").to_string();
    let greeter = GreeterServer::new(kcp_examples::greeter::Greeter);
    tokio::spawn(serve(incoming, server_builder().add_service(greeter)).into_future());
    let output = Command::new(program).args(["client", &addr]).output();
    let output = output.await.expect("runs");
    let (printed, error) = (output.stdout, String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&printed), "Hello Go\n", "{error}");
}

#[tokio::test]
async fn rust_client_calls_a_go_server() {
    let Some((program, security, config)) = setup() else {
        return;
    };
    let mut server = Command::new(program)
        .args(["server", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("runs");
    let printed = server.stdout.take().expect("is a pipe");
    let addr = BufReader::new(printed).lines().next_line().await;
    let addr = addr.expect("is text").expect("has an address");
    let channel = KcpChannel::builder(&security)
        .config(&config)
        .connect(format!("kcp://{addr}"))
        .await
        .expect("connects");
    let mut client = GreeterClient::new(channel);
    let name = "Rust".to_owned();
    let reply = client.say_hello(HelloRequest { name }).await;
    let message = reply.expect("answers").into_inner().message;
    assert_eq!(message, "Hello Rust");
}
