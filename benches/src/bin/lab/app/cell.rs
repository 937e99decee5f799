//! Cells, and their selection by patterns. A cell is one measurement: a workload of a subject on a link.

use crate::app::subjects::settings::Settings;
use crate::app::subjects::{self, SUBJECTS, Subject};
use crate::app::workloads::{self, Workload};
use kcp_benches::link::names;
use kcp_benches::link::spec::Link;

/// One measurement.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) link: Link,
    pub(crate) workload: Workload,
    pub(crate) subject: Subject,
    /// Settings of our transport, if it is a side of the subject.
    pub(crate) settings: Settings,
}

impl Cell {
    /// `LINK/WORKLOAD/SUBJECT`, followed by the settings if there are any.
    pub(crate) fn name(&self) -> String {
        let colon = if self.settings.0.is_empty() { "" } else { ":" };
        format!(
            "{}/{}/{}{colon}{}",
            self.link.name, self.workload.name, self.subject.name, self.settings.0
        )
    }
}

/// Cells that match the patterns, in the order of the patterns and without duplicates. Without patterns, all cells.
///
/// A pattern is `LINK/WORKLOAD/SUBJECT`. Each part is a name, or `*` for all valid combinations; parts may be left out
/// at the end, which means `*`. `losses` stands for the five links that differ only in their loss. A link may be given
/// by settings (`rtt=30+loss=3`). Settings of our transport follow its name after a colon
/// (`kcp:fec=10/3+window=4096`).
pub(crate) fn select(patterns: &[String]) -> Result<Vec<Cell>, String> {
    let everything = ["*".to_owned()];
    let patterns = if patterns.is_empty() {
        &everything
    } else {
        patterns
    };
    let mut cells: Vec<Cell> = Vec::new();
    for pattern in patterns {
        let mut parts = pattern.splitn(3, '/');
        let mut part = || parts.next().filter(|part| *part != "*" && !part.is_empty());
        let (link, workload, subject) = (part(), part(), part());
        for cell in matching(link, workload, subject)? {
            if cells.iter().all(|other| other.name() != cell.name()) {
                cells.push(cell);
            }
        }
    }
    Ok(cells)
}

fn matching(
    link: Option<&str>,
    workload: Option<&str>,
    subject: Option<&str>,
) -> Result<Vec<Cell>, String> {
    let workloads = match workload {
        Some(name) => vec![workloads::find(name)?],
        None => workloads::all(),
    };
    let subjects: Vec<(Subject, Settings)> = match subject {
        Some(text) => {
            let (name, settings) = text.split_once(':').unwrap_or((text, ""));
            vec![(subjects::find(name)?, Settings(settings.to_owned()))]
        }
        None => SUBJECTS
            .iter()
            .map(|subject| (subject.clone(), Settings::default()))
            .collect(),
    };
    let mut cells = Vec::new();
    for workload in workloads {
        let links = match link {
            Some(text) => names::find_all(text)?,
            None => workload
                .links
                .iter()
                .map(|name| names::find(name))
                .collect::<Result<_, _>>()?,
        };
        for link in links {
            for (subject, settings) in subjects.iter().filter(|(one, _)| workload.suits(one)) {
                cells.push(Cell {
                    link: link.clone(),
                    workload: workload.clone(),
                    subject: subject.clone(),
                    settings: settings.clone(),
                });
            }
        }
    }
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(patterns: &[&str]) -> Vec<String> {
        let patterns: Vec<_> = patterns.iter().map(|text| (*text).to_owned()).collect();
        let cells = select(&patterns).expect("valid");
        cells.iter().map(Cell::name).collect()
    }

    #[test]
    fn pattern_selects_one_cell_or_many() {
        assert_eq!(
            names(&["loss-5/unary-1k/kcp:fec=10/3"]),
            ["loss-5/unary-1k/kcp:fec=10/3"]
        );
        assert_eq!(names(&["loss-5/unary-1k"]).len(), SUBJECTS.len());
        assert_eq!(names(&["losses/unary-3/kcp"]).len(), 5);
        let uploads = names(&["*/bulk-10mb/quinn"]);
        assert!(uploads.contains(&"loss-20/bulk-10mb/quinn".to_owned()));
        let twice = names(&["*/bulk-10mb/quinn", "loss-0/bulk-10mb/quinn"]);
        assert_eq!(twice, uploads);
        assert_eq!(
            names(&["rtt=30+loss=3/unary-1k/tcp-bbr"]),
            ["rtt=30+loss=3/unary-1k/tcp-bbr"]
        );
    }

    #[test]
    fn grpc_subjects_have_no_uploads() {
        assert!(names(&["loss-5/bulk-10mb/tonic-kcp"]).is_empty());
        assert_eq!(names(&["loss-5/first-call/tonic-kcp"]).len(), 1);
    }

    #[test]
    fn unknown_names_are_refused() {
        for pattern in ["loss-7", "loss-5/unary", "loss-5/unary-1k/udp"] {
            assert!(select(&[pattern.to_owned()]).is_err(), "{pattern}");
        }
    }
}
