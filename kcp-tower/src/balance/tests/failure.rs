//! Tries, hedges, budgets, deadlines and ejection.

use super::*;
use crate::balance::sync::now;
use crate::balance::{Ejection, Failure, Selection};

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

const IDEMPOTENT: Ask = Ask {
    key: None,
    idempotent: true,
    limit: None,
};

/// Servers that answer with these verdicts.
fn judged<const N: usize>(verdicts: [(&str, Verdict); N]) -> Servers {
    let servers = Servers::default();
    for (address, verdict) in verdicts {
        servers.set(address, |it| it.verdict = Some(verdict));
    }
    servers
}

fn over(servers: &Servers, failure: Failure) -> Balance<Memory> {
    let addresses: Vec<_> = lock(&servers.by_address).keys().cloned().collect();
    let list = addresses.iter().map(|it| endpoint(it)).collect();
    let builder = servers.builder().failure(failure).seed(1);
    builder.ejection(Ejection::off()).list(list).unwrap()
}

async fn send(balance: &Balance<Memory>, ask: Ask) -> (String, Verdict) {
    let answer = balance.clone().oneshot(ask).await.unwrap();
    (answer.address, answer.verdict)
}

fn requests(servers: &Servers) -> Vec<usize> {
    let servers = lock(&servers.by_address);
    servers.values().map(|it| it.requests).collect()
}

