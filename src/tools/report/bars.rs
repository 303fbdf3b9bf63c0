//! Bars side by side as SVG within a page: groups along the x axis, in each a bar for each series, with whiskers, values
//! above the bars and lines to compare with. Colours come from the page's style.

use super::chart::{number, tick};
use super::grouped;
use super::html::escaped;

const WIDTH: f64 = 980.0;
const PLOT_HEIGHT: f64 = 230.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 16.0;
/// For the name of the y axis and the values above the highest bar.
const ABOVE: f64 = 34.0;
const BELOW: f64 = 30.0;
/// Share of a group that stays free.
const GAP: f64 = 0.22;
const MAX_BAR: f64 = 90.0;
/// A value above a narrower bar would run into the next one.
const LABEL_WIDTH: f64 = 34.0;

/// One bar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// From 0 to here.
    pub value: f64,
    /// A whisker up to here; its value is the one that is written above.
    pub whisker: Option<f64>,
}

/// Bars of one colour, one in each group.
#[derive(Debug, Clone, PartialEq)]
pub struct BarSeries {
    /// In the legend.
    pub name: String,
    /// One of 6 colours.
    pub color: usize,
    /// By group; without one the place stays empty.
    pub bars: Vec<Option<Bar>>,
}

/// A dashed line across, named in the legend.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// Where.
    pub value: f64,
    /// A few words.
    pub name: String,
}

/// A chart of bars.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bars {
    /// What it shows.
    pub title: String,
    /// Name and unit of y, which begins at 0.
    pub y_name: String,
    /// Names along the x axis.
    pub groups: Vec<String>,
    /// In the order they stand in a group.
    pub series: Vec<BarSeries>,
    /// To compare with.
    pub levels: Vec<Level>,
}

impl Bars {
    /// Title, legend and drawing.
    pub fn figure(&self) -> String {
        let key = |series: &BarSeries| {
            format!("<span style=\"--key:var(--c{})\">{}</span>", series.color % 6, escaped(&series.name))
        };
        // In the drawing its name would lie on bars.
        let line = |level: &Level| format!("<span style=\"--key:none\">dashed: {}</span>", escaped(&level.name));
        let legend: String = self.series.iter().map(key).chain(self.levels.iter().map(line)).collect();
        format!("<h3>{}</h3><div class=\"legend\">{legend}</div>{}", escaped(&self.title), self.svg())
    }

    fn highest(&self) -> f64 {
        let bars = self.series.iter().flat_map(|series| &series.bars).flatten();
        let tops = bars.map(|bar| bar.whisker.unwrap_or(bar.value).max(bar.value));
        let levels = self.levels.iter().map(|level| level.value);
        tops.chain(levels).filter(|top| top.is_finite()).fold(0.0, f64::max).max(1e-9)
    }

    fn svg(&self) -> String {
        let highest = self.highest();
        let step = tick(highest);
        let top = (highest / step).ceil() * step;
        let y = |value: f64| ABOVE + PLOT_HEIGHT * (1.0 - (value / top).clamp(0.0, 1.0));
        let (bottom, right) = (ABOVE + PLOT_HEIGHT, WIDTH - RIGHT);
        let title = escaped(&self.title);
        let mut out =
            format!("<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"{title}\">\n", bottom + BELOW);
        for nth in 0..=(top / step).round() as u32 {
            let value = f64::from(nth) * step;
            out += &format!(
                "<line class=\"{}\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                if nth == 0 { "axis" } else { "grid" },
                LEFT - 8.0,
                y(value) + 4.0,
                number(value, step),
                y = y(value)
            );
        }
        out += &format!("<text x=\"4\" y=\"12\">{}</text>\n", escaped(&self.y_name));
        let group_width = (right - LEFT) / self.groups.len().max(1) as f64;
        let bar_width = (group_width * (1.0 - GAP) / self.series.len().max(1) as f64).min(MAX_BAR);
        for (nth, name) in self.groups.iter().enumerate() {
            let middle = LEFT + group_width * (nth as f64 + 0.5);
            out += &format!(
                "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                bottom + 19.0,
                escaped(name)
            );
            let first = middle - bar_width * self.series.len() as f64 / 2.0;
            for (place, series) in self.series.iter().enumerate() {
                let Some(bar) = series.bars.get(nth).copied().flatten() else { continue };
                let left = first + bar_width * place as f64;
                out += &drawn(bar, series, name, (left, bar_width), &y);
            }
        }
        for level in &self.levels {
            let y = y(level.value);
            out += &format!("<line class=\"mark\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>\n");
        }
        out + "</svg>"
    }
}

