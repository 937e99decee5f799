//! Endpoints from the addresses of a name.

use std::net::SocketAddr;

use http::Uri;
use http::uri::Authority;

use crate::BoxError;
use crate::balance::Endpoint;
use crate::connector::LookingUp;

/// The host to resolve, without the brackets of an address.
pub(super) fn host(uri: &Uri) -> Option<String> {
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| host.to_owned())
}

/// An endpoint for each address that a lookup finds.
pub(super) async fn resolve(
    uri: Uri,
    looking_up: Option<LookingUp>,
) -> Result<Vec<Endpoint>, BoxError> {
    let Some(looking_up) = looking_up else {
        return Err(format!("cannot resolve {uri}: the URI has no host").into());
    };
    let found = looking_up.await;
    let found = found.map_err(|error| format!("cannot resolve {uri}: {error}"))?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for addr in found {
        let port = uri.port_u16().or((addr.port() != 0).then_some(addr.port()));
        let Some(port) = port else {
            return Err(format!("cannot resolve {uri}: the URI has no port").into());
        };
        let addr = SocketAddr::new(addr.ip(), port);
        if !addresses.contains(&addr) {
            addresses.push(addr);
        }
    }
    if addresses.is_empty() {
        return Err(format!("cannot resolve {uri}: the name has no address").into());
    }
    let endpoint = |addr: SocketAddr| {
        let mut parts = uri.clone().into_parts();
        parts.authority = Some(Authority::try_from(addr.to_string())?);
        Ok(Endpoint::new(Uri::from_parts(parts)?))
    };
    addresses.into_iter().map(endpoint).collect()
}
