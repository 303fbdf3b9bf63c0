//! Charts over time (or any other number) as SVG within a page: axes with units, a legend, marked moments, bands. Colours
//! come from the page's style.

use super::grouped;
use super::html::escaped;

const WIDTH: f64 = 980.0;
const PLOT_HEIGHT: f64 = 190.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 16.0;
const BELOW: f64 = 46.0;
/// For the name of the y axis.
const ABOVE: f64 = 22.0;
/// A row of names of marks.
const ROW: f64 = 16.0;
const CHAR: f64 = 6.6;
const MAX_ROWS: usize = 6;
/// About this many lines across.
const TICKS: f64 = 5.0;

/// How values are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// A value holds until the next one.
    Step,
    /// The same, filled.
    Area,
    /// Straight from value to value.
    Line,
    /// A bar from each x on, this wide in units of x; bars of several series are stacked.
    Bars(f64),
}

/// Values with a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// In the legend.
    pub name: String,
    /// One of 6 colours.
    pub color: usize,
    /// How it is drawn.
    pub shape: Shape,
    /// x and y, by x. A value that is not a number is a gap.
    pub points: Vec<(f64, f64)>,
}

/// A moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Where.
    pub x: f64,
    /// A few words.
    pub name: String,
}

/// A chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// Name and unit of x.
    pub x_name: String,
    /// Name and unit of y, which begins at 0.
    pub y_name: String,
    /// From where to where.
    pub x_range: (f64, f64),
    /// y goes at least up to here.
    pub y_least: f64,
    /// In the order they are drawn.
    pub series: Vec<Series>,
    /// Dashed lines with a name.
    pub marks: Vec<Mark>,
    /// Grey areas from x to x, and what they mean.
    pub bands: Vec<(f64, f64)>,
    /// What the grey areas mean.
    pub band_name: String,
}

/// From values to places.
struct Scale {
    x: (f64, f64),
    y_top: f64,
    top: f64,
}

impl Scale {
    fn x(&self, x: f64) -> f64 {
        let (from, to) = self.x;
        LEFT + (x.clamp(from, to) - from) / (to - from) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, y: f64) -> f64 {
        self.top + PLOT_HEIGHT * (1.0 - (y / self.y_top).clamp(0.0, 1.0))
    }

    fn bottom(&self) -> f64 {
        self.top + PLOT_HEIGHT
    }
}

/// A step of 1, 2 or 5 times a power of ten that divides `range` about [`TICKS`] times.
pub(super) fn tick(range: f64) -> f64 {
    let rough = (range / TICKS).max(1e-9);
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= rough * 0.999).unwrap_or(10.0);
    factor * power
}

/// A value of an axis with steps of `tick`.
pub(super) fn number(value: f64, tick: f64) -> String {
    if tick >= 1.0 { grouped(value) } else { format!("{value:.*}", (-tick.log10()).ceil() as usize) }
}

impl Chart {
    /// Title, legend and drawing.
    pub fn figure(&self) -> String {
        let key = |color: &str, name: &str| format!("<span style=\"--key:var(--{color})\">{}</span>", escaped(name));
        let mut legend: String =
            self.series.iter().map(|series| key(&format!("c{}", series.color % 6), &series.name)).collect();
        if !self.bands.is_empty() {
            legend += &key("band", &self.band_name);
        }
        format!("<h3>{}</h3><div class=\"legend\">{legend}</div>{}", escaped(&self.title), self.svg())
    }

