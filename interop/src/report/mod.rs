//! Results as text tables, JSON and HTML.

mod html;
mod json;

use std::fmt::Write as _;
use std::time::Duration;

use crate::case::{Case, Payload, Peer};

pub use html::html;
pub use json::json;

/// The result of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The case.
    pub case: Case,
    /// The verdict.
    pub verdict: Verdict,
    /// Duration, including the start and stop of the peers.
    pub elapsed: Duration,
}

/// The verdict on a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All checks passed.
    Pass,
    /// A check failed or the case could not run, with the reason.
    Fail(String),
    /// The peer does not support the case, with the reason. The case was not run.
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

    /// The reason; empty for [`Pass`](Self::Pass).
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
    /// Whether the case did not fail: it passed, or the peer does not support it.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        !matches!(self.verdict, Verdict::Fail(_))
    }

    /// The result on one line; for a failure, also the command that repeats it.
    #[must_use]
    pub fn explain(&self, seed: u64) -> String {
        let Self { case, verdict, .. } = self;
        match verdict {
            Verdict::Pass => format!("{case}: pass"),
            Verdict::Unsupported(reason) => format!("{case}: not supported: {reason}"),
            Verdict::Fail(reason) => {
                format!(
                    "{case}: fail: {reason}\n  repeat with: {}",
                    repeat_command(case, seed)
                )
            }
        }
    }

    fn position(&self) -> Position {
        let case = &self.case;
        let Case {
            peer,
            direction,
            payload,
            cipher,
            fec,
            impairments,
            ..
        } = case;
        let path = format!("{fec} {}%", impairments.loss).replace(" against ", "|");
        let unusual = case.non_default().join(" ");
        let name = peer.name();
        match (payload, peer) {
            (Payload::Grpc(kind), _) if unusual.is_empty() => Position {
                table: name.to_owned(),
                row: format!("{direction} {}", kind.name()),
                column: format!("{cipher} {path}"),
            },
            (Payload::Interop(interop), _) => Position {
                table: name.to_owned(),
                row: format!("{direction} {}", interop.name()),
                column: if unusual.is_empty() {
                    format!("{cipher} {path}")
                } else {
                    format!("{cipher} {path} {unusual}")
                },
            },
            (_, Peer::KcpGo | Peer::KcpGo5_7 | Peer::KcpGo5_4) if unusual.is_empty() => Position {
                table: name.to_owned(),
                row: format!("{direction} {cipher}"),
                column: path,
            },
            _ => {
                let fec = fec.to_string().replace(" against ", "|");
                let unusual = if unusual.is_empty() {
                    "stream"
                } else {
                    &unusual
                };
                let table = if peer.is_native() {
                    name.to_owned()
                } else {
                    format!("{name}, other options")
                };
                Position {
                    table,
                    row: format!("{cipher} {fec} {unusual}"),
                    column: format!("{direction} {}%", impairments.loss),
                }
            }
        }
    }
}

/// The command that repeats a case.
fn repeat_command(case: &Case, seed: u64) -> String {
    format!("cargo run --release --bin interop -- --seed {seed} --case {case}")
}

/// Table, row and column of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Position {
    table: String,
    row: String,
    column: String,
}

/// A table of cells.
struct Table<'a> {
    title: String,
    columns: Vec<String>,
    rows: Vec<(String, Vec<Option<&'a Cell>>)>,
}

