//! Prometheus's text format, version 0.0.4: one line per sample, the type of each metric before its
//! first sample.

use std::fmt::Write as _;

/// A metrics page under construction.
#[derive(Debug, Default)]
pub(crate) struct Page(String);

/// The content type of a page.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) type Labels<'a> = &'a [(&'a str, &'a str)];

impl Page {
    /// Begins a metric. The samples that follow belong to it.
    pub(crate) fn metric(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    pub(crate) fn sample(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        let labels = format_labels(labels);
        self.line(format_args!("{name}{labels} {value}"));
    }

    /// The samples of a histogram: the cumulative count per bound, the total count and the sum.
    pub(crate) fn histogram(
        &mut self,
        name: &str,
        labels: Labels<'_>,
        buckets: impl IntoIterator<Item = (f64, u64)>,
        count: u64,
        sum: f64,
    ) {
        let bucket = format!("{name}_bucket");
        for (bound, seen) in buckets {
            self.bucket(&bucket, labels, &bound.to_string(), seen);
        }
        self.bucket(&bucket, labels, "+Inf", count);
        let labels = format_labels(labels);
        self.line(format_args!("{name}_sum{labels} {sum}"));
        self.line(format_args!("{name}_count{labels} {count}"));
    }

    fn bucket(&mut self, name: &str, labels: Labels<'_>, bound: &str, seen: u64) {
        let labels: Vec<_> = labels.iter().copied().chain([("le", bound)]).collect();
        let labels = format_labels(&labels);
        self.line(format_args!("{name}{labels} {seen}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{line}");
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }
}

fn format_labels(labels: Labels<'_>) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escape = |value: &str| {
        value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    };
    let pairs: Vec<_> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
        .collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_written_as_prometheus_reads_them() {
        let mut page = Page::default();
        page.metric("jobs", "gauge", "Jobs.");
        page.sample("jobs", &[("queue", "a\"b\\c\nd")], 3.0);
        page.sample("jobs", &[], 0.5);
        page.metric("took", "histogram", "Time.");
        page.histogram("took", &[("q", "x")], [(0.5, 1), (1.0, 2)], 3, 4.25);
        let expect = "# HELP jobs Jobs.\n# TYPE jobs gauge\njobs{queue=\"a\\\"b\\\\c\\nd\"} 3\njobs 0.5\n\
                      # HELP took Time.\n# TYPE took histogram\ntook_bucket{q=\"x\",le=\"0.5\"} 1\n\
                      took_bucket{q=\"x\",le=\"1\"} 2\ntook_bucket{q=\"x\",le=\"+Inf\"} 3\n\
                      took_sum{q=\"x\"} 4.25\ntook_count{q=\"x\"} 3\n";
        assert_eq!(page.finish(), expect);
    }
}