    fn svg(&self) -> String {
        let (from, to) = self.x_range;
        let x = if to > from { (from, to) } else { (from, from + 1.0) };
        let rows = self.rows(&Scale { x, y_top: 1.0, top: 0.0 });
        let top = ABOVE + ROW * rows.iter().map(|(_, row)| row + 1).max().unwrap_or(0) as f64;
        let most = self.highest();
        let highest = most.max(self.y_least).max(1e-9);
        let step = tick(highest);
        let scale = Scale { x, y_top: (highest / step).ceil() * step, top };
        let height = scale.bottom() + BELOW;
        let mut out =
            format!("<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{}\">\n", escaped(&self.title));
        self.axes(&scale, step, &mut out);
        for (from, to) in &self.bands {
            let (left, right) = (scale.x(*from), scale.x(*to));
            out += &format!(
                "<rect class=\"band\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{PLOT_HEIGHT}\"/>\n",
                (right - left).max(1.0)
            );
        }
        if most <= 0.0 {
            let (x, y) = (f64::midpoint(LEFT, WIDTH - RIGHT), top + PLOT_HEIGHT / 2.0);
            out += &format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">none</text>\n");
        }
        let mut stacked: Vec<(f64, f64)> = Vec::new();
        for series in &self.series {
            match series.shape {
                Shape::Bars(width) => bars(series, width, &scale, &mut stacked, &mut out),
                Shape::Step | Shape::Area | Shape::Line => curve(series, &scale, &mut out),
            }
        }
        for (mark, row) in &rows {
            let (x, y) = (scale.x(mark.x), ABOVE + ROW * (*row as f64) + 2.0);
            let end = x + mark.name.chars().count() as f64 * CHAR > WIDTH - 4.0;
            let (anchor, at) = if end { ("end", x - 4.0) } else { ("start", x + 4.0) };
            out += &format!(
                "<line class=\"mark\" x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\"/>\
                 <text class=\"marked\" x=\"{at:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n",
                y - 10.0,
                scale.bottom(),
                escaped(&mark.name)
            );
        }
        out + "</svg>"
    }

    fn axes(&self, scale: &Scale, y_step: f64, out: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, scale.bottom());
        let lines = (scale.y_top / y_step).round() as u32;
        for nth in 0..=lines {
            let value = f64::from(nth) * y_step;
            let y = scale.y(value);
            *out += &format!(
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                LEFT - 8.0,
                y + 4.0,
                number(value, y_step)
            );
        }
        let (from, to) = scale.x;
        let x_step = tick((to - from) / 2.0);
        let mut nth = (from / x_step).ceil();
        while nth * x_step <= to + x_step * 1e-6 {
            let x = scale.x(nth * x_step);
            *out += &format!(
                "<line class=\"axis\" x1=\"{x:.1}\" y1=\"{bottom:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                bottom + 5.0,
                bottom + 19.0,
                number(nth * x_step, x_step)
            );
            nth += 1.0;
        }
        *out += &format!(
            "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{bottom:.1}\" x2=\"{right}\" y2=\"{bottom:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text x=\"0\" y=\"12\">{}</text>\n",
            f64::midpoint(LEFT, right),
            bottom + 38.0,
            escaped(&self.x_name),
            escaped(&self.y_name)
        );
    }

    /// Every mark with the row of its name, so that names don't cover each other.
    fn rows(&self, scale: &Scale) -> Vec<(&Mark, usize)> {
        let mut marks: Vec<&Mark> = self.marks.iter().collect();
        marks.sort_by(|a, b| a.x.total_cmp(&b.x));
        let mut ends: Vec<f64> = Vec::new();
        let place = |mark: &Mark, ends: &mut Vec<f64>| {
            let x = scale.x(mark.x);
            let row = ends.iter().position(|end| *end < x).unwrap_or(ends.len()).min(MAX_ROWS - 1);
            ends.resize(ends.len().max(row + 1), 0.0);
            if let Some(end) = ends.get_mut(row) {
                *end = x + 12.0 + mark.name.chars().count() as f64 * CHAR;
            }
            row
        };
        marks.into_iter().map(|mark| (mark, place(mark, &mut ends))).collect()
    }

    fn highest(&self) -> f64 {
        let mut stacks: Vec<(f64, f64)> = Vec::new();
        let mut highest = 0.0_f64;
        for series in &self.series {
            for (x, y) in series.points.iter().filter(|(_, y)| y.is_finite()) {
                highest = highest.max(match series.shape {
                    Shape::Bars(_) => stack(&mut stacks, *x, *y) + y,
                    _ => *y,
                });
            }
        }
        highest
    }
}

/// Puts `y` on what stands at `x`; where it begins.
fn stack(stacks: &mut Vec<(f64, f64)>, x: f64, y: f64) -> f64 {
    match stacks.binary_search_by(|(at, _)| at.total_cmp(&x)) {
        Ok(place) => stacks.get_mut(place).map_or(0.0, |(_, height)| {
            let before = *height;
            *height += y;
            before
        }),
        Err(place) => {
            stacks.insert(place, (x, y));
            0.0
        }
    }
}

