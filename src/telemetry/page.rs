//! Figures as Prometheus reads them: text format 0.0.4, one family a name.

use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType, Summary};

use super::histogram::Spread;
use crate::error::{Error, Result};

/// Names and values of the labels of one figure.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// What a scrape is answered. Families stand in the order in which they began; those without a figure are left out.
#[derive(Debug, Default)]
pub struct Page {
    families: Vec<MetricFamily>,
}

/// One name and its figures; it stands on the page when it is dropped.
pub struct Family<'a> {
    page: &'a mut Page,
    family: MetricFamily,
}

impl Page {
    /// What can go up and down.
    pub fn gauge(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, help, MetricType::GAUGE)
    }

    /// What only grows while the process lives.
    pub fn counter(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, help, MetricType::COUNTER)
    }

    /// Count and sum, shown as `NAME_count` and `NAME_sum`.
    pub fn summary(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, help, MetricType::SUMMARY)
    }

    /// Counts by size, shown as `NAME_bucket`, `NAME_count` and `NAME_sum`.
    pub fn histogram(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, help, MetricType::HISTOGRAM)
    }

    fn family(&mut self, name: &str, help: &str, kind: MetricType) -> Family<'_> {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        Family { page: self, family }
    }

    /// The text.
    ///
    /// # Errors
    /// [`Error::Refused`] when the encoder finds a fault.
    pub fn text(&self) -> Result<String> {
        let text = TextEncoder::new().encode_to_string(&self.families);
        text.map_err(|error| Error::Refused(format!("the page of figures can't be written: {error}")))
    }
}

impl Drop for Family<'_> {
    fn drop(&mut self) {
        if !self.family.get_metric().is_empty() {
            self.page.families.push(std::mem::take(&mut self.family));
        }
    }
}

impl Family<'_> {
    /// Adds a figure. For [`Page::gauge`] and [`Page::counter`].
    pub fn put(&mut self, labels: Labels<'_>, value: f64) -> &mut Self {
        self.add(labels, |metric, kind| {
            if kind == MetricType::COUNTER {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            } else {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        })
    }

    /// The same for a whole number.
    pub fn count(&mut self, labels: Labels<'_>, value: u64) -> &mut Self {
        self.put(labels, value as f64)
    }

    /// Adds count and sum. For [`Page::summary`].
    pub fn sum(&mut self, labels: Labels<'_>, count: u64, sum: f64) -> &mut Self {
        self.add(labels, |metric, _| {
            let mut summary = Summary::default();
            summary.set_sample_count(count);
            summary.set_sample_sum(sum);
            metric.set_summary(summary);
        })
    }

    /// Adds counts by size; values are shown divided by `unit` (1,000,000 for microseconds, which are shown as seconds).
    /// For [`Page::histogram`].
    pub fn spread(&mut self, labels: Labels<'_>, spread: &Spread, unit: f64) -> &mut Self {
        let mut below = 0;
        let bucket = |(bound, count): (&u64, &u64)| {
            below += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound as f64 / unit);
            bucket.set_cumulative_count(below);
            bucket
        };
        let buckets = spread.bounds.iter().zip(&spread.counts).map(bucket).collect();
        self.add(labels, |metric, _| {
            let mut histogram = Histogram::default();
            histogram.set_bucket(buckets);
            histogram.set_sample_count(spread.count());
            histogram.set_sample_sum(spread.sum as f64 / unit);
            metric.set_histogram(histogram);
        })
    }

    fn add(&mut self, labels: Labels<'_>, fill: impl FnOnce(&mut Metric, MetricType)) -> &mut Self {
        let pair = |(name, value): &(&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        let mut metric = Metric::from_label(labels.iter().map(pair).collect());
        fill(&mut metric, self.family.get_field_type());
        self.family.mut_metric().push(metric);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::histogram;

    #[test]
    fn each_kind_has_the_form_of_the_text_format() {
        let sizes = histogram::Histogram::new(&[100, 2_000]);
        [50, 100, 1_500, 9_000].into_iter().for_each(|value| sizes.note(value));
        let mut page = Page::default();
        page.gauge("g", "A gauge.").put(&[], -1.0).put(&[("a", "b"), ("c", "")], 0.25);
        page.counter("c_total", "Two\nlines \\ one.").count(&[("uri", "/a\"b\\c\nd")], 1 << 40);
        page.summary("s", "").sum(&[], 3, 1.5);
        page.histogram("h_seconds", "").spread(&[("k", "v")], &sizes.spread(), 1_000_000.0);
        page.gauge("none", "Left out.");
        let lines = [
            "# HELP g A gauge.",
            "# TYPE g gauge",
            "g -1",
            "g{a=\"b\",c=\"\"} 0.25",
            "# HELP c_total Two\\nlines \\\\ one.",
            "# TYPE c_total counter",
            "c_total{uri=\"/a\\\"b\\\\c\\nd\"} 1099511627776",
            "# TYPE s summary",
            "s_sum 1.5",
            "s_count 3",
            "# TYPE h_seconds histogram",
            "h_seconds_bucket{k=\"v\",le=\"0.0001\"} 2",
            "h_seconds_bucket{k=\"v\",le=\"0.002\"} 3",
            "h_seconds_bucket{k=\"v\",le=\"+Inf\"} 4",
            "h_seconds_sum{k=\"v\"} 0.01065",
            "h_seconds_count{k=\"v\"} 4",
        ];
        let text = page.text().unwrap();
        assert_eq!(text.lines().collect::<Vec<_>>(), lines);
        assert!(openmetrics_parser::prometheus::parse_prometheus(&text.replace("g -1\n", "")).is_ok());
    }

    #[test]
    fn an_empty_page_is_an_empty_text() {
        assert_eq!(Page::default().text().as_deref(), Ok(""));
    }
}