#[tokio::test(start_paused = true)]
async fn failfast_sends_once() {
    let servers = judged([("a", Verdict::Unsent), ("b", Verdict::Success)]);
    let balance = over(&servers, Failure::failfast());
    assert_eq!(send(&balance, IDEMPOTENT).await.1, Verdict::Unsent);
    assert_eq!(requests(&servers), [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn failtry_sends_to_the_same_endpoint_again() {
    let servers = judged([("a", Verdict::Failed), ("b", Verdict::Success)]);
    let balance = over(&servers, Failure::failtry().tries(4));
    let start = crate::balance::sync::now();
    assert_eq!(send(&balance, IDEMPOTENT).await.1, Verdict::Failed);
    assert_eq!(requests(&servers), [4, 0]);
    // 10, 20 and 40 ms, and up to as much again.
    let paused = crate::balance::sync::now() - start;
    assert!((millis(70)..=millis(150)).contains(&paused), "{paused:?}");
}

#[tokio::test(start_paused = true)]
async fn failtry_needs_no_other_endpoint() {
    let servers = judged([("a", Verdict::Failed)]);
    let balance = over(&servers, Failure::failtry());
    assert_eq!(send(&balance, IDEMPOTENT).await.1, Verdict::Failed);
    assert_eq!(requests(&servers), [3]);
}

#[tokio::test(start_paused = true)]
async fn failover_sends_to_those_not_tried_yet() {
    let servers = judged([
        ("a", Verdict::Failed),
        ("b", Verdict::Overloaded),
        ("c", Verdict::Unsent),
        ("d", Verdict::Success),
    ]);
    let balance = over(&servers, Failure::failover().tries(4));
    assert_eq!(send(&balance, IDEMPOTENT).await.0, "d");
    assert_eq!(requests(&servers), [1, 1, 1, 1]);
    let stats = balance.stats();
    assert_eq!((stats.requests, stats.retries, stats.hedges), (1, 3, 0));
    let [a, b, c, d] = &stats.endpoints[..] else {
        panic!("{stats:?}")
    };
    assert_eq!(
        (a.failed, b.overloaded, c.unsent, d.succeeded),
        (1, 1, 1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn failover_begins_again_when_none_is_left() {
    let servers = judged([("a", Verdict::Failed), ("b", Verdict::Failed)]);
    let balance = over(&servers, Failure::failover().tries(5));
    let answering = tokio::spawn(async move { send(&balance, IDEMPOTENT).await });
    while requests(&servers) != [1, 1] {
        tokio::task::yield_now().await;
    }
    servers.set("b", |it| it.verdict = None);
    assert_eq!(answering.await.unwrap().0, "b");
}

#[tokio::test(start_paused = true)]
async fn failover_waits_for_an_endpoint_that_comes_back_as_long_as_it_has_tries() {
    for (tries, expected) in [(2, Verdict::Unsent), (6, Verdict::Success)] {
        let servers = judged([("a", Verdict::Unsent)]);
        let balance = over(&servers, Failure::failover().tries(tries));
        let answering = tokio::spawn(async move { send(&balance, IDEMPOTENT).await });
        while requests(&servers) != [1] {
            tokio::task::yield_now().await;
        }
        let gone = Some("gone".to_owned());
        servers.set("a", |it| it.unreachable = gone);
        tokio::time::sleep(millis(50)).await;
        servers.set("a", |it| (it.unreachable, it.verdict) = (None, None));
        assert_eq!(answering.await.unwrap().1, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_is_idempotent_or_was_not_processed_is_sent_again() {
    for (verdict, idempotent, expected) in [
        (Verdict::Failed, false, [1, 0]),
        (Verdict::Overloaded, false, [1, 0]),
        (Verdict::Rejected, true, [1, 0]),
        (Verdict::Late, true, [1, 0]),
        (Verdict::Unsent, false, [1, 1]),
        (Verdict::Failed, true, [1, 1]),
    ] {
        let servers = judged([("a", verdict), ("b", Verdict::Success)]);
        let balance = over(&servers, Failure::failover());
        let ask = Ask {
            idempotent,
            ..Ask::default()
        };
        send(&balance, ask).await;
        assert_eq!(requests(&servers), expected, "{verdict:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn budget_limits_tries() {
    let servers = judged([("a", Verdict::Failed), ("b", Verdict::Failed)]);
    let balance = over(&servers, Failure::failover().tries(2).budget(0.1, 0));
    for _ in 0..100 {
        send(&balance, IDEMPOTENT).await;
    }
    assert_eq!(requests(&servers).iter().sum::<usize>(), 110);
}

#[tokio::test(start_paused = true)]
async fn all_tries_share_one_deadline() {
    let servers = judged([("a", Verdict::Failed), ("b", Verdict::Failed)]);
    for address in ["a", "b"] {
        servers.set(address, |it| it.delay = millis(40));
    }
    let balance = over(&servers, Failure::failover().tries(9));
    let start = crate::balance::sync::now();
    let ask = Ask {
        limit: Some(millis(100)),
        ..IDEMPOTENT
    };
    let error = balance.oneshot(ask).await.unwrap_err();
    assert!(matches!(error, BalanceError::Deadline { .. }), "{error}");
    assert_eq!(crate::balance::sync::now() - start, millis(100));
}

#[tokio::test(start_paused = true)]
async fn backup_is_sent_after_the_delay_and_the_loser_is_cancelled() {
    let servers = judged([("a", Verdict::Success), ("b", Verdict::Success)]);
    servers.set("a", |it| it.delay = millis(500));
    servers.set("b", |it| it.delay = millis(10));
    let balance = over(&servers, Failure::failbackup(millis(30)));
    let start = crate::balance::sync::now();
    assert_eq!(send(&balance, IDEMPOTENT).await.0, "b");
    assert_eq!(crate::balance::sync::now() - start, millis(40));
    let members = balance.shared.set.members();
    assert!(members.iter().all(|it| it.core.track.in_flight() == 0));
    // The next is answered before the delay, by the server whose turn it is.
    assert_eq!(send(&balance, IDEMPOTENT).await.0, "b");
    assert_eq!(requests(&servers), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn bad_backup_does_not_hide_the_good_answer_and_a_bad_answer_needs_no_delay() {
    let servers = judged([("a", Verdict::Success), ("b", Verdict::Failed)]);
    servers.set("a", |it| it.delay = millis(100));
    let balance = over(&servers, Failure::failbackup(millis(30)));
    assert_eq!(send(&balance, IDEMPOTENT).await.0, "a");
    assert_eq!(requests(&servers), [1, 1]);
    let start = crate::balance::sync::now();
    servers.set("a", |it| it.delay = Duration::ZERO);
    // The turn of `b`, which fails at once.
    assert_eq!(send(&balance, IDEMPOTENT).await.0, "a");
    assert_eq!(crate::balance::sync::now() - start, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_not_idempotent_have_no_backup() {
    let servers = judged([("a", Verdict::Success), ("b", Verdict::Success)]);
    servers.set("a", |it| it.delay = millis(100));
    let balance = over(&servers, Failure::failbackup(Duration::ZERO));
    assert_eq!(send(&balance, Ask::default()).await.0, "a");
    assert_eq!(requests(&servers), [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn delay_of_0_sends_all_at_once() {
    let servers = judged([("a", Verdict::Success), ("b", Verdict::Success)]);
    servers.set("a", |it| it.delay = millis(100));
    servers.set("b", |it| it.delay = millis(20));
    let balance = over(&servers, Failure::failbackup(Duration::ZERO));
    assert_eq!(send(&balance, IDEMPOTENT).await.0, "b");
}

#[tokio::test(start_paused = true)]
async fn backup_by_percentile_begins_when_latencies_are_known() {
    let servers = judged([("a", Verdict::Success), ("b", Verdict::Success)]);
    for address in ["a", "b"] {
        servers.set(address, |it| it.delay = millis(10));
    }
    let balance = over(&servers, Failure::failbackup_p95());
    for _ in 0..20 {
        send(&balance, IDEMPOTENT).await;
    }
    assert_eq!(requests(&servers), [10, 10]);
    servers.set("a", |it| it.delay = millis(1000));
    let start = crate::balance::sync::now();
    assert_eq!(send(&balance, IDEMPOTENT).await.0, "b");
    let took = crate::balance::sync::now() - start;
    assert!((millis(20)..millis(30)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn failing_endpoint_is_ejected_and_comes_back_slowly() {
    let servers = judged([("a", Verdict::Failed), ("b", Verdict::Success)]);
    let list = endpoints(["a", "b"]);
    let builder = servers
        .builder()
        .failure(Failure::failover().budget(1.0, 10));
    let balance = builder.seed(1).list(list).unwrap();
    for _ in 0..20 {
        assert_eq!(send(&balance, IDEMPOTENT).await.0, "b");
    }
    assert_eq!(requests(&servers), [5, 20]);
    servers.set("a", |it| it.verdict = None);
    let requests_in = async |seconds| {
        let before = requests(&servers)[0];
        for _ in 0..seconds * 100 {
            tokio::time::sleep(millis(10)).await;
            send(&balance, IDEMPOTENT).await;
        }
        requests(&servers)[0] - before
    };
    assert_eq!(requests_in(4).await, 0);
    let first = requests_in(6).await;
    let second = requests_in(6).await;
    let third = requests_in(6).await;
    assert!(first < second && second < third, "{first} {second} {third}");
    assert!(third > 280, "{third} of 600");
}

#[tokio::test(start_paused = true)]
async fn half_of_a_set_stays_even_if_all_fail() {
    let servers = judged([("a", Verdict::Failed), ("b", Verdict::Failed)]);
    let balance = servers.builder().list(endpoints(["a", "b"])).unwrap();
    for _ in 0..40 {
        send(&balance, IDEMPOTENT).await;
    }
    let sent: usize = requests(&servers).iter().sum();
    assert_eq!(sent, 40);
}

#[tokio::test(start_paused = true)]
async fn open_circuit_fails_at_once_and_closes_after_a_good_answer() {
    let servers = judged([("a", Verdict::Failed)]);
    let breaker = Ejection::circuit_breaker(3, Duration::from_secs(2));
    let builder = servers.builder().ejection(breaker);
    let balance = builder.list(endpoints(["a"])).unwrap();
    for _ in 0..3 {
        send(&balance, IDEMPOTENT).await;
    }
    let error = balance.clone().oneshot(IDEMPOTENT).await.unwrap_err();
    let text = "no usable endpoint: a is ejected after failures";
    assert_eq!(error.to_string(), text);
    let stats = balance.stats();
    assert_eq!((stats.requests, stats.refused), (4, 1));
    assert!(stats.endpoints[0].ejected && stats.endpoints[0].ejections == 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    send(&balance, IDEMPOTENT).await;
    assert!(balance.clone().oneshot(IDEMPOTENT).await.is_err());
    tokio::time::sleep(Duration::from_secs(4)).await;
    servers.set("a", |it| it.verdict = None);
    for _ in 0..10 {
        assert_eq!(send(&balance, IDEMPOTENT).await.1, Verdict::Success);
    }
}

#[tokio::test(start_paused = true)]
async fn endpoint_that_never_answers_in_time_is_ejected() {
    let servers = judged([("a", Verdict::Success), ("b", Verdict::Success)]);
    servers.set("a", |it| it.delay = Duration::from_secs(9));
    let builder = servers.builder().selection(Selection::RoundRobin);
    let balance = builder.list(endpoints(["a", "b"])).unwrap();
    let ask = Ask {
        limit: Some(millis(50)),
        ..Ask::default()
    };
    for _ in 0..40 {
        let _ = balance.clone().oneshot(ask).await;
    }
    assert_eq!(requests(&servers)[0], 5);
}

#[tokio::test(start_paused = true)]
async fn unreachable_endpoint_is_not_selected() {
    let servers = judged([("a", Verdict::Success), ("b", Verdict::Success)]);
    servers.set("a", |it| it.unreachable = Some("no route".to_owned()));
    let balance = over(&servers, Failure::failfast());
    for _ in 0..4 {
        assert_eq!(send(&balance, IDEMPOTENT).await.0, "b");
    }
}

#[tokio::test(start_paused = true)]
async fn late_try_is_given_up_and_sent_elsewhere_if_that_is_safe() {
    let servers = Servers::default();
    servers.set("a", |it| it.delay = Duration::from_secs(60));
    let failure = Failure::failover().try_timeout(millis(100));
    let builder = servers.builder().failure(failure);
    let balance = builder.list(endpoints(["a", "b"])).unwrap();
    let ask = |idempotent| {
        balance.clone().oneshot(Ask {
            idempotent,
            ..Ask::default()
        })
    };
    let start = now();
    assert_eq!(ask(true).await.unwrap().address, "b");
    assert_eq!(now() - start, millis(100));
    assert_eq!(ask(false).await.unwrap().address, "b");
    let error = ask(false).await.unwrap_err();
    assert_eq!(error, BalanceError::TryTimeout);
    let stats = balance.stats();
    assert_eq!(
        (stats.endpoints[0].failed, stats.endpoints[0].in_flight),
        (2, 0)
    );
}

#[tokio::test]
async fn codes_of_answers_are_counted() {
    let servers = judged([("a", Verdict::Rejected), ("b", Verdict::Success)]);
    let balance = servers.builder().list(endpoints(["a", "b"])).unwrap();
    for _ in 0..6 {
        ask(&balance).await.unwrap();
    }
    let codes = balance.stats().endpoints.into_iter().map(|it| it.codes);
    assert_eq!(
        codes.collect::<Vec<_>>(),
        [[(7, 3)].into(), [(0, 3)].into()]
    );
}