fn bars(series: &Series, width: f64, scale: &Scale, stacked: &mut Vec<(f64, f64)>, out: &mut String) {
    for (x, y) in series.points.iter().filter(|(_, y)| *y > 0.0) {
        let below = stack(stacked, *x, *y);
        let (left, right) = (scale.x(*x), scale.x(x + width));
        let (high, low) = (scale.y(below + y), scale.y(below));
        *out += &format!(
            "<rect fill=\"var(--c{})\" x=\"{left:.1}\" y=\"{high:.1}\" width=\"{:.1}\" height=\"{:.1}\">\
             <title>{}: {} at {x:.2}</title></rect>\n",
            series.color % 6,
            (right - left - 0.6).max(1.0),
            low - high,
            escaped(&series.name),
            grouped(*y)
        );
    }
}

fn curve(series: &Series, scale: &Scale, out: &mut String) {
    let mut runs: Vec<Vec<(f64, f64)>> = vec![Vec::new()];
    for (x, y) in &series.points {
        let (Some(run), true) = (runs.last_mut(), y.is_finite()) else {
            runs.push(Vec::new());
            continue;
        };
        let (px, py) = (scale.x(*x), scale.y(*y));
        if let (Some((_, before)), Shape::Step | Shape::Area) = (run.last().copied(), series.shape) {
            run.push((px, before));
        }
        run.push((px, py));
    }
    let color = series.color % 6;
    for run in runs.iter().filter(|run| !run.is_empty()) {
        let path: Vec<String> = run.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let path = path.join(" ");
        if let (Shape::Area, Some((first, _)), Some((last, _))) = (series.shape, run.first(), run.last()) {
            let bottom = scale.bottom();
            *out += &format!(
                "<polygon class=\"fill\" fill=\"var(--c{color})\" points=\"{first:.1},{bottom:.1} {path} {last:.1},{bottom:.1}\"/>\n"
            );
        }
        *out += &format!("<polyline class=\"line\" stroke=\"var(--c{color})\" points=\"{path}\"/>\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        let series = |name: &str, shape, points: &[(f64, f64)]| Series {
            name: name.into(),
            color: 0,
            shape,
            points: points.to_vec(),
        };
        Chart {
            title: "a < b".into(),
            x_name: "seconds".into(),
            y_name: "instances".into(),
            x_range: (-2.0, 10.0),
            y_least: 1.0,
            series: vec![
                series("line", Shape::Step, &[(0.0, 0.0), (1.0, 20.0), (2.0, f64::NAN), (3.0, 5.0)]),
                series("one", Shape::Bars(0.25), &[(1.0, 30.0)]),
                series("two", Shape::Bars(0.25), &[(1.0, 12.0), (2.0, 1.0)]),
            ],
            marks: vec![
                Mark { x: 0.0, name: "kill".into() },
                Mark { x: 0.01, name: "start".into() },
                Mark { x: 9.9, name: "complete".into() },
            ],
            bands: vec![(0.0, 0.5)],
            band_name: "down".into(),
        }
    }

    #[test]
    fn ticks_are_round() {
        for (range, wanted) in [(1.0, 0.2), (20.0, 5.0), (42.0, 10.0), (100.0, 20.0), (7.0, 2.0), (1234.0, 500.0)] {
            assert!((tick(range) - wanted).abs() < 1e-9, "{range}: {}", tick(range));
        }
        assert_eq!(
            (number(0.2, 0.2), number(1500.0, 500.0), number(0.05, 0.01)),
            ("0.2".into(), "1,500".into(), "0.05".into())
        );
    }

    #[test]
    fn bars_are_stacked_and_curves_have_gaps() {
        let chart = chart();
        assert!((chart.highest() - 42.0).abs() < 1e-9);
        let svg = chart.svg();
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches("<rect fill").count(), 3);
        assert!(svg.contains("aria-label=\"a &lt; b\"") && !svg.contains("NaN"));
        // Up to 50 in steps of 10, and only whole numbers.
        assert!(svg.contains(">50</text>") && !svg.contains(">60</text>"));
    }

    #[test]
    fn names_of_marks_do_not_cover_each_other() {
        let chart = chart();
        let rows = chart.rows(&Scale { x: (-2.0, 10.0), y_top: 1.0, top: 0.0 });
        assert_eq!(
            rows.iter().map(|(mark, row)| (mark.name.as_str(), *row)).collect::<Vec<_>>(),
            [("kill", 0), ("start", 1), ("complete", 0)]
        );
    }
}
