//! Endpoints from a file.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::BoxError;
use crate::balance::Endpoint;

/// Reads a file once.
pub(super) async fn read(path: PathBuf) -> Result<Vec<Endpoint>, BoxError> {
    let reading = tokio::task::spawn_blocking(move || {
        let text = text_of(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    });
    Ok(reading.await??)
}

fn text_of(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        let error = "the file is longer than 1 MiB";
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, error));
    }
    Ok(text)
}

fn parse(text: &str) -> Result<Vec<Endpoint>, String> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let endpoint: Endpoint = line
            .parse()
            .map_err(|error| format!("line {number}: {error}"))?;
        if endpoints.iter().any(|it| it.uri() == endpoint.uri()) {
            let uri = endpoint.uri();
            return Err(format!("line {number}: duplicate endpoint {uri}"));
        }
        endpoints.push(endpoint);
    }
    if endpoints.is_empty() {
        return Err("the file has no endpoint; mark servers inactive to stop their use".to_owned());
    }
    Ok(endpoints)
}

/// Thousands of endpoints fit.
const LONGEST: u64 = 1 << 20;
