//! The report: one self-contained HTML page, and its plots as files.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use super::plots;
use super::row::Row;
use super::summary::Summary;
use super::svg::{Plot, escape};

/// Writes `index.html` and a file for each plot to the directory, which is created if it does not exist.
pub(crate) fn write(directory: &Path, rows: &[Row], command: &str) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut plots = Vec::new();
    fs::write(
        directory.join("index.html"),
        render(rows, command, &mut plots),
    )?;
    for plot in plots {
        let file = directory.join(plot.file_name());
        fs::write(file, plot.to_file(SVG_STYLE))?;
    }
    Ok(())
}

/// Renders the page. Its plots are added to `plots`.
fn render(rows: &[Row], command: &str, plots: &mut Vec<Plot>) -> String {
    let summaries = Summary::all(rows);
    let mut workloads: Vec<&str> = Vec::new();
    for summary in &summaries {
        if !workloads.contains(&summary.cell.workload.name) {
            workloads.push(summary.cell.workload.name);
        }
    }
    let mut page = format!(
        "<!DOCTYPE html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>Lossy links</title><style>{STYLE}{SVG_STYLE}</style><h1>Lossy links</h1><p>{}</p><p><code>{}</code></p>",
        escape(&machine()),
        escape(command)
    );
    for workload in workloads {
        let here: Vec<_> = summaries
            .iter()
            .filter(|one| one.cell.workload.name == workload)
            .collect();
        let about = here.first().map_or("", |one| one.cell.workload.about);
        // Writing to a String cannot fail.
        let _ = write!(page, "<h2>{workload}</h2><p>{}</p>", escape(about));
        table(&mut page, &here);
        for plot in plots::of_workload(&here) {
            page.push_str(&plot.to_svg());
            plots.push(plot);
        }
    }
    page + "</html>\n"
}

/// Rows of one link are beside each other. Columns without a value are left out.
fn table(page: &mut String, summaries: &[&Summary]) {
    let mut rows = summaries.to_vec();
    let first = |one: &&Summary| {
        let link = &one.cell.link.name;
        summaries.iter().position(|it| it.cell.link.name == *link)
    };
    rows.sort_by_key(first);
    let figures: Vec<_> = rows.iter().map(|one| figures(one)).collect();
    let shown: Vec<usize> = (0..COLUMNS.len())
        .filter(|column| figures.iter().any(|row| !row[*column].is_empty()))
        .collect();
    page.push_str("<table><tr><th>link<th>subject");
    for column in &shown {
        let _ = write!(page, "<th>{}", COLUMNS[*column]);
    }
    page.push_str("</tr>");
    let mut link = "";
    for (one, figures) in rows.iter().zip(&figures) {
        let class = if one.cell.link.name == link {
            ""
        } else {
            " class='first'"
        };
        link = &one.cell.link.name;
        let subject = escape(&one.subject());
        let _ = write!(page, "<tr{class}><td>{}<td>{subject}", escape(link));
        if let Some(failure) = &one.failure {
            let (span, failure) = (shown.len().max(1), escape(failure));
            let _ = write!(page, "<td colspan='{span}'>{failure}");
        } else {
            for column in &shown {
                let _ = write!(page, "<td>{}", figures[*column]);
            }
        }
        page.push_str("</tr>");
    }
    page.push_str("</table>");
}

/// The figures of a row, in the order of [`COLUMNS`]; empty where there is none.
fn figures(one: &Summary) -> [String; COLUMNS.len()] {
    if one.failure.is_some() {
        return Default::default();
    }
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(String::new, |value| format!("{value:.digits$}"))
    };
    let latency = |part| number(one.latency_ms(part), 0);
    let shares: Vec<_> = one.shares.iter().map(|part| format!("{part:.0}")).collect();
    [
        latency(0.5),
        latency(0.9),
        latency(0.99),
        latency(0.999),
        latency(1.0),
        number(one.mbit_s, 1),
        number(one.bytes, 2),
        number(one.rtt_ms, 1),
        number(one.drops, 0),
        number(one.cpu_s, 2),
        shares.join(" "),
    ]
}

/// The headings of [`figures`].
const COLUMNS: [&str; 11] = [
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "p99.9 ms",
    "max ms",
    "Mbit/s",
    "IP bytes/byte",
    "mean RTT ms",
    "drops",
    "CPU s",
    "shares %",
];

/// Description of the machine.
pub(crate) fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores of {model}, Linux {}", kernel.trim())
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}table{border-collapse:collapse;font-size:13px;width:100%;margin:1em 0}td,th{padding:.15em .5em;text-align:right}td:first-child,td:nth-child(2),th:first-child,th:nth-child(2){text-align:left}tr.first td{border-top:1px solid #ccc}svg{width:100%;height:auto;margin:1em 0}";

/// Style of the plots, in the page and as files.
const SVG_STYLE: &str = "svg{font:11px system-ui,sans-serif}.title{font-size:14px;font-weight:600}.grid{stroke:#e4e4e4;fill:none}.label{fill:#666}";
