//! The charts of the overview: bars and lines of outcome counts, as SVG of 600 x 100 without
//! scripts.

use serde::Serialize;
use surefoot::Timestamp;
use surefoot::statistics::{Outcome, Span, Tally, percentile};

use super::i18n::Lang;
use super::text::{self, Zone};

/// The period that the charts cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Window {
    Hour,
    Day,
    Week,
}

impl Window {
    pub(crate) const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Week];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Week => "7d",
        }
    }

    pub(crate) fn parse(word: Option<&str>) -> Self {
        Self::ALL
            .into_iter()
            .find(|window| Some(window.word()) == word)
            .unwrap_or(Self::Hour)
    }

    /// The unit of the counts.
    pub(crate) const fn span(self) -> Span {
        match self {
            Self::Hour => Span::Minute,
            Self::Day | Self::Week => Span::Hour,
        }
    }

    /// The number of bars, and of spans per bar.
    const fn bars(self) -> (usize, i64) {
        match self {
            // With two or three runs per minute, percentiles per minute would be meaningless.
            Self::Hour => (20, 3),
            Self::Day => (24, 1),
            Self::Week => (42, 4),
        }
    }

    const fn micros(self) -> i64 {
        self.span().seconds() * 1_000_000 * self.bars().1
    }

    /// The start of the first bar.
    pub(crate) fn since(self, now: Timestamp) -> Timestamp {
        let (count, spans) = self.bars();
        let last = self.span().beginning(now).as_micros() + self.span().seconds() * 1_000_000;
        Timestamp::from_micros(
            last - i64::try_from(count).unwrap_or(0) * spans * self.span().seconds() * 1_000_000,
        )
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Chart {
    id: &'static str,
    legend: Vec<Key>,
    /// The value at the upper edge.
    top: String,
    summary: String,
    label: String,
    bars: Vec<Bar>,
    lines: Vec<Line>,
    spots: Vec<Spot>,
    ticks: Vec<String>,
    heads: Vec<&'static str>,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Key {
    name: &'static str,
    class: &'static str,
}

#[derive(Debug, Serialize)]
struct Bar {
    class: &'static str,
    x: String,
    y: String,
    width: String,
    height: String,
}

#[derive(Debug, Serialize)]
struct Line {
    class: &'static str,
    d: String,
}

#[derive(Debug, Serialize)]
struct Spot {
    x: String,
    width: String,
    title: String,
}

#[derive(Debug, Serialize)]
struct Row {
    at: String,
    cells: Vec<String>,
}

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 100.0;

/// The counts of one bar.
#[derive(Debug, Default)]
struct Bucket {
    completed: u64,
    failed: u64,
    cancelled: u64,
    tallies: Vec<Tally>,
}

impl Bucket {
    fn ended(&self) -> u64 {
        self.completed + self.failed + self.cancelled
    }

    /// Percentage of failures among the runs that were not cancelled.
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    fn failure_rate(&self) -> Option<f64> {
        let all = self.completed + self.failed;
        (all > 0).then(|| self.failed as f64 * 100.0 / all as f64)
    }

    fn percentile(&self, at: f64) -> Option<f64> {
        percentile(&self.tallies, at).map(|duration| duration.as_secs_f64())
    }
}

/// Draws the three charts.
pub(crate) struct ChartBuilder {
    lang: Lang,
    zone: Zone,
    window: Window,
    since: Timestamp,
    buckets: Vec<Bucket>,
}

impl ChartBuilder {
    pub(crate) fn new(
        lang: Lang,
        zone: Zone,
        window: Window,
        now: Timestamp,
        tallies: Vec<Tally>,
    ) -> Self {
        let since = window.since(now);
        let mut buckets: Vec<Bucket> = std::iter::repeat_with(Bucket::default)
            .take(window.bars().0)
            .collect();
        for tally in tallies {
            let index = (tally.at.as_micros() - since.as_micros()).div_euclid(window.micros());
            let Some(bucket) = usize::try_from(index)
                .ok()
                .and_then(|index| buckets.get_mut(index))
            else {
                continue;
            };
            match tally.outcome {
                Outcome::Completed => bucket.completed += tally.count,
                Outcome::Failed => bucket.failed += tally.count,
                Outcome::Cancelled => bucket.cancelled += tally.count,
                Outcome::Recovered => continue,
            }
            if tally.outcome == Outcome::Completed {
                bucket.tallies.push(tally);
            }
        }
        Self {
            lang,
            zone,
            window,
            since,
            buckets,
        }
    }

    pub(crate) fn all(&self) -> Vec<Chart> {
        vec![self.throughput(), self.durations(), self.failures()]
    }

    fn begins(&self, index: usize) -> Timestamp {
        Timestamp::from_micros(
            self.since.as_micros() + i64::try_from(index).unwrap_or(0) * self.window.micros(),
        )
    }

    fn time(&self, index: usize) -> String {
        match self.window {
            Window::Hour | Window::Day => self.zone.minute(self.begins(index)),
            Window::Week => self.zone.day(self.begins(index)),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a handful of bars")]
    fn position(&self, index: usize) -> (f64, f64) {
        let step = WIDTH / self.buckets.len() as f64;
        (index as f64 * step, step)
    }

    fn ticks(&self) -> Vec<String> {
        let count = self.buckets.len();
        (0..=4)
            .map(|quarter| self.time(count * quarter / 4))
            .collect()
    }

    fn spot(&self, index: usize, title: String) -> Spot {
        let (x, step) = self.position(index);
        Spot {
            x: coordinate(x),
            width: coordinate(step),
            title: format!("{} \u{b7} {title}", self.time(index)),
        }
    }

    fn bar(&self, index: usize, class: &'static str, from: f64, to: f64) -> Bar {
        let (x, step) = self.position(index);
        let y = HEIGHT * (1.0 - to);
        let height = HEIGHT * (to - from);
        Bar {
            class,
            x: coordinate(x + step * 0.1),
            y: coordinate(y),
            width: coordinate(step * 0.8),
            height: coordinate(height.max(0.8)),
        }
    }

    fn line(&self, class: &'static str, values: &[Option<f64>], highest: f64) -> Line {
        let mut d = String::new();
        let mut drawn = false;
        for (index, value) in values.iter().enumerate() {
            let (x, step) = self.position(index);
            if let Some(value) = value {
                let y = HEIGHT * (1.0 - value / highest);
                // Each point is a short stroke, so that an isolated one is visible.
                let verb = if drawn { 'L' } else { 'M' };
                d.push_str(&format!(
                    "{verb}{} {}H{}",
                    coordinate(x + step * 0.25),
                    coordinate(y),
                    coordinate(x + step * 0.75)
                ));
            }
            drawn = value.is_some();
        }
        Line { class, d }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts")]
    fn throughput(&self) -> Chart {
        let highest = round_up(
            self.buckets
                .iter()
                .map(Bucket::ended)
                .max()
                .unwrap_or(0)
                .max(1) as f64,
        );
        let mut chart = self.chart(
            "throughput",
            &[
                ("completed", "c-completed"),
                ("failed", "c-failed"),
                ("cancelled", "c-cancelled"),
            ],
        );
        chart.top = format!("{highest}");
        let total: u64 = self.buckets.iter().map(Bucket::ended).sum();
        chart.summary = self
            .lang
            .text("chart.ended", &[("count", &text::number(total))]);
        for (index, bucket) in self
            .buckets
            .iter()
            .enumerate()
            .filter(|(_, bucket)| bucket.ended() > 0)
        {
            let mut from = 0.0;
            let counts = [bucket.completed, bucket.failed, bucket.cancelled];
            for (count, class) in counts
                .into_iter()
                .zip(["c-completed", "c-failed", "c-cancelled"])
                .filter(|(count, _)| *count > 0)
            {
                let to = from + count as f64 / highest;
                chart.bars.push(self.bar(index, class, from, to));
                from = to;
            }
            self.add_values(&mut chart, index, counts.map(text::number).to_vec());
        }
        chart.finish(self.lang)
    }

    fn durations(&self) -> Chart {
        let of = |at: f64| {
            self.buckets
                .iter()
                .map(|bucket| bucket.percentile(at))
                .collect::<Vec<_>>()
        };
        let p50 = of(0.5);
        let p95 = of(0.95);
        let highest = round_up(p95.iter().flatten().copied().fold(0.001, f64::max));
        let mut chart = self.chart("durations", &[("p50", "p50"), ("p95", "p95")]);
        let read = |seconds: Option<f64>| seconds.map_or_else(String::new, seconds_text);
        chart.top = seconds_text(highest);
        let all = || self.buckets.iter().flat_map(|bucket| &bucket.tallies);
        let overall = |at| percentile(all(), at).map(|duration| duration.as_secs_f64());
        if let (Some(half), Some(most)) = (overall(0.5), overall(0.95)) {
            chart.summary = self.lang.text(
                "chart.took",
                &[("p50", &seconds_text(half)), ("p95", &seconds_text(most))],
            );
        }
        chart.lines = vec![
            self.line("p95", &p95, highest),
            self.line("p50", &p50, highest),
        ];
        for index in (0..self.buckets.len()).filter(|index| p50[*index].is_some()) {
            self.add_values(&mut chart, index, vec![read(p50[index]), read(p95[index])]);
        }
        chart.finish(self.lang)
    }

    fn failures(&self) -> Chart {
        let highest = self
            .buckets
            .iter()
            .filter_map(Bucket::failure_rate)
            .fold(10.0, f64::max);
        let highest = if highest > 10.0 { 100.0 } else { 10.0 };
        let mut chart = self.chart("failures", &[("failed", "c-failed")]);
        chart.top = format!("{highest} %");
        let sum = |of: fn(&Bucket) -> u64| self.buckets.iter().map(of).sum::<u64>();
        let all = Bucket {
            completed: sum(|bucket| bucket.completed),
            failed: sum(|bucket| bucket.failed),
            ..Bucket::default()
        };
        let rate = all.failure_rate().map_or_else(|| "0 %".to_owned(), percent);
        chart.summary = self.lang.text(
            "chart.failed",
            &[("count", &text::number(all.failed)), ("rate", &rate)],
        );
        for (index, bucket) in self.buckets.iter().enumerate() {
            let Some(rate) = bucket.failure_rate() else {
                continue;
            };
            if rate > 0.0 {
                chart
                    .bars
                    .push(self.bar(index, "c-failed", 0.0, rate / highest));
            }
            self.add_values(
                &mut chart,
                index,
                vec![format!(
                    "{} ({})",
                    text::number(bucket.failed),
                    percent(rate)
                )],
            );
        }
        chart.finish(self.lang)
    }

    fn chart(&self, id: &'static str, keys: &[(&'static str, &'static str)]) -> Chart {
        Chart {
            id,
            legend: keys
                .iter()
                .map(|&(name, class)| Key { name, class })
                .collect(),
            top: String::new(),
            summary: String::new(),
            label: String::new(),
            bars: Vec::new(),
            lines: Vec::new(),
            spots: Vec::new(),
            ticks: self.ticks(),
            heads: keys.iter().map(|&(name, _)| name).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a bar's values to the table and to its tooltip.
    fn add_values(&self, chart: &mut Chart, index: usize, cells: Vec<String>) {
        let values = chart.heads.iter().zip(&cells).map(|(head, cell)| {
            format!(
                "{} {cell}",
                self.lang.text(&format!("chart.key.{head}"), &[])
            )
        });
        let title = values.collect::<Vec<_>>().join(", ");
        chart.spots.push(self.spot(index, title));
        chart.rows.push(Row {
            at: self.time(index),
            cells,
        });
    }
}

impl Chart {
    /// Orders the table newest first and sets the label for screen readers.
    fn finish(mut self, lang: Lang) -> Self {
        self.rows.reverse();
        self.label = format!(
            "{}: {}",
            lang.text(&format!("chart.{}", self.id), &[]),
            self.summary
        );
        self
    }
}

fn percent(rate: f64) -> String {
    if rate == 0.0 || rate >= 10.0 {
        format!("{rate:.0} %")
    } else {
        format!("{rate:.1} %")
    }
}

fn seconds_text(seconds: f64) -> String {
    text::duration(std::time::Duration::from_secs_f64(seconds.clamp(0.0, 1e9)))
}

/// The smallest number of the form 1, 2 or 5 times a power of ten that is not below `value`.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|round| *round >= value * 0.999_999)
        .unwrap_or(value)
}

/// A coordinate with as few digits as are visible.
fn coordinate(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0")
        .map_or_else(|| text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use surefoot::statistics::slot_of;

    use super::*;

    fn tally(minute: i64, outcome: Outcome, count: u64) -> Tally {
        let slot = slot_of(std::time::Duration::from_secs(2));
        Tally {
            at: Timestamp::from_micros(minute * 60_000_000),
            queue: "q".to_owned(),
            outcome,
            slot,
            count,
        }
    }

    fn builder(tallies: Vec<Tally>) -> ChartBuilder {
        let now = Timestamp::from_micros(1000 * 60_000_000 + 30_000_000);
        ChartBuilder::new(Lang::En, Zone(0), Window::Hour, now, tallies)
    }

    #[test]
    fn the_bars_cover_the_last_hour_to_the_current_minute() {
        let builder = builder(vec![
            tally(1000, Outcome::Completed, 3),
            tally(941, Outcome::Failed, 1),
            tally(940, Outcome::Failed, 50),
            tally(1000, Outcome::Recovered, 7),
        ]);
        assert_eq!(
            (builder.buckets[19].completed, builder.buckets[19].ended()),
            (3, 3)
        );
        assert_eq!(builder.buckets[0].failed, 1);
        assert_eq!(builder.buckets.iter().map(Bucket::ended).sum::<u64>(), 4);
        let chart = builder.throughput();
        assert_eq!(
            (chart.bars.len(), chart.top.as_str(), chart.summary.as_str()),
            (2, "5", "4 runs ended")
        );
        assert_eq!(chart.rows[0].at, "16:38");
    }

    #[test]
    fn failures_are_a_share_of_runs_not_cancelled() {
        let builder = builder(vec![
            tally(1000, Outcome::Completed, 3),
            tally(1000, Outcome::Failed, 1),
            tally(1000, Outcome::Cancelled, 9),
        ]);
        let chart = builder.failures();
        assert_eq!(chart.rows[0].cells, ["1 (25 %)"]);
        assert_eq!(
            (chart.bars[0].y.as_str(), chart.bars[0].height.as_str()),
            ("75", "25")
        );
    }

    #[test]
    fn charts_without_data_are_drawn() {
        for window in Window::ALL {
            let charts = ChartBuilder::new(
                Lang::Zh,
                Zone(480),
                window,
                Timestamp::from_micros(0),
                Vec::new(),
            )
            .all();
            assert_eq!(charts.len(), 3);
        }
        assert_eq!(
            (
                round_up(1.0),
                round_up(3.0),
                round_up(0.07),
                round_up(501.0)
            ),
            (1.0, 5.0, 0.1, 1000.0)
        );
    }
}
