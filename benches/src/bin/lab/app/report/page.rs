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

fn table(page: &mut String, summaries: &[&Summary]) {
    page.push_str("<table><tr><th>link<th>subject<th>p50<th>p90<th>p99<th>p99.9<th>max ms<th>Mbit/s<th>bytes<th>mean RTT<th>drops<th>CPU s<th>shares %</tr>");
    let mut link = "";
    for one in summaries {
        let class = if one.cell.link.name == link {
            ""
        } else {
            " class='first'"
        };
        link = &one.cell.link.name;
        let mut cells = vec![escape(link), escape(&one.subject())];
        if let Some(failure) = &one.failure {
            let _ = write!(
                page,
                "<tr{class}><td>{}<td colspan='11'>{}</tr>",
                cells.join("<td>"),
                escape(failure)
            );
            continue;
        }
        let number = |value: Option<f64>, digits: usize| {
            value.map_or_else(String::new, |value| format!("{value:.digits$}"))
        };
        for part in [0.5, 0.9, 0.99, 0.999, 1.0] {
            cells.push(number(one.latency_ms(part), 0));
        }
        cells.push(number(one.mbit_s, 1));
        cells.push(number(one.bytes, 2));
        cells.push(number(one.rtt_ms, 1));
        cells.push(number(one.drops, 0));
        cells.push(number(one.cpu_s, 2));
        let shares: Vec<_> = one.shares.iter().map(|part| format!("{part:.0}")).collect();
        cells.push(shares.join(" "));
        let _ = write!(page, "<tr{class}><td>{}</tr>", cells.join("<td>"));
    }
    page.push_str("</table>");
}

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
