//! Results, as a table and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::case::{Case, Payload};

/// What came of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The case.
    pub case: Case,
    /// How it ended.
    pub verdict: Verdict,
    /// How long it took, starting and stopping the peers included.
    pub elapsed: Duration,
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should.
    Pass,
    /// Otherwise, and why.
    Fail(String),
    /// We cannot do what it asks for, and why.
    Unsupported(String),
}

impl Verdict {
    const fn word(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail(_) => "fail",
            Self::Unsupported(_) => "unsupported",
        }
    }

    /// Empty if it passed.
    fn reason(&self) -> &str {
        match self {
            Self::Pass => "",
            Self::Fail(reason) | Self::Unsupported(reason) => reason,
        }
    }

    const fn color(&self) -> &'static str {
        match self {
            Self::Pass => "\x1b[32m",
            Self::Fail(_) => "\x1b[31m",
            Self::Unsupported(_) => "\x1b[33m",
        }
    }
}

impl Cell {
    /// Whether the case passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.verdict == Verdict::Pass
    }

    /// What happened, in one line; of a failure also how to see it again.
    #[must_use]
    pub fn explain(&self, seed: u64) -> String {
        let Self { case, verdict, .. } = self;
        if self.passed() {
            return format!("{case}: pass");
        }
        format!(
            "{case}: {}: {}\n  again: cargo run --release --bin interop -- --seed {seed} --filter {case}",
            verdict.word(),
            verdict.reason()
        )
    }

    /// The row and the column of the matrix.
    fn place(&self) -> (String, String) {
        let Case {
            payload,
            direction,
            cipher,
            fec,
            loss,
        } = self.case;
        let path = format!("{fec} {loss}%").replace(" against ", "|");
        match payload {
            Payload::Echo => (format!("{direction} {cipher}"), path),
            Payload::Grpc(kind) => (
                format!("{direction} {}", kind.name()),
                format!("{cipher} {path}"),
            ),
        }
    }
}

/// The cells as matrices, one for each peer, with the seconds each case took.
///
/// Columns are FEC, of both sides or ours|theirs, and loss.
#[must_use]
pub fn table(cells: &[Cell], color: bool) -> String {
    let mut text = String::new();
    for peer in ["kcp-go", "grpc-go"] {
        let cells: Vec<&Cell> = cells.iter().filter(|c| c.case.peer() == peer).collect();
        if !cells.is_empty() {
            matrix(&mut text, peer, &cells, color);
        }
    }
    let passed = cells.iter().filter(|cell| cell.passed()).count();
    let _ = writeln!(text, "{passed} of {} cells pass", cells.len());
    text
}

fn matrix(text: &mut String, peer: &str, cells: &[&Cell], color: bool) {
    let places: Vec<(String, String)> = cells.iter().map(|cell| cell.place()).collect();
    let rows = distinct(places.iter().map(|(row, _)| row.as_str()));
    let columns = distinct(places.iter().map(|(_, column)| column.as_str()));
    let first = rows.iter().map(|row| row.len()).max().unwrap_or(0);

    // Writing to a string cannot fail.
    let _ = write!(text, "{peer:first$}");
    for column in &columns {
        let _ = write!(text, "  {column:>CELL_WIDTH$}");
    }
    text.push('\n');
    for row in rows {
        let _ = write!(text, "{row:first$}");
        for column in &columns {
            let found = places.iter().position(|(r, c)| r == row && c == column);
            let shown = found.map_or(String::new(), |index| {
                let cell = cells[index];
                let seconds = cell.elapsed.as_secs_f64();
                format!("{} {seconds:.1}", cell.verdict.word())
            });
            let width = column.len().max(CELL_WIDTH);
            let (on, off) = match found {
                Some(index) if color => (cells[index].verdict.color(), "\x1b[0m"),
                _ => ("", ""),
            };
            let _ = write!(text, "  {on}{shown:>width$}{off}");
        }
        text.push('\n');
    }
    text.push('\n');
}

/// Each once, in the order of their first appearance.
fn distinct<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut distinct = Vec::new();
    for label in labels {
        if !distinct.contains(&label) {
            distinct.push(label);
        }
    }
    distinct
}

/// The cells as JSON: `{"cells": [{"case", "peer", "direction", "cipher", "fec", "loss", "result",
/// "reason", "seconds"}]}`.
///
/// `loss` is in percent, `result` one of `pass`, `fail` and `unsupported`, `reason` empty if passed.
#[must_use]
pub fn json(cells: &[Cell]) -> String {
    let cells = cells.iter().map(Row::of).collect();
    let text = serde_json::to_string_pretty(&Report { cells });
    text.expect("strings and numbers make JSON") + "\n"
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
        let Case {
            direction,
            cipher,
            fec,
            loss,
            ..
        } = cell.case;
        Self {
            case: cell.case.to_string(),
            peer: cell.case.peer(),
            direction: direction.to_string(),
            cipher,
            fec: fec.to_string(),
            loss,
            result: cell.verdict.word(),
            reason: cell.verdict.reason(),
            seconds: (cell.elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
        }
    }
}

/// Of a column, at least.
const CELL_WIDTH: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case;

    fn cells() -> Vec<Cell> {
        let cases = case::all();
        let cell = |(index, case): (usize, &Case)| Cell {
            case: *case,
            verdict: match index {
                0 => Verdict::Fail("one reason".to_owned()),
                1 => Verdict::Unsupported("another".to_owned()),
                _ => Verdict::Pass,
            },
            elapsed: Duration::from_millis(1250),
        };
        cases.iter().enumerate().map(cell).collect()
    }

    #[test]
    fn table_shows_every_cell() {
        let table = table(&cells(), false);
        let count = |word: &str| table.matches(word).count();
        assert_eq!((count("fail 1.2"), count("unsupported 1.2")), (1, 1));
        assert_eq!(count("pass 1.2"), cells().len() - 2);
        assert!(table.ends_with(&format!(
            "{} of {} cells pass\n",
            cells().len() - 2,
            cells().len()
        )));
        assert!(!table.contains('\x1b'));
    }

    #[test]
    fn failed_cell_says_how_to_see_it_again() {
        let cell = &cells()[0];
        let text = cell.explain(7);
        assert!(text.contains("one reason"), "{text}");
        let again = format!("--seed 7 --filter {}", cell.case);
        assert!(text.ends_with(&again), "{text}");
    }

    #[test]
    fn json_has_the_agreed_fields() {
        let value: serde_json::Value = serde_json::from_str(&json(&cells())).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 1);
        let first = &value["cells"][0];
        let mut fields: Vec<&str> = first.as_object().unwrap().keys().map(|k| &k[..]).collect();
        fields.sort_unstable();
        assert_eq!(
            fields,
            [
                "case",
                "cipher",
                "direction",
                "fec",
                "loss",
                "peer",
                "reason",
                "result",
                "seconds"
            ]
        );
        assert_eq!(first["result"], "fail");
        assert_eq!(first["reason"], "one reason");
        assert_eq!(first["seconds"], 1.25);
        assert_eq!(value["cells"].as_array().unwrap().len(), cells().len());
    }
}
