//! A plot of the training and validation loss over the steps, as SVG.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::write_atomic;
use crate::metrics_log::MetricsRecord;

/// The size of the image in pixels.
const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 450.0;
/// The edges of the area with the curves.
const LEFT: f64 = 72.0;
const RIGHT: f64 = WIDTH - 32.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = HEIGHT - 56.0;

/// Colours with a contrast of at least 3:1 on white and on the dark backgrounds of GitHub and editors.
const INK: &str = "#7c7c7c";
const TRAINING: &str = "#3b82f6";
const VALIDATION: &str = "#e8590c";

/// A loss axis whose largest value is at least this multiple of the smallest is logarithmic.
const LOG_RANGE: f64 = 20.0;
/// Fewer training losses are not smoothed. It is at least the smallest window.
const MIN_SMOOTHED: usize = 10;
/// At most this many validation losses are marked with circles.
const MAX_MARKED: usize = 60;

const MAX_DECIMALS: usize = 12;

/// A step and a loss, or their place in the image.
type Point = (f64, f64);

/// Plots `loss` and `eval_loss` over the steps. Returns an SVG document of 800 x 450 pixels, without a background and
/// scripts, for light and dark pages.
///
/// The thin line is `loss` as recorded. The thick one is its moving average over a 25th of the records, which is computed from
/// the logarithms if the axis is logarithmic. The loss axis is logarithmic if all losses are above 0 and the largest is at
/// least 20 times the smallest. Losses that are not finite are left out. A curve of very many records is reduced to the
/// extremes per pixel column.
pub fn loss_plot(records: &[MetricsRecord], title: &str) -> String {
    let training = points(records, |record| record.loss);
    let validation = points(records, |record| record.eval_loss);
    let mut svg = header(title);
    let all = || training.iter().chain(&validation).copied();
    let (Some(x), Some(y)) = (
        Axis::of_steps(all().map(|(step, _)| step)),
        Axis::of_losses(all().map(|(_, loss)| loss)),
    ) else {
        text(
            &mut svg,
            (WIDTH / 2.0, HEIGHT / 2.0),
            "middle",
            "no losses were recorded",
        );
        svg.push_str("</svg>\n");
        return svg;
    };
    grid(&mut svg, &x, &y);
    let place = |points: &[Point]| -> Vec<Point> {
        let place = |&(step, loss): &Point| (x.place(step), y.place(loss));
        points.iter().map(place).collect()
    };
    let places = place(&training);
    let smoothed = smoothed(&places);
    let (width, opacity) = if smoothed.is_empty() {
        (1.5, 1.0)
    } else {
        (1.0, 0.5)
    };
    let mut curves = vec![
        Curve {
            label: "training loss",
            colour: TRAINING,
            width,
            opacity,
            marked: training.len() < MIN_SMOOTHED,
            places,
        },
        Curve {
            label: "training loss, smoothed",
            colour: TRAINING,
            width: 2.2,
            opacity: 1.0,
            marked: false,
            places: smoothed,
        },
        Curve {
            label: "validation loss",
            colour: VALIDATION,
            width: 1.8,
            opacity: 1.0,
            marked: validation.len() <= MAX_MARKED,
            places: place(&validation),
        },
    ];
    curves.retain(|curve| !curve.places.is_empty());
    for curve in &curves {
        curve.draw(&mut svg);
    }
    legend(&mut svg, &curves);
    svg.push_str("</svg>\n");
    svg
}

/// The plot cannot be written, for example because the disk is full.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot be written: {source}", .path.display())]
pub struct PlotError {
    /// The file.
    pub path: PathBuf,
    /// The error of the operating system.
    pub source: io::Error,
}

/// Writes [`loss_plot`] into a file, which is replaced completely or not at all.
///
/// # Errors
///
/// Fails if the file cannot be written.
pub fn write_loss_plot(
    path: &Path,
    records: &[MetricsRecord],
    title: &str,
) -> Result<(), PlotError> {
    let svg = loss_plot(records, title);
    write_atomic(path, svg.as_bytes()).map_err(|source| PlotError {
        path: path.to_owned(),
        source,
    })
}

/// The finite losses, by their steps.
fn points(records: &[MetricsRecord], loss: impl Fn(&MetricsRecord) -> Option<f64>) -> Vec<Point> {
    let mut points: Vec<_> = records
        .iter()
        .filter_map(|record| Some((record.step as f64, loss(record)?)))
        .filter(|(_, loss)| loss.is_finite())
        .collect();
    points.sort_by(|left, right| left.0.total_cmp(&right.0));
    points
}

