//! Line plots as SVG.

use std::fmt::Write;

/// A series of points, drawn with or without a line.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
    pub(crate) is_line: bool,
}

/// A plot and its axes.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series>,
}

/// An axis.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    pub(crate) label: &'static str,
    pub(crate) is_log: bool,
    /// Whether the axis starts at 0 instead of the smallest value. Ignored by logarithmic axes.
    pub(crate) from_zero: bool,
}

/// The range of an axis.
struct Scale {
    low: f64,
    high: f64,
    is_log: bool,
}

impl Scale {
    fn of(axis: &Axis, values: impl Iterator<Item = f64> + Clone) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        let low = if axis.from_zero && !axis.is_log {
            0.0
        } else {
            low
        };
        let margin = if axis.is_log {
            high * 0.05
        } else {
            (high - low) * 0.05
        };
        Self {
            low,
            // The range must not be empty, even with a single value.
            high: (high + margin).max(low + 1e-6),
            is_log: axis.is_log,
        }
    }

    /// Position of a value on the axis, from 0 to 1.
    fn position(&self, value: f64) -> f64 {
        if self.is_log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    fn ticks(&self) -> Vec<f64> {
        if self.is_log {
            let decades = (-3..8).map(|power| 10_f64.powi(power));
            let ticks = decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|step| step * decade));
            let ticks: Vec<f64> = ticks
                .filter(|tick| (self.low..=self.high).contains(tick))
                .collect();
            // A short range has too few of them.
            if ticks.len() >= 2 {
                return ticks;
            }
        }
        let step = nice((self.high - self.low) / 6.0);
        let first = (self.low / step).ceil();
        (0..12)
            .map(|index| (first + f64::from(index)) * step)
            .take_while(|tick| *tick <= self.high)
            .collect()
    }
}

/// The next larger value that is 1, 2 or 5 times a power of ten.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let rounded = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    rounded
        .into_iter()
        .find(|value| *value >= step)
        .unwrap_or(step)
}

impl Plot {
    /// The plot as an SVG element; empty without points.
    pub(crate) fn to_svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        if points().next().is_none() {
            return String::new();
        }
        let x = Scale::of(&self.x, points().map(|point| point.0));
        let y = Scale::of(&self.y, points().map(|point| point.1));
        let at = |(px, py): (f64, f64)| {
            (
                LEFT + x.position(px) * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - y.position(py) * (HEIGHT - TOP - BOTTOM),
            )
        };
        let mut svg = format!(
            "<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{0}'><text x='{LEFT}' y='18' class='title'>{0}</text>",
            escape(&self.title)
        );
        self.draw_axes(&mut svg, &x, &y, at);
        for (index, series) in self.series.iter().enumerate() {
            draw_series(&mut svg, index, series, at);
        }
        svg + "</svg>"
    }

    /// The file name: the title in lower case, with hyphens.
    pub(crate) fn file_name(&self) -> String {
        let words = self.title.split(|it: char| !it.is_ascii_alphanumeric());
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        words.join("-").to_ascii_lowercase() + ".svg"
    }

    /// The plot as a standalone SVG file.
    pub(crate) fn to_file(&self, style: &str) -> String {
        let svg = self.to_svg();
        let attributes = svg.strip_prefix("<svg").unwrap_or(&svg);
        let (attributes, rest) = attributes.split_once('>').unwrap_or_default();
        format!(
            "<svg xmlns='http://www.w3.org/2000/svg'{attributes}><style>{style}</style><rect width='100%' height='100%' fill='#fff'/>{rest}\n"
        )
    }

    fn draw_axes(
        &self,
        svg: &mut String,
        x: &Scale,
        y: &Scale,
        at: impl Fn((f64, f64)) -> (f64, f64),
    ) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for tick in x.ticks() {
            let (px, _) = at((tick, y.low));
            push(
                svg,
                format_args!(
                    "<path d='M{px:.1} {TOP}V{bottom}' class='grid'/><text x='{px:.1}' y='{:.1}' text-anchor='middle'>{}</text>",
                    bottom + 14.0,
                    label(tick)
                ),
            );
        }
        for tick in y.ticks() {
            let (_, py) = at((x.low, tick));
            push(
                svg,
                format_args!(
                    "<path d='M{LEFT} {py:.1}H{right}' class='grid'/><text x='{:.1}' y='{:.1}' text-anchor='end'>{}</text>",
                    LEFT - 5.0,
                    py + 4.0,
                    label(tick)
                ),
            );
        }
        push(
            svg,
            format_args!(
                "<text x='{right}' y='{}' text-anchor='end' class='label'>{}</text><text x='12' y='{TOP}' transform='rotate(-90 12 {TOP})' text-anchor='end' class='label'>{}</text>",
                HEIGHT - 6.0,
                self.x.label,
                self.y.label
            ),
        );
    }
}

