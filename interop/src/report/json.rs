//! Results as JSON.

use serde::Serialize;

use super::Cell;
use crate::case::Case;

/// Formats the cells as JSON: `{"cells": [{"case", "peer", "direction", "cipher", "fec", "loss",
/// "result", "reason", "seconds"}]}`.
///
/// `case` is the full name, with every option that is not the default. `loss` is in percent, `result` is `pass`,
/// `fail` or `unsupported`, and `reason` is empty for `pass`.
#[must_use]
pub fn json(cells: &[Cell]) -> String {
    let cells = cells.iter().map(Row::of).collect();
    let text = serde_json::to_string_pretty(&Report { cells });
    text.expect("strings and numbers can be serialized") + "\n"
}

#[derive(Serialize)]
struct Report<'a> {
    cells: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    case: String,
    peer: &'a str,
    direction: String,
    cipher: &'a str,
    fec: String,
    loss: u8,
    result: &'a str,
    reason: &'a str,
    seconds: f64,
}

impl<'a> Row<'a> {
    fn of(cell: &'a Cell) -> Self {
        let case: &Case = &cell.case;
        Self {
            case: case.to_string(),
            peer: case.peer.name(),
            direction: case.direction.to_string(),
            cipher: case.cipher,
            fec: case.fec.to_string(),
            loss: case.impairments.loss,
            result: cell.verdict.word(),
            reason: cell.verdict.reason(),
            seconds: (cell.elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::cells;
    use super::*;

    #[test]
    fn json_has_the_agreed_fields() {
        let value: serde_json::Value = serde_json::from_str(&json(&cells())).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 1);
        let first = &value["cells"][0];
        let mut fields: Vec<&str> = first.as_object().unwrap().keys().map(|k| &k[..]).collect();
        fields.sort_unstable();
        let agreed = [
            "case",
            "cipher",
            "direction",
            "fec",
            "loss",
            "peer",
            "reason",
            "result",
            "seconds",
        ];
        assert_eq!(fields, agreed);
        assert_eq!(first["result"], "fail");
        assert_eq!(first["reason"], "one <reason>");
        assert_eq!(first["seconds"], 1.25);
        assert_eq!(value["cells"].as_array().unwrap().len(), cells().len());
    }
}