/// Arranges the cells in tables, one or two for each peer.
fn tables(cells: &[Cell]) -> Vec<Table<'_>> {
    let placed: Vec<(Position, &Cell)> = cells.iter().map(|cell| (cell.position(), cell)).collect();
    let titles = distinct(placed.iter().map(|(place, _)| place.table.as_str()));
    let tables = titles.into_iter().map(|title| {
        let here = || placed.iter().filter(|(place, _)| place.table == title);
        let columns = distinct(here().map(|(place, _)| place.column.as_str()));
        let rows = distinct(here().map(|(place, _)| place.row.as_str()));
        let find = |row: &str, column: &str| {
            let mut found = here().filter(|(place, _)| place.row == row && place.column == column);
            found.next().map(|(_, cell)| *cell)
        };
        let rows = rows.into_iter().map(|row| {
            let cells = columns.iter().map(|column| find(row, column)).collect();
            (row.to_owned(), cells)
        });
        Table {
            title: title.to_owned(),
            rows: rows.collect(),
            columns: columns.into_iter().map(str::to_owned).collect(),
        }
    });
    tables.collect()
}

/// Number of cells with each verdict, as text.
#[must_use]
pub fn summary(cells: &[Cell]) -> String {
    let count = |word| cells.iter().filter(|c| c.verdict.word() == word).count();
    format!(
        "{} pass, {} fail, {} not supported by the peer",
        count("pass"),
        count("fail"),
        count("unsupported")
    )
}

/// Formats the cells as text, with the seconds that each case took.
///
/// Columns are FEC (of both sides, or ours|theirs) and loss. `-` marks a case that the peer does not support.
#[must_use]
pub fn table(cells: &[Cell], color: bool) -> String {
    let mut text = String::new();
    for table in tables(cells) {
        table.write(&mut text, color);
    }
    text + &summary(cells) + "\n"
}

impl Table<'_> {
    fn write(&self, text: &mut String, color: bool) {
        let rows = self.rows.iter().map(|(row, _)| row.len());
        let first = rows.max().unwrap_or(0).max(self.title.len());

        // Writing to a string cannot fail.
        let _ = write!(text, "{:first$}", self.title);
        for column in &self.columns {
            let _ = write!(text, "  {column:>CELL_WIDTH$}");
        }
        text.push('\n');
        for (row, cells) in &self.rows {
            let _ = write!(text, "{row:first$}");
            for (column, cell) in self.columns.iter().zip(cells) {
                let width = column.len().max(CELL_WIDTH);
                let (on, off) = match cell {
                    Some(cell) if color => (cell.verdict.color(), "\x1b[0m"),
                    _ => ("", ""),
                };
                let shown = cell.map_or(String::new(), Cell::shown);
                let _ = write!(text, "  {on}{shown:>width$}{off}");
            }
            text.push('\n');
        }
        text.push('\n');
    }
}

impl Cell {
    fn shown(&self) -> String {
        let seconds = self.elapsed.as_secs_f64();
        match &self.verdict {
            Verdict::Unsupported(_) => "-".to_owned(),
            verdict => format!("{} {seconds:.1}", verdict.word()),
        }
    }
}

/// The distinct labels, in order of first appearance.
fn distinct<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut distinct = Vec::new();
    for label in labels {
        if !distinct.contains(&label) {
            distinct.push(label);
        }
    }
    distinct
}

/// Minimum width of a column, in characters.
const CELL_WIDTH: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case;

    pub(super) fn cells() -> Vec<Cell> {
        let cases = case::all();
        let cell = |(index, case): (usize, &Case)| Cell {
            case: *case,
            verdict: match index {
                0 => Verdict::Fail("one <reason>".to_owned()),
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
        assert_eq!(count("fail 1.2"), 1);
        assert_eq!(count("pass 1.2"), cells().len() - 2);
        let passed = cells().len() - 2;
        let summary = format!("{passed} pass, 1 fail, 1 not supported by the peer\n");
        assert!(table.ends_with(&summary), "{table}");
        assert!(!table.contains('\x1b'));
    }

    #[test]
    fn failed_cell_prints_the_command_that_repeats_it() {
        let cell = &cells()[0];
        let text = cell.explain(7);
        assert!(text.contains("one <reason>"), "{text}");
        let again = format!("--seed 7 --case {}", cell.case);
        assert!(text.ends_with(&again), "{text}");
    }
}
