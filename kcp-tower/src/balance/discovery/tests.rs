//! Sources that change and fail, in tokio's paused time.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::stream;

use super::*;
use crate::balance::BalanceError;
use crate::balance::tests::{Servers, ask, endpoint};

/// A change as text.
async fn next(discovery: &mut Discovery) -> String {
    match discovery.next().await.unwrap() {
        Ok(Change::Insert(_, endpoint)) => format!("+ {endpoint}"),
        Ok(Change::Remove(key)) => format!("- {key}"),
        Err(error) => error.to_string(),
    }
}

type Answers = Arc<Mutex<Result<Vec<&'static str>, &'static str>>>;

/// A discovery of what can be set.
fn source(every: Duration) -> (Answers, Discovery) {
    let answers: Answers = Arc::new(Mutex::new(Ok(Vec::new())));
    let read = {
        let answers = Arc::clone(&answers);
        move || {
            let answer = answers.lock().unwrap().clone();
            std::future::ready(match answer {
                Ok(list) => list.into_iter().map(|it| Ok(endpoint(it))).collect(),
                Err(problem) => Err(BoxError::from(problem)),
            })
        }
    };
    (answers, Discovery::poll(every, read))
}

#[tokio::test(start_paused = true)]
async fn differences_and_new_errors_are_reported() {
    let (answers, mut discovery) = source(Duration::from_secs(1));
    let set = |answer| *answers.lock().unwrap() = answer;
    assert_eq!(next(&mut discovery).await, "- ", "empty, and works");
    set(Ok(vec!["a:1", "b:1"]));
    assert_eq!(next(&mut discovery).await, "+ kcp://a:1");
    assert_eq!(next(&mut discovery).await, "+ kcp://b:1");
    set(Ok(vec!["c:1", "b:1"]));
    assert_eq!(next(&mut discovery).await, "+ kcp://c:1");
    assert_eq!(next(&mut discovery).await, "- kcp://a:1/");
    set(Err("away"));
    assert_eq!(next(&mut discovery).await, "away");
    // The same error again is not reported, and neither is a list that has not changed.
    let nothing = tokio::time::timeout(Duration::from_secs(60), next(&mut discovery));
    assert!(nothing.await.is_err());
    set(Ok(vec!["c:1", "b:1"]));
    assert_eq!(next(&mut discovery).await, "- ", "works again");
    set(Ok(vec!["c:1", "b:1", "c:1"]));
    assert_eq!(
        next(&mut discovery).await,
        "duplicate endpoint kcp://c:1/ in the list; a weight sends it more requests"
    );
}

#[tokio::test(start_paused = true)]
async fn interval_of_zero_is_a_tenth_of_a_second() {
    let mut reads = 0;
    let (report, mut reports) = mpsc::unbounded_channel();
    let mut discovery = Discovery::poll(Duration::ZERO, move || {
        reads += 1;
        report.send(reads).unwrap();
        std::future::ready(Ok::<_, BoxError>(Vec::new()))
    });
    let second = Duration::from_millis(950);
    let polled = tokio::time::timeout(second, async { while discovery.next().await.is_some() {} });
    assert!(polled.await.is_err());
    let mut last = 0;
    while let Ok(reads) = reports.try_recv() {
        last = reads;
    }
    assert_eq!(last, 10);
}

#[tokio::test(start_paused = true)]
async fn balancer_keeps_the_endpoints_of_a_source_that_fails_and_names_the_problem() {
    let servers = Servers::default();
    let (answers, discovery) = source(Duration::from_secs(1));
    let balance = servers.builder().discover(discovery);
    let error = ask(&balance).await.unwrap_err();
    assert_eq!(error, BalanceError::Empty { problem: None });
    let set = |answer| *answers.lock().unwrap() = answer;
    set(Ok(vec!["a:1"]));
    let wait = || tokio::time::sleep(Duration::from_secs(3));
    wait().await;
    assert_eq!(ask(&balance).await.unwrap(), "a:1");
    set(Err("away"));
    wait().await;
    assert_eq!(ask(&balance).await.unwrap(), "a:1");
    assert_eq!(balance.stats().problem.unwrap(), "away");
    set(Ok(vec!["a:1"]));
    wait().await;
    assert_eq!(balance.stats().problem, None);
    set(Ok(Vec::new()));
    wait().await;
    assert!(balance.endpoints().is_empty());
}

#[tokio::test]
async fn discovery_that_has_ended_is_not_polled_again() {
    let servers = Servers::default();
    let mut found = vec![Ok::<_, BoxError>(Change::Insert(0, endpoint("a:1")))].into_iter();
    let mut ended = false;
    // Panics when it is polled after its end, as futures' `unfold` does.
    let discover = stream::poll_fn(move |_| {
        assert!(!ended);
        let next = found.next();
        ended = next.is_none();
        Poll::Ready(next)
    });
    let balance = servers.builder().discover(discover);
    assert_eq!(ask(&balance).await.unwrap(), "a:1");
    assert_eq!(ask(&balance).await.unwrap(), "a:1");
}