/// The moving average of a curve over a 25th of its points. Near its ends, it is the line that fits the first or last window
/// best. This is the filter of Savitzky and Golay (1964) of degree 1, `scipy.signal.savgol_filter` with `mode="interp"`,
/// which does not lag behind a trend. Empty for few points.
fn smoothed(places: &[Point]) -> Vec<Point> {
    let count = places.len();
    if count < MIN_SMOOTHED {
        return Vec::new();
    }
    let half = (count / 50).max(2);
    let window = 2 * half + 1;
    let heights: Vec<f64> = places.iter().map(|place| place.1).collect();
    let first = Line::fit(&heights[..window]);
    let last = Line::fit(&heights[count - window..]);
    let mut sum: f64 = heights[..window].iter().sum();
    let mut smoothed = Vec::with_capacity(count);
    for (index, (x, _)) in places.iter().enumerate() {
        let height = if index < half {
            first.at(index as f64 - half as f64)
        } else if index + half >= count {
            last.at((index + half + 1 - count) as f64)
        } else {
            if index > half {
                sum += heights[index + half] - heights[index - half - 1];
            }
            sum / window as f64
        };
        smoothed.push((*x, height.clamp(TOP, BOTTOM)));
    }
    smoothed
}

/// A line through the heights of a window, by least squares.
struct Line {
    mean: f64,
    slope: f64,
}

impl Line {
    /// The number of heights is odd and at least 3.
    fn fit(heights: &[f64]) -> Self {
        let half = (heights.len() / 2) as f64;
        let (mut sum, mut product, mut square) = (0.0, 0.0, 0.0);
        for (index, height) in heights.iter().enumerate() {
            let offset = index as f64 - half;
            sum += height;
            product += offset * height;
            square += offset * offset;
        }
        Self {
            mean: sum / heights.len() as f64,
            slope: product / square,
        }
    }

    /// The height at an offset from the middle of the window.
    fn at(&self, offset: f64) -> f64 {
        self.mean + self.slope * offset
    }
}

/// An axis: the range of its values, their ticks, and the places of the ends of the range in the image.
struct Axis {
    range: (f64, f64),
    places: (f64, f64),
    ticks: Vec<f64>,
    logarithmic: bool,
}

impl Axis {
    /// None without values.
    fn of_steps(steps: impl Iterator<Item = f64>) -> Option<Self> {
        let (first, last) = extremes(steps)?;
        // A single step is in the middle.
        let range = if first == last {
            ((first - 1.0).max(0.0), last + 1.0)
        } else {
            (first, last)
        };
        let interval = nice_interval((range.1 - range.0) / 8.0).max(1.0);
        Some(Self {
            range,
            places: (LEFT, RIGHT),
            ticks: multiples(interval, range),
            logarithmic: false,
        })
    }

    /// None without values.
    fn of_losses(losses: impl Iterator<Item = f64>) -> Option<Self> {
        let (smallest, largest) = extremes(losses)?;
        if smallest > 0.0 && largest / smallest >= LOG_RANGE {
            return Some(Self::logarithmic(smallest, largest));
        }
        let margin = if smallest == largest {
            smallest.abs().max(1.0) * 0.1
        } else {
            (largest - smallest) * 0.05
        };
        let mut range = (smallest - margin, largest + margin);
        if smallest >= 0.0 {
            range.0 = range.0.max(0.0);
        }
        // Of losses near the largest number, the range would not be finite.
        range = (range.0.max(f64::MIN / 4.0), range.1.min(f64::MAX / 4.0));
        Some(Self {
            range,
            places: (BOTTOM, TOP),
            ticks: multiples(nice_interval((range.1 - range.0) / 6.0), range),
            logarithmic: false,
        })
    }

    fn logarithmic(smallest: f64, largest: f64) -> Self {
        let margin = (largest / smallest).powf(0.04);
        let range = (
            (smallest / margin).max(f64::MIN_POSITIVE),
            (largest * margin).min(f64::MAX),
        );
        let (low, high) = (range.0.log10(), range.1.log10());
        let decades = (high - low) as i32;
        let every = decades / 6 + 1;
        let digits: &[f64] = if decades <= 3 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        let ticks = (low.floor() as i32..=high.ceil() as i32)
            .filter(|exponent| exponent % every == 0)
            .flat_map(|exponent| {
                digits
                    .iter()
                    .map(move |digit| digit * power_of_10(exponent))
            })
            .filter(|tick| (range.0..=range.1).contains(tick))
            .collect();
        Self {
            range,
            places: (BOTTOM, TOP),
            ticks,
            logarithmic: true,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| {
            if self.logarithmic {
                value.log10()
            } else {
                value
            }
        };
        let (low, high) = (scale(self.range.0), scale(self.range.1));
        let fraction = ((scale(value) - low) / (high - low)).clamp(0.0, 1.0);
        self.places.0 + fraction * (self.places.1 - self.places.0)
    }
}

fn extremes(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |extremes, value| match extremes {
        None => Some((value, value)),
        Some((smallest, largest)) => Some((value.min(smallest), value.max(largest))),
    })
}

