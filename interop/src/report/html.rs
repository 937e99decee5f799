//! Results as one self-contained HTML page.

use std::fmt::Write as _;

use super::{Cell, Table, Verdict, repeat_command, summary, tables};

/// Formats the cells as a page with a matrix for each peer: green for pass, red for fail, grey for not
/// supported by the peer. The tooltip of a cell shows its case and, for a failure, the reason and the command that
/// repeats it. Failures are also listed at the top.
#[must_use]
pub fn html(cells: &[Cell], seed: u64) -> String {
    let mut page = HEAD.to_owned();
    // Writing to a string cannot fail.
    let _ = writeln!(page, "<p>{}; seed {seed}</p>", escape(&summary(cells)));
    failures(&mut page, cells, seed);
    for table in tables(cells) {
        matrix(&mut page, &table, seed);
    }
    page + "</html>\n"
}

fn failures(page: &mut String, cells: &[Cell], seed: u64) {
    let failed: Vec<&Cell> = cells.iter().filter(|cell| !cell.is_ok()).collect();
    if failed.is_empty() {
        return;
    }
    page.push_str("<h2>Failures</h2>\n");
    for cell in failed {
        let _ = writeln!(page, "<pre>{}</pre>", escape(&cell.explain(seed)));
    }
}

fn matrix(page: &mut String, table: &Table<'_>, seed: u64) {
    let title = escape(&table.title);
    let _ = writeln!(page, "<h2>{title}</h2>\n<table>\n<tr><th></th>");
    for column in &table.columns {
        let _ = write!(page, "<th>{}</th>", escape(column));
    }
    page.push_str("</tr>\n");
    for (row, cells) in &table.rows {
        let _ = write!(page, "<tr><th scope=\"row\">{}</th>", escape(row));
        for cell in cells {
            match cell {
                Some(cell) => write_cell(page, cell, seed),
                None => page.push_str("<td></td>"),
            }
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
}

fn write_cell(page: &mut String, cell: &Cell, seed: u64) {
    let Cell { case, verdict, .. } = cell;
    let hint = match verdict {
        Verdict::Fail(reason) => format!("{case}\n{reason}\n{}", repeat_command(case, seed)),
        Verdict::Unsupported(reason) => format!("{case}\nnot supported by the peer: {reason}"),
        Verdict::Pass => case.to_string(),
    };
    let (class, hint) = (verdict.word(), escape(&hint));
    let shown = match verdict {
        // The reason is visible without the tooltip too.
        Verdict::Unsupported(reason) => format!("n/a<small>{}</small>", escape(reason)),
        _ => escape(&cell.shown()),
    };
    let _ = write!(page, "<td class=\"{class}\" title=\"{hint}\">{shown}</td>");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<title>Interoperability</title>
<style>
body { font: 14px sans-serif; margin: 2em; color: #222; background: #fff }
table { border-collapse: collapse; margin-bottom: 2em }
th, td { padding: .2em .6em; border: 1px solid #ccc; text-align: center; font-weight: normal }
th[scope=row] { text-align: left }
td.pass { background: #c8ecc8 }
td.fail { background: #f4b0b0; font-weight: bold }
td.unsupported { background: #e4e4e4 }
td small { display: block; max-width: 12em; color: #555 }
pre { white-space: pre-wrap }
</style>
<h1>Interoperability</h1>
";

#[cfg(test)]
mod tests {
    use super::super::tests::cells;
    use super::*;

    #[test]
    fn page_shows_every_cell_and_is_self_contained() {
        let page = html(&cells(), 1);
        let count = |class: &str| page.matches(&format!("<td class=\"{class}\"")).count();
        assert_eq!((count("fail"), count("unsupported")), (1, 1));
        assert_eq!(count("pass"), cells().len() - 2);
        assert!(page.contains("one &lt;reason&gt;"), "escaped");
        assert!(
            page.contains("another</small>"),
            "the reason why it is not supported"
        );
        assert!(!page.contains("http") && !page.contains("src="));
    }
}