#[tokio::test]
async fn lower_priorities_are_used_when_no_other_endpoint_is_usable() {
    let servers = Servers::default();
    let list = vec![
        endpoint("a:1"),
        endpoint("b:1").priority(2),
        endpoint("c:1").priority(1),
    ];
    let balance = servers.builder().list(list).unwrap();
    let unreachable = |address| {
        servers.set(address, |it| it.unreachable = Some("no route".to_owned()));
    };
    for (expected, then) in [("a:1", "a:1"), ("c:1", "c:1"), ("b:1", "b:1")] {
        for _ in 0..3 {
            assert_eq!(ask(&balance).await.unwrap(), expected);
        }
        unreachable(then);
    }
    ask(&balance).await.unwrap_err();
}

/// A file with this content. Its old content is gone at once.
fn write(path: &std::path::Path, content: &str) {
    let mut new = tempfile::NamedTempFile::new_in(path.parent().unwrap()).unwrap();
    new.write_all(content.as_bytes()).unwrap();
    new.persist(path).unwrap();
}

#[tokio::test(start_paused = true)]
async fn file_is_read_again_and_a_broken_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("servers");
    let mut discovery = Discovery::file(&path, Duration::from_secs(1));
    let at = |problem: &str| format!("{}: {problem}", path.display());
    let missing = next(&mut discovery).await;
    assert!(missing.starts_with(&at("")), "{missing}");
    write(
        &path,
        "# two\n\nkcp://a:1 weight=3\n  kcp://b:1 zone=z inactive  \n",
    );
    assert_eq!(next(&mut discovery).await, "+ kcp://a:1 weight=3");
    assert_eq!(next(&mut discovery).await, "+ kcp://b:1 zone=z inactive");
    for (content, problem) in [
        (
            "kcp://a:1\nkcp://b:1 weight=x",
            "line 2: invalid number in \"weight=x\"; allowed are 0 to 4294967295",
        ),
        (
            "kcp://a:1\nkcp://a:1 weight=2",
            "line 2: duplicate endpoint kcp://a:1/",
        ),
        (
            "# nothing\n",
            "the file has no endpoint; mark servers inactive to stop their use",
        ),
    ] {
        write(&path, content);
        assert_eq!(next(&mut discovery).await, at(problem));
    }
    write(&path, &"#\n".repeat(1 << 19 | 1));
    assert_eq!(
        next(&mut discovery).await,
        at("the file is longer than 1 MiB")
    );
    write(&path, "kcp://a:1 weight=4");
    assert_eq!(next(&mut discovery).await, "+ kcp://a:1 weight=4");
    assert_eq!(next(&mut discovery).await, "- kcp://b:1/");
}

/// Resolves to these addresses, or fails without any.
type Resolved = Arc<Mutex<Vec<SocketAddr>>>;

#[tokio::test(start_paused = true)]
async fn addresses_of_a_name_are_endpoints_with_its_scheme_and_port() {
    let resolved = Resolved::default();
    let resolver = {
        let resolved = Arc::clone(&resolved);
        tower::service_fn(move |name: Name| {
            assert_eq!(name.as_str(), "a.example");
            let found = resolved.lock().unwrap().clone();
            let missing = || std::io::Error::other("no such name");
            let found = if found.is_empty() {
                Err(missing())
            } else {
                Ok(found.into_iter())
            };
            std::future::ready(found)
        })
    };
    let uri = Uri::from_static("kcps://a.example:9");
    let mut discovery = Discovery::dns_with(resolver, uri, Duration::from_secs(1));
    assert_eq!(
        next(&mut discovery).await,
        "cannot resolve kcps://a.example:9/: no such name"
    );
    let set = |addresses: &[&str]| {
        *resolved.lock().unwrap() = addresses.iter().map(|it| it.parse().unwrap()).collect();
    };
    set(&["10.0.0.7:0", "[fe::1]:77", "10.0.0.7:1"]);
    assert_eq!(next(&mut discovery).await, "+ kcps://10.0.0.7:9");
    assert_eq!(next(&mut discovery).await, "+ kcps://[fe::1]:9");
    set(&["[fe::1]:77"]);
    assert_eq!(next(&mut discovery).await, "- kcps://10.0.0.7:9/");
}

#[tokio::test]
async fn operating_system_resolves_names() {
    let uri = Uri::from_static("kcp://localhost:9");
    let mut discovery = Discovery::dns(uri, Duration::from_secs(1));
    let found = next(&mut discovery).await;
    assert!(
        ["+ kcp://127.0.0.1:9", "+ kcp://[::1]:9"].contains(&&*found),
        "{found}"
    );
    let mut nowhere = Discovery::dns(Uri::from_static("/path"), Duration::from_secs(1));
    assert_eq!(
        next(&mut nowhere).await,
        "cannot resolve /path: the URI has no host"
    );
}
