//! The main path of each program, with little data.

use std::time::Duration;

use clap::CommandFactory;
use http::Method;
use indicatif::ProgressBar;
use kcp_examples::greeter::{self, DemoConfig, StreamOutcome};
use kcp_examples::options::{Args, Transport};
use kcp_examples::relay::RelayConfig;
use kcp_examples::stop::Stop;
use kcp_examples::{cli, echo, http as web};
use kcp_transport::net::{KcpListener, KcpStream};

fn transport(arguments: &[&str]) -> Transport {
    let arguments = [&["test"], arguments].concat();
    let args: Args = cli::parse(Args::command(), arguments).expect("parses");
    args.transport().expect("options are compatible")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn greeter_makes_all_calls_over_a_lossy_path() {
    let config = DemoConfig {
        calls: 50,
        workers: 8,
        relay: RelayConfig {
            loss: 0.1,
            delay: Duration::from_millis(5),
            reorder: 0.02,
            seed: 7,
            ..RelayConfig::default()
        },
        transport: transport(&["--crypt=aes-128-gcm", "--datashard=10", "--parityshard=3"]),
        progress: ProgressBar::hidden(),
        stop: Stop::never(),
    };
    let summary = greeter::demo(config).await.expect("runs");
    assert_eq!(summary.first_error, None);
    assert_eq!((summary.calls, summary.errors), (50, 0));
    let replies = StreamOutcome::Replies(greeter::STREAM_REPLIES);
    assert_eq!(summary.server_stream, replies);
    assert!(matches!(summary.bidi_stream, StreamOutcome::Replies(_)));
    assert!(summary.fec_recovered > 0, "{summary:?}");
    assert!(summary.p50_us >= 10_000, "{summary:?}");
    assert!(summary.p99_us >= summary.p50_us, "{summary:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echo_returns_every_byte() {
    for arguments in [
        &["--crypt=null"][..],
        &["--crypt=aes-128-gcm", "--datashard=5", "--parityshard=2"],
    ] {
        let Transport { security, config } = transport(arguments);
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = KcpListener::builder(&security)
            .config(&config)
            .bind(any)
            .await;
        let listener = listener.expect("binds");
        let server = listener.local_addr().expect("is bound");
        let serving = tokio::spawn(echo::serve(listener));

        let stream = KcpStream::builder(&security)
            .config(&config)
            .connect(server)
            .await;
        let plan = echo::Plan {
            bytes: 1_000_003,
            message: 7001,
            pings: 5,
        };
        let measured = echo::measure(stream.expect("connects"), plan).await;
        let measured = measured.expect("every byte is echoed");
        assert_eq!(measured.bytes, plan.bytes);
        assert!(measured.mb_per_s > 0.0);
        assert!(measured.p99_us >= measured.p50_us && measured.p50_us > 0);
        serving.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_responses_are_correct_in_both_versions() {
    let transport = transport(&["--acknodelay"]);
    let fetches = web::demo(&transport, &Stop::never()).await.expect("runs");
    assert_eq!(fetches.len(), 2 * 2 * web::SIZES.len());
    for fetch in &fetches {
        assert_eq!(fetch.problem, None, "{fetch:?}");
        assert!([Method::GET, Method::POST].contains(&fetch.method));
    }
    assert_eq!(web::Summary::new(&fetches).mismatches, 0);
}
