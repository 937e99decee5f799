//! Calls to all endpoints of a set.

use std::time::Duration;

use tower::ServiceExt;

use super::*;
use crate::balance::tests::{Ask, Memory, Servers, endpoint, endpoints};
use crate::balance::{Failure, Verdict};

/// The calls to each endpoint, which fail unless the verdict is success.
async fn calls(
    balance: &Balance<Memory>,
) -> Vec<(
    Endpoint,
    impl Future<Output = Result<String, Verdict>> + use<>,
)> {
    let each = balance.each().await.unwrap().into_iter();
    let call = |(endpoint, single): (Endpoint, Balance<Memory>)| {
        let call = async move {
            let answer = single.oneshot(Ask::default()).await.unwrap();
            match answer.verdict {
                Verdict::Success => Ok(answer.address),
                other => Err(other),
            }
        };
        (endpoint, call)
    };
    each.map(call).collect()
}

/// Three servers; the answers of `a`, `b` and `c` take 1, 2 and 3 s.
fn three() -> (Servers, Balance<Memory>) {
    let servers = Servers::default();
    for (address, seconds) in [("a", 1), ("b", 2), ("c", 3)] {
        servers.set(address, |it| it.delay = Duration::from_secs(seconds));
    }
    let builder = servers.builder().failure(Failure::failfast());
    let balance = builder.list(endpoints(["a", "b", "c"])).unwrap();
    (servers, balance)
}

fn in_flight(balance: &Balance<Memory>) -> usize {
    let members = balance.shared.set.members();
    members.iter().map(|it| it.core.track.in_flight()).sum()
}

#[tokio::test(start_paused = true)]
async fn inform_has_a_receipt_of_each_endpoint() {
    let (servers, balance) = three();
    servers.set("b", |it| it.verdict = Some(Verdict::Rejected));
    let receipts = inform(calls(&balance).await).await;
    let expected = [
        ("a", Ok("a".to_owned())),
        ("b", Err(Verdict::Rejected)),
        ("c", Ok("c".to_owned())),
    ]
    .map(|(address, result)| Receipt {
        endpoint: endpoint(address),
        result,
    });
    assert_eq!(receipts, expected);
}

#[tokio::test(start_paused = true)]
async fn broadcast_succeeds_with_all_and_ends_with_the_first_error() {
    let (servers, balance) = three();
    let answers = broadcast(calls(&balance).await).await.unwrap();
    assert_eq!(answers.len(), 3);
    servers.set("b", |it| it.verdict = Some(Verdict::Failed));
    let start = crate::balance::sync::now();
    let error = broadcast(calls(&balance).await).await.unwrap_err();
    assert_eq!(
        (error.endpoint, error.result),
        (endpoint("b"), Verdict::Failed)
    );
    assert_eq!(crate::balance::sync::now() - start, Duration::from_secs(2));
    assert_eq!(in_flight(&balance), 0, "the third is cancelled");
}

#[tokio::test(start_paused = true)]
async fn fork_takes_the_first_success_and_fails_if_there_is_none() {
    let (servers, balance) = three();
    servers.set("a", |it| it.verdict = Some(Verdict::Failed));
    let answer = fork(calls(&balance).await).await.unwrap();
    assert_eq!(answer.result, "b");
    assert_eq!(in_flight(&balance), 0, "the third is cancelled");
    for address in ["b", "c"] {
        servers.set(address, |it| it.verdict = Some(Verdict::Rejected));
    }
    let errors = fork(calls(&balance).await).await.unwrap_err();
    let errors: Vec<_> = errors.into_iter().map(|it| it.result).collect();
    assert_eq!(
        errors,
        [Verdict::Failed, Verdict::Rejected, Verdict::Rejected]
    );
}

#[tokio::test]
async fn each_uses_the_connections_of_the_set_and_leaves_out_what_takes_no_requests() {
    let servers = Servers::default();
    let list = vec![
        endpoint("a"),
        endpoint("b").weight(0),
        endpoint("c").active(false),
    ];
    let balance = servers.builder().list(list).unwrap();
    balance.clone().oneshot(Ask::default()).await.unwrap();
    assert_eq!(inform(calls(&balance).await).await.len(), 1);
    assert_eq!(servers.get("a").connections, 1);
    assert_eq!(servers.get("a").requests, 2);

    let none = servers.builder().list(vec![endpoint("b").weight(0)]);
    let error = none.unwrap().each().await.unwrap_err();
    assert!(matches!(error, BalanceError::NoneAvailable { .. }));
}
