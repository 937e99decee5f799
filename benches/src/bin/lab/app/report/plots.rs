//! The plots of a report.

use super::summary::Summary;
use super::svg::{Axis, Plot, Series};

const LOSS: Axis = Axis {
    label: "loss each way, %",
    is_log: false,
    from_zero: true,
};

const LATENCY: Axis = Axis {
    label: "latency, ms",
    is_log: true,
    from_zero: false,
};

/// The plots of a workload. For calls: p99 against loss, bytes against p99, and the distribution of latencies for each
/// link. For uploads: goodput against loss.
pub(crate) fn of_workload(summaries: &[&Summary]) -> Vec<Plot> {
    let Some(first) = summaries.first() else {
        return Vec::new();
    };
    let name = first.cell.workload.name;
    let mut plots = Vec::new();
    let plain: Vec<_> = summaries
        .iter()
        .copied()
        .filter(|one| is_plain_loss(one))
        .collect();
    let against_loss = |title: String, y: Axis, value: &dyn Fn(&Summary) -> Option<f64>| Plot {
        title,
        x: LOSS,
        y,
        series: by_subject(&plain, true, |one| {
            vec![(one.cell.link.up.loss * 100.0, value(one)?)].into()
        }),
    };
    if summaries.iter().any(|one| !one.latencies.is_empty()) {
        let p99 = |one: &Summary| one.latency_ms(0.99);
        plots.push(against_loss(
            format!("{name}: p99 against loss"),
            LATENCY,
            &p99,
        ));
        plots.push(Plot {
            title: format!("{name}: bytes against p99, all losses"),
            x: LATENCY,
            y: Axis {
                label: "IP bytes for each useful byte",
                is_log: false,
                from_zero: true,
            },
            series: by_subject(&plain, false, |one| Some(vec![(p99(one)?, one.bytes?)])),
        });
        for link in links(summaries) {
            plots.push(distribution(name, link, summaries));
        }
    }
    if summaries.iter().any(|one| one.mbit_s.is_some()) {
        let axis = Axis {
            label: "Mbit/s",
            is_log: false,
            from_zero: true,
        };
        let goodput = |one: &Summary| one.mbit_s;
        plots.push(against_loss(
            format!("{name}: goodput against loss"),
            axis,
            &goodput,
        ));
    }
    plots.retain(|plot| plot.series.iter().any(|series| series.points.len() > 1));
    plots
}

/// Whether the link is one of those that differ only in their loss.
fn is_plain_loss(summary: &Summary) -> bool {
    summary.cell.link.name.starts_with("loss-")
}

fn links<'a>(summaries: &[&'a Summary]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for summary in summaries {
        let name = summary.cell.link.name.as_str();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn by_subject(
    summaries: &[&Summary],
    is_line: bool,
    points: impl Fn(&Summary) -> Option<Vec<(f64, f64)>>,
) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for summary in summaries {
        let Some(points) = points(summary) else {
            continue;
        };
        let name = summary.subject();
        match all.iter_mut().find(|series| series.name == name) {
            Some(series) => series.points.extend(points),
            None => all.push(Series {
                name,
                points,
                is_line,
            }),
        }
    }
    all
}

/// Plot of the percentage of calls that take longer than a given time, with logarithmic axes to show the tail.
fn distribution(workload: &str, link: &str, summaries: &[&Summary]) -> Plot {
    let here: Vec<_> = summaries
        .iter()
        .copied()
        .filter(|one| one.cell.link.name == link)
        .collect();
    Plot {
        title: format!("{workload} on {link}: calls that take longer"),
        x: LATENCY,
        y: Axis {
            label: "percent of calls",
            is_log: true,
            from_zero: false,
        },
        series: by_subject(&here, true, |one| Some(tail(&one.latencies))),
    }
}

/// Points of latency in milliseconds and percentage of the calls that take at least as long.
fn tail(latencies: &[u64]) -> Vec<(f64, f64)> {
    let count = latencies.len();
    let mut points = Vec::new();
    let mut longer = count;
    while longer > 0 {
        let latency = latencies[count - longer] as f64 / 1e3;
        points.push((latency, longer as f64 * 100.0 / count as f64));
        // Twenty points for each factor of e suffice for a smooth line. The end of the tail has every call.
        longer -= (longer / 20).max(1);
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_begins_with_all_calls_and_ends_with_the_longest() {
        let latencies: Vec<u64> = (1..=1000).map(|call| call * 1000).collect();
        let points = tail(&latencies);
        assert_eq!(points[0], (1.0, 100.0));
        assert_eq!(points[points.len() - 1], (1000.0, 0.1));
        assert!(points.len() < 150, "{}", points.len());
        assert!(points.is_sorted_by(|a, b| a.0 < b.0 && a.1 > b.1));
        assert!(tail(&[]).is_empty());
    }
}