fn draw_series(
    svg: &mut String,
    index: usize,
    series: &Series,
    at: impl Fn((f64, f64)) -> (f64, f64),
) {
    let color = COLORS[index % COLORS.len()];
    // Dashed lines distinguish the series after all colours are used.
    let dash = if index < COLORS.len() {
        ""
    } else {
        " stroke-dasharray='5 3'"
    };
    let points: Vec<_> = series.points.iter().map(|point| at(*point)).collect();
    if series.is_line && points.len() > 1 {
        let path: Vec<_> = points
            .iter()
            .map(|(x, y)| format!("{x:.1} {y:.1}"))
            .collect();
        push(
            svg,
            format_args!(
                "<path d='M{}' fill='none' stroke='{color}' stroke-width='1.6'{dash}/>",
                path.join("L")
            ),
        );
    }
    if !series.is_line || points.len() < 20 {
        for (x, y) in &points {
            push(
                svg,
                format_args!(
                    "<circle cx='{x:.1}' cy='{y:.1}' r='3' fill='{color}'><title>{}</title></circle>",
                    escape(&series.name)
                ),
            );
        }
    }
    let y = TOP + 14.0 * index as f64;
    let x = WIDTH - RIGHT + 12.0;
    push(
        svg,
        format_args!(
            "<path d='M{x} {y}h16' stroke='{color}' stroke-width='3'{dash}/><text x='{}' y='{}'>{}</text>",
            x + 22.0,
            y + 4.0,
            escape(&series.name)
        ),
    );
}

fn push(svg: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = svg.write_fmt(text);
}

fn label(value: f64) -> String {
    if value >= 10.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}").trim_end_matches('0').to_owned()
    }
}

/// Escapes text for HTML, including attribute values.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\'' => escaped.push_str("&#39;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 56.0;
/// Room for the names of the series.
const RIGHT: f64 = 180.0;
const TOP: f64 = 32.0;
const BOTTOM: f64 = 40.0;

/// Colours that colour-blind readers can distinguish (Okabe and Ito).
const COLORS: [&str; 8] = [
    "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999933",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plot_contains_its_title_and_series() {
        let axis = |label, is_log| Axis {
            label,
            is_log,
            from_zero: true,
        };
        let plot = Plot {
            title: "a < b".to_owned(),
            x: axis("loss, %", false),
            y: axis("p99, ms", true),
            series: vec![Series {
                name: "kcp".to_owned(),
                points: vec![(0.0, 50.0), (20.0, 500.0)],
                is_line: true,
            }],
        };
        let svg = plot.to_svg();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>"));
        assert!(svg.contains("a &lt; b") && svg.contains(">kcp</text>"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert_eq!(plot.file_name(), "a-b.svg");
        let file = plot.to_file("text{}");
        assert!(file.starts_with("<svg xmlns='http://www.w3.org/2000/svg' viewBox="));
        assert!(file.contains("><style>text{}</style><rect ") && file.ends_with("</svg>\n"));
    }

    #[test]
    fn ticks_are_round_numbers() {
        let scale = Scale {
            low: 0.0,
            high: 94.0,
            is_log: false,
        };
        assert_eq!(scale.ticks(), [0.0, 20.0, 40.0, 60.0, 80.0]);
        let scale = Scale {
            low: 50.0,
            high: 600.0,
            is_log: true,
        };
        assert_eq!(scale.ticks(), [50.0, 100.0, 200.0, 500.0]);
        let scale = Scale {
            low: 50.5,
            high: 55.0,
            is_log: true,
        };
        assert_eq!(scale.ticks(), [51.0, 52.0, 53.0, 54.0, 55.0]);
    }
}