/// A bar with its whisker and its value; `place` is its left end and its width, `y` where a value stands.
fn drawn(bar: Bar, series: &BarSeries, group: &str, place: (f64, f64), y: &dyn Fn(f64) -> f64) -> String {
    let (left, width) = place;
    let (high, low, middle) = (y(bar.value), y(0.0), left + width / 2.0);
    let up_to = bar.whisker.map(|top| format!(" to {}", short(top))).unwrap_or_default();
    let mut out = format!(
        "<rect fill=\"var(--c{})\" x=\"{:.1}\" y=\"{high:.1}\" width=\"{:.1}\" height=\"{:.1}\">\
         <title>{}, {}: {}{up_to}</title></rect>\n",
        series.color % 6,
        left + 1.0,
        (width - 2.0).max(1.0),
        (low - high).max(if bar.value > 0.0 { 1.0 } else { 0.0 }),
        escaped(&series.name),
        escaped(group),
        short(bar.value)
    );
    let mut top = high;
    if let Some(whisker) = bar.whisker {
        top = top.min(y(whisker));
        let cap = (width / 4.0).min(9.0);
        out += &format!(
            "<path d=\"M{middle:.1} {high:.1}V{top:.1}M{:.1} {top:.1}H{:.1}\" fill=\"none\" stroke=\"var(--ink)\" \
             stroke-width=\"1.4\"/>\n",
            middle - cap,
            middle + cap
        );
    }
    if width >= LABEL_WIDTH {
        let value = short(bar.whisker.unwrap_or(bar.value));
        out += &format!("<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{value}</text>\n", top - 5.0);
    }
    out
}

/// A value in few characters: three digits that count.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size >= 1e7 => format!("{:.0}M", value / 1e6),
        size if size >= 1e6 => format!("{:.1}M", value / 1e6),
        size if size >= 100.0 => grouped(value),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars() -> Bars {
        let bar = |value, whisker| Some(Bar { value, whisker });
        Bars {
            title: "a < b".into(),
            y_name: "requests/s".into(),
            groups: vec!["<one>".into(), "two".into()],
            series: vec![
                BarSeries { name: "x & y".into(), color: 0, bars: vec![bar(10.0, None), bar(20.0, Some(42.0))] },
                BarSeries { name: "z".into(), color: 7, bars: vec![None, bar(0.0, None)] },
            ],
            levels: vec![Level { value: 30.0, name: "floor".into() }],
        }
    }

    #[test]
    fn bars_stand_in_their_groups_and_in_proportion() {
        let svg = bars().svg();
        assert_eq!(svg.matches("<rect").count(), 3);
        // Up to 50 in steps of 10: a bar of 20 is two fifths of the height.
        assert!(svg.contains(">50</text>") && !svg.contains(">60</text>") && svg.contains("height=\"92.0\""), "{svg}");
        assert!(svg.contains("x &amp; y, two: 20.0 to 42.0") && svg.contains("class=\"mark\"") && !svg.contains("NaN"));
        assert!(
            bars().figure().contains("<h3>a &lt; b</h3>")
                && bars().figure().contains("dashed: floor")
                && !svg.contains("<one>")
        );
        assert!(Bars::default().svg().ends_with("</svg>"));
    }

    #[test]
    fn values_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.123, "0.12"),
            (12.34, "12.3"),
            (123.4, "123"),
            (12_345.0, "12,345"),
            (2.34e6, "2.3M"),
            (1.2e7, "12M"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
