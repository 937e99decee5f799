//! The endpoints below a prefix.

use std::collections::BTreeMap;

use kcp_tower::BoxError;
use kcp_tower::balance::{Changes, Endpoint};

use super::rpc::{
    KeyValue, RangeRequest, Requests, Rpc, WatchCreateRequest, WatchRequest, describe,
};
use super::{PAUSE, Prefix};

/// Reports changes for ever.
pub(super) async fn follow(rpc: Rpc, prefix: Prefix, mut changes: Changes) {
    loop {
        if let Err(error) = read_and_watch(&rpc, &prefix, &mut changes).await {
            changes.failed(error);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Reads all endpoints and reports what changes after that, until an error.
async fn read_and_watch(rpc: &Rpc, prefix: &Prefix, changes: &mut Changes) -> Result<(), BoxError> {
    let (key, range_end) = prefix.range();
    let all = RangeRequest { key, range_end };
    let found = rpc.range(all).await?;
    read(&found.kvs, changes);
    let revision = found.header.map_or(0, |it| it.revision);
    let (key, range_end) = prefix.range();
    let create = WatchCreateRequest {
        key,
        range_end,
        start_revision: revision + 1,
    };
    let create = Some(create);
    let (_sender, requests) = Requests::beginning_with(WatchRequest { create });
    let mut watch = rpc.watch(requests).await?;
    while let Some(response) = watch.message().await.map_err(|it| describe(&it))? {
        if response.canceled {
            let reason = response.cancel_reason;
            return Err(format!("etcd has ended the watch: {reason}").into());
        }
        for event in response.events {
            let Some(pair) = event.kv else { continue };
            match (event.kind, parse(&pair)) {
                (1, (key, _)) => changes.remove(&key),
                (_, (key, Ok(endpoint))) => changes.insert(key, endpoint),
                (_, (_, Err(error))) => changes.failed(error),
            }
        }
    }
    Err("etcd has ended the watch".into())
}

/// Reports all pairs. A wrong value leaves what its key had before.
fn read(pairs: &[KeyValue], changes: &mut Changes) {
    let mut now = BTreeMap::new();
    let mut wrong = None;
    for pair in pairs {
        let (key, value) = parse(pair);
        let endpoint = match value {
            Ok(endpoint) => Some(endpoint),
            Err(error) => {
                wrong = Some(error);
                changes.get(&key).cloned()
            }
        };
        if let Some(endpoint) = endpoint {
            now.insert(key, endpoint);
        }
    }
    changes.replace(now);
    if let Some(error) = wrong {
        changes.failed(error);
    }
}

fn parse(pair: &KeyValue) -> (String, Result<Endpoint, BoxError>) {
    let key = String::from_utf8_lossy(&pair.key).into_owned();
    let endpoint = String::from_utf8_lossy(&pair.value).parse();
    let endpoint =
        endpoint.map_err(|error| format!("etcd: the value of {key} is wrong: {error}").into());
    (key, endpoint)
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt};
    use kcp_tower::balance::{Change, Discovery};

    use super::*;

    #[test]
    fn wrong_value_is_reported_and_changes_nothing() {
        let pair = |key: &str, value: &str| KeyValue {
            key: key.into(),
            value: value.into(),
        };
        let mut discovery = Discovery::watch(|mut changes| async move {
            read(
                &[pair("/a", "kcp://a:1"), pair("/b", "kcp://b:1")],
                &mut changes,
            );
            read(
                &[pair("/a", "?"), pair("/b", "kcp://b:1 weight=2")],
                &mut changes,
            );
        });
        let mut found = Vec::new();
        while let Some(next) = discovery.next().now_or_never().flatten() {
            found.push(match next {
                Ok(Change::Insert(key, endpoint)) => format!("+ {key} {endpoint}"),
                Ok(Change::Remove(key)) => format!("- {key}"),
                Err(error) => error.to_string(),
            });
        }
        let expected = [
            "+ /a kcp://a:1",
            "+ /b kcp://b:1",
            "+ /b kcp://b:1 weight=2",
            "etcd: the value of /a is wrong: invalid URI \"?\" of an endpoint: invalid uri character",
        ];
        assert_eq!(found, expected);
    }
}