/// 1, 2 or 5 times a power of ten that is at least `interval`.
fn nice_interval(interval: f64) -> f64 {
    let power = power_of_10(interval.log10().floor() as i32);
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|nice| *nice >= interval * 0.999)
        .unwrap_or(10.0 * power)
}

/// The nearest number, as parsed from `1eEXPONENT`: `powi` is less exact.
fn power_of_10(exponent: i32) -> f64 {
    format!("1e{exponent}").parse().unwrap_or(f64::MIN_POSITIVE)
}

/// The multiples of `interval` in the range.
fn multiples(interval: f64, (low, high): (f64, f64)) -> Vec<f64> {
    let first = (low / interval).ceil();
    let count = ((high / interval).floor() - first).clamp(0.0, 100.0) as u32;
    (0..=count)
        .map(|index| (first + f64::from(index)) * interval)
        .filter(|tick| (low..=high).contains(tick))
        .collect()
}

/// A curve, with the places of its points in the image.
struct Curve {
    label: &'static str,
    colour: &'static str,
    width: f64,
    opacity: f64,
    /// Whether points have circles.
    marked: bool,
    places: Vec<Point>,
}

impl Curve {
    fn draw(&self, svg: &mut String) {
        let Self {
            colour,
            width,
            opacity,
            ..
        } = self;
        let points = reduced(&self.places)
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect::<Vec<_>>()
            .join(" ");
        line(
            svg,
            format_args!(
                r#"<polyline fill="none" stroke="{colour}" stroke-width="{width}" stroke-opacity="{opacity}" stroke-linejoin="round" points="{points}"/>"#
            ),
        );
        if self.marked {
            for (x, y) in &self.places {
                circle(svg, (*x, *y), colour);
            }
        }
    }
}

/// The first, the lowest, the highest and the last point of each pixel column, in their order.
fn reduced(places: &[Point]) -> Vec<Point> {
    let mut reduced = Vec::new();
    for column in places.chunk_by(|left, right| left.0.floor() == right.0.floor()) {
        let by_height = |left: &&Point, right: &&Point| left.1.total_cmp(&right.1);
        let extremes = [
            column.iter().min_by(by_height),
            column.iter().max_by(by_height),
        ];
        let last = column.len() - 1;
        for (index, point) in column.iter().enumerate() {
            let is_extreme = extremes
                .iter()
                .any(|extreme| extreme.is_some_and(|extreme| std::ptr::eq(extreme, point)));
            if index == 0 || index == last || is_extreme {
                reduced.push(*point);
            }
        }
    }
    reduced
}

fn header(title: &str) -> String {
    let mut svg = String::new();
    let escaped = escape(title);
    line(
        &mut svg,
        format_args!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif" font-size="13" fill="{INK}">"#
        ),
    );
    line(&mut svg, format_args!("<title>{escaped}</title>"));
    line(
        &mut svg,
        format_args!(
            r#"<text x="{LEFT}" y="26" font-size="16" font-weight="600">{escaped}</text>"#
        ),
    );
    svg
}

fn grid(svg: &mut String, x: &Axis, y: &Axis) {
    for (tick, label) in labels(x) {
        let place = x.place(tick);
        rule(svg, (place, TOP), (place, BOTTOM), 0.25);
        text(svg, (place, BOTTOM + 20.0), "middle", &label);
    }
    for (tick, label) in labels(y) {
        let place = y.place(tick);
        rule(svg, (LEFT, place), (RIGHT, place), 0.25);
        text(svg, (LEFT - 8.0, place + 4.5), "end", &label);
    }
    rule(svg, (LEFT, BOTTOM), (RIGHT, BOTTOM), 1.0);
    rule(svg, (LEFT, TOP), (LEFT, BOTTOM), 1.0);
    let middle = f64::midpoint(LEFT, RIGHT);
    text(svg, (middle, HEIGHT - 12.0), "middle", "optimiser step");
    let label = if y.logarithmic {
        "loss (logarithmic)"
    } else {
        "loss"
    };
    let middle = f64::midpoint(TOP, BOTTOM);
    line(
        svg,
        format_args!(
            r#"<text x="16" y="{middle}" text-anchor="middle" transform="rotate(-90 16 {middle})">{label}</text>"#
        ),
    );
}

