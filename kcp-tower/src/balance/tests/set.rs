//! Sets that are fixed, that change, and that are empty.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tower::discover::Change;

use super::*;
use crate::balance::{Selection, SetError};

type Changes = mpsc::UnboundedSender<Result<Change<&'static str, Endpoint>, BoxError>>;

fn changing(builder: BalanceBuilder<Memory>) -> (Changes, Balance<Memory>) {
    let (changes, mut changed) = mpsc::unbounded_channel();
    let discover = stream::poll_fn(move |cx| changed.poll_recv(cx));
    (changes, builder.discover(discover))
}

fn insert(changes: &Changes, key: &'static str, endpoint: Endpoint) {
    changes.send(Ok(Change::Insert(key, endpoint))).unwrap();
}

/// Waits until discovery has been applied, without time passing.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn lists_that_can_never_work_are_errors() {
    let servers = Servers::default();
    let error = servers.builder().list(Vec::new()).unwrap_err();
    assert!(matches!(error, SetError::Empty));
    let twice = servers.builder().list(endpoints(["a:1", "b:1", "a:1"]));
    let error = twice.unwrap_err();
    assert_eq!(
        error.to_string(),
        "duplicate endpoint a:1 in the list; a weight sends it more requests"
    );
    let bad = Endpoint::parse("bad://c:1").unwrap();
    let error = servers.builder().list(vec![bad]).unwrap_err();
    assert_eq!(error.to_string(), "invalid endpoint c:1");
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn connections_are_made_at_the_first_request() {
    let servers = Servers::default();
    let balance = servers.builder().list(endpoints(["a:1", "b:1"])).unwrap();
    assert_eq!(servers.get("a:1").connections, 0);
    assert_eq!(ask(&balance).await.unwrap(), "a:1");
    assert_eq!(servers.get("a:1").connections, 1);
    assert_eq!(servers.get("b:1").connections, 0);
}

#[tokio::test]
async fn connections_are_added_up_to_a_limit_when_all_are_full() {
    let servers = Servers::default();
    let builder = servers.builder().requests_per_connection(2);
    let balance = builder
        .connections_per_endpoint(3)
        .list(endpoints(["a:1"]))
        .unwrap();
    let mut held = Vec::new();
    for expected in [1, 1, 2, 2, 3, 3, 3, 3, 3] {
        held.push(hold(&balance, None).await.unwrap());
        assert_eq!(servers.get("a:1").connections, expected);
    }
    drop(held);
    ask(&balance).await.unwrap();
    let core = &balance.shared.set.members()[0].core;
    assert_eq!(core.connections(), 1);
}

#[tokio::test]
async fn saturated_connections_get_no_more_requests_while_another_can_be_made() {
    let servers = Servers::default();
    let builder = servers.builder().connections_per_endpoint(3);
    let balance = builder.list(endpoints(["a:1"])).unwrap();
    let mut held = Vec::new();
    for (saturated, expected) in [(true, 1), (false, 1), (true, 2), (true, 3), (true, 3)] {
        servers.set("a:1", |it| it.saturated = saturated);
        held.push(hold(&balance, None).await.unwrap());
        assert_eq!(servers.get("a:1").connections, expected);
    }
    // A connection without requests is used again.
    drop(held);
    ask(&balance).await.unwrap();
    assert_eq!(servers.get("a:1").connections, 3);
}

#[tokio::test]
async fn inactive_endpoints_and_those_of_weight_0_get_no_requests() {
    let servers = Servers::default();
    let list = vec![
        endpoint("a:1").active(false),
        endpoint("b:1").weight(0),
        endpoint("c:1"),
    ];
    let balance = servers.builder().list(list.clone()).unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&balance).await.unwrap(), "c:1");
    }
    servers.set("c:1", |it| it.unreachable = Some("no route".to_owned()));
    let error = ask(&balance).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no usable endpoint: a:1 is inactive, b:1 has weight 0, \
         c:1 is unreachable (no route)"
    );
}

