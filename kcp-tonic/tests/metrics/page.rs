//! The text format of Prometheus.

use std::collections::BTreeMap;

/// Their values by their names.
type Labels = BTreeMap<String, String>;

/// A page, by the names of metrics.
#[derive(Default)]
pub(super) struct Page {
    pub(super) helps: BTreeMap<String, String>,
    pub(super) types: BTreeMap<String, String>,
    pub(super) samples: BTreeMap<String, Vec<(Labels, f64)>>,
}

impl Page {
    pub(super) fn parse(text: &str) -> Self {
        let mut page = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(
                    page.helps.insert(name.into(), help.into()).is_none(),
                    "{line}"
                );
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert!(
                    page.types.insert(name.into(), kind.into()).is_none(),
                    "{line}"
                );
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap();
                let labels = labels.strip_suffix('}').unwrap().split(',');
                let labels = labels.map(|label| {
                    let (name, value) = label.split_once('=').unwrap();
                    let value = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
                    (name.to_owned(), value.unwrap().to_owned())
                });
                let sample = (labels.collect(), value.parse().unwrap());
                page.samples.entry(name.into()).or_default().push(sample);
            }
        }
        page
    }

    pub(super) fn sum(&self, name: &str) -> f64 {
        let samples = self.samples.get(name).into_iter().flatten();
        samples.map(|(_, value)| value).sum()
    }
}