/// The ticks with their labels. Those of a linear axis have the same number of decimals: as few as all of them need.
fn labels(axis: &Axis) -> Vec<(f64, String)> {
    let ticks = &axis.ticks;
    let extreme = |tick: &f64| *tick != 0.0 && !(1e-4..1e7).contains(&tick.abs());
    let format = if ticks.iter().any(extreme) {
        |tick: f64, digits: usize| format!("{tick:.digits$e}")
    } else {
        |tick: f64, digits: usize| format!("{tick:.digits$}")
    };
    let needed = |tick: f64| {
        let is_exact = |digits: &usize| {
            let read: f64 = format(tick, *digits).parse().unwrap_or(f64::NAN);
            (read - tick).abs() <= tick.abs() * 1e-9
        };
        (0..MAX_DECIMALS).find(is_exact).unwrap_or(MAX_DECIMALS)
    };
    let most = ticks.iter().map(|tick| needed(*tick)).max().unwrap_or(0);
    let label = |&tick: &f64| {
        let digits = if axis.logarithmic { needed(tick) } else { most };
        (tick, format(tick, digits))
    };
    ticks.iter().map(label).collect()
}

fn legend(svg: &mut String, curves: &[Curve]) {
    let mut x = LEFT;
    for curve in curves {
        let Curve {
            label,
            colour,
            width,
            opacity,
            ..
        } = curve;
        let end = x + 26.0;
        line(
            svg,
            format_args!(
                r#"<line x1="{x}" y1="46" x2="{end}" y2="46" stroke="{colour}" stroke-width="{width}" stroke-opacity="{opacity}"/>"#
            ),
        );
        if curve.marked {
            circle(svg, (x + 13.0, 46.0), colour);
        }
        text(svg, (end + 8.0, 50.5), "start", label);
        // Labels have at most this width in common fonts.
        x = end + 36.0 + 7.2 * label.len() as f64;
    }
}

fn circle(svg: &mut String, (x, y): Point, colour: &str) {
    line(
        svg,
        format_args!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{colour}"/>"#),
    );
}

fn rule(svg: &mut String, (x1, y1): Point, (x2, y2): Point, opacity: f64) {
    line(
        svg,
        format_args!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{INK}" stroke-opacity="{opacity}"/>"#
        ),
    );
}

fn text(svg: &mut String, (x, y): Point, anchor: &str, text: &str) {
    let text = escape(text);
    line(
        svg,
        format_args!(r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#),
    );
}

fn line(svg: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(svg, "{line}").expect("a string grows as needed");
}

/// Text as XML 1.0. A character that XML cannot contain is replaced.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            '\0'..'\x20' | '\u{FFFE}' | '\u{FFFF}' => escaped.push('\u{FFFD}'),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(heights: &[f64]) -> Vec<Point> {
        let heights = heights.iter().enumerate();
        heights
            .map(|(index, height)| (index as f64, *height))
            .collect()
    }

    /// Values of `numpy.polyfit` for the first and the last two points, and means of five for the others.
    #[test]
    fn the_smoothed_line_is_a_filter_of_savitzky_and_golay() {
        let heights = [
            100.0, 130.0, 90.0, 170.0, 200.0, 150.0, 160.0, 220.0, 300.0, 260.0, 240.0, 280.0,
        ];
        let expected = [
            90.0, 114.0, 138.0, 148.0, 154.0, 180.0, 206.0, 218.0, 236.0, 260.0, 266.0, 272.0,
        ];
        for (place, expected) in smoothed(&curve(&heights)).into_iter().zip(curve(&expected)) {
            assert_eq!(place.0, expected.0);
            assert!(
                (place.1 - expected.1).abs() < 1e-9,
                "{place:?} {expected:?}"
            );
        }
        assert_eq!(smoothed(&curve(&heights[..9])), []);
    }

    #[test]
    fn a_straight_line_stays_as_it_is() {
        for count in [10, 11, 149, 1000] {
            let line: Vec<_> = (0..count)
                .map(|index| 390.0 - f64::from(index) * 0.3)
                .collect();
            for ((_, smoothed), height) in smoothed(&curve(&line)).into_iter().zip(line) {
                assert!((smoothed - height).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn intervals_are_1_2_or_5_times_a_power_of_10() {
        for (interval, nice) in [
            (1.0, 1.0),
            (1.1, 2.0),
            (3.0, 5.0),
            (5.1, 10.0),
            (0.03, 0.05),
            (1e-9, 1e-9),
            (2e20, 2e20),
        ] {
            assert_eq!(nice_interval(interval), nice);
        }
    }

    #[test]
    fn a_column_of_pixels_keeps_its_extremes() {
        let places = [
            (0.1, 5.0),
            (0.2, 9.0),
            (0.3, 7.0),
            (0.4, 1.0),
            (0.5, 6.0),
            (1.0, 3.0),
        ];
        let expected = [(0.1, 5.0), (0.2, 9.0), (0.4, 1.0), (0.5, 6.0), (1.0, 3.0)];
        assert_eq!(reduced(&places), expected);
    }
}