#[tokio::test]
async fn unhealthy_endpoints_get_no_requests_until_they_are_healthy() {
    let servers = Servers::default();
    let list = vec![endpoint("a:1"), endpoint("b:1")];
    let balance = servers.builder().list(list).unwrap();
    let problem = |it: &mut Server| it.unhealthy = Some("full".to_owned());
    servers.set("a:1", problem);
    for _ in 0..3 {
        assert_eq!(ask(&balance).await.unwrap(), "b:1");
    }
    assert_eq!(
        balance.stats().endpoints[0].unhealthy.as_deref(),
        Some("full")
    );
    servers.set("b:1", problem);
    let error = ask(&balance).await.unwrap_err().to_string();
    assert!(
        error.contains("a:1 is unhealthy (full), b:1 is unhealthy"),
        "{error}"
    );
    servers.set("a:1", |it| it.unhealthy = None);
    assert_eq!(ask(&balance).await.unwrap(), "a:1");
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_the_first_answer_of_discovery_only() {
    let servers = Servers::default();
    let (changes, balance) = changing(servers.builder());
    let early = tokio::spawn({
        let balance = balance.clone();
        async move { ask(&balance).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!early.is_finished());
    insert(&changes, "one", endpoint("a:1"));
    assert_eq!(early.await.unwrap().unwrap(), "a:1");
    changes.send(Ok(Change::Remove("one"))).unwrap();
    until(|| balance.endpoints().is_empty()).await;
    let error = ask(&balance).await.unwrap_err();
    assert_eq!(error.to_string(), "the set of endpoints is empty");
}

#[tokio::test(start_paused = true)]
async fn discovery_that_fails_at_the_start_is_named_and_tried_again() {
    let servers = Servers::default();
    let (changes, balance) = changing(servers.builder());
    changes.send(Err("registry is away".into())).unwrap();
    let error = ask(&balance).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the set of endpoints is empty; discovery failed: registry is away"
    );
    insert(&changes, "one", endpoint("a:1"));
    until_answered(&balance).await;
    // A failure later keeps what is known.
    changes.send(Err("registry is away".into())).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(ask(&balance).await.unwrap(), "a:1");
}

/// Under paused time the pause after an error takes none.
async fn until_answered(balance: &Balance<Memory>) {
    while balance.endpoints().is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn discovery_that_ends_leaves_what_it_found() {
    let servers = Servers::default();
    let nothing = stream::empty::<Result<Change<u8, Endpoint>, BoxError>>();
    let balance = servers.builder().discover(nothing);
    let error = ask(&balance).await.unwrap_err();
    assert_eq!(error, BalanceError::Empty { problem: None });

    let found = endpoints(["a:1", "b:1"]).into_iter().enumerate();
    let found = found.map(|(key, it)| Ok::<_, BoxError>(Change::Insert(key, it)));
    let balance = servers.builder().discover(stream::iter(found));
    let answered: Vec<_> = stream::iter(0..4)
        .then(|_| async { ask(&balance).await.unwrap() })
        .collect()
        .await;
    assert_eq!(answered, ["a:1", "b:1", "a:1", "b:1"]);
}

#[tokio::test]
async fn removed_endpoints_drain() {
    let servers = Servers::default();
    let (changes, balance) = changing(servers.builder());
    insert(&changes, "one", endpoint("a:1"));
    let held = hold(&balance, None).await.unwrap();
    insert(&changes, "two", endpoint("b:1"));
    changes.send(Ok(Change::Remove("one"))).unwrap();
    until(|| balance.endpoints() == endpoints(["b:1"])).await;
    assert_eq!(ask(&balance).await.unwrap(), "b:1");
    assert_eq!(balance.shared.set.draining().len(), 1);
    let mut origins = 0;
    balance.for_each_origin(|_| origins += 1);
    assert_eq!(origins, 2);
    drop(held);
    assert!(balance.shared.set.draining().is_empty());
}

#[tokio::test]
async fn another_description_keeps_the_connections_and_another_address_does_not() {
    let servers = Servers::default();
    let (changes, balance) = changing(servers.builder());
    insert(&changes, "one", endpoint("a:1"));
    ask(&balance).await.unwrap();
    insert(&changes, "one", endpoint("a:1").weight(7).zone("z"));
    until(|| balance.endpoints()[0].get_weight() == 7).await;
    ask(&balance).await.unwrap();
    assert_eq!(servers.get("a:1").connections, 1);
    insert(&changes, "one", endpoint("b:1"));
    until(|| balance.endpoints() == endpoints(["b:1"])).await;
    assert_eq!(ask(&balance).await.unwrap(), "b:1");
}

#[tokio::test]
async fn unusable_endpoint_of_discovery_is_left_out_and_named() {
    let servers = Servers::default();
    let (changes, balance) = changing(servers.builder());
    let bad = Endpoint::parse("bad://c:1").unwrap();
    insert(&changes, "bad", bad);
    let error = ask(&balance).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the set of endpoints is empty; discovery failed: invalid endpoint c:1: no such scheme"
    );
}

#[tokio::test]
async fn discovery_ends_with_the_last_clone() {
    let servers = Servers::default();
    let (changes, balance) = changing(servers.builder());
    let clone = balance.clone();
    drop(balance);
    insert(&changes, "one", endpoint("a:1"));
    assert_eq!(ask(&clone).await.unwrap(), "a:1");
    drop(clone);
    changes.closed().await;
}

#[tokio::test]
async fn requests_without_the_key_that_the_selection_needs_are_errors() {
    let servers = Servers::default();
    for selection in [Selection::consistent_hash(), Selection::Sticky] {
        let builder = servers.builder().selection(selection);
        let balance = builder.list(endpoints(["a:1", "b:1"])).unwrap();
        assert_eq!(ask(&balance).await, Err(BalanceError::NoKey));
        hold(&balance, Some(Key::of("x"))).await.unwrap();
    }
}

/// Five servers get 200 requests a second for a minute. Those of the last one take three times as long,
/// and one request in 20 of any server takes 40 ms longer, as after a lost packet.
#[tokio::test(start_paused = true)]
async fn slow_server_gets_less_than_half_a_share_under_peak_ewma() {
    const ADDRESSES: [&str; 5] = ["a:1", "b:1", "c:1", "d:1", "e:1"];
    const REQUESTS: usize = 12_000;
    let usual = |address| Duration::from_millis(if address == "e:1" { 120 } else { 40 });
    let servers = Servers::default();
    let builder = servers.builder().selection(Selection::PeakEwma).seed(7);
    let balance = builder.list(endpoints(ADDRESSES)).unwrap();
    for number in 0..REQUESTS {
        for (at, address) in ADDRESSES.into_iter().enumerate() {
            let is_late = number % 20 == 4 * at;
            let more = Duration::from_millis(if is_late { 40 } else { 0 });
            servers.set(address, |it| it.delay = usual(address) + more);
        }
        let balance = balance.clone();
        tokio::spawn(async move { ask(&balance).await });
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let slow = servers.get("e:1").requests;
    assert!((1..REQUESTS / 10).contains(&slow), "{slow} of {REQUESTS}");
    for address in &ADDRESSES[..4] {
        let share = servers.get(address).requests;
        assert!(share > REQUESTS / 5, "{address}: {share} of {REQUESTS}");
    }
}
