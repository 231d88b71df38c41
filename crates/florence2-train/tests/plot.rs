//! The plot, read as XML.

#![allow(clippy::unwrap_used)]

use florence2_train::{MetricsRecord, loss_plot, write_loss_plot};
use roxmltree::{Document, Node};

const TITLE: &str = "scenes <LoRA> & \"demo\" 'x' \u{1}\n]]>";

fn training(step: u64, loss: f64) -> MetricsRecord {
    MetricsRecord {
        step,
        loss: Some(loss),
        ..MetricsRecord::default()
    }
}

fn validation(step: u64, loss: f64) -> MetricsRecord {
    MetricsRecord {
        step,
        eval_loss: Some(loss),
        ..MetricsRecord::default()
    }
}

/// 200 training losses that fall from 3 to 1, and 5 validation losses.
fn run() -> Vec<MetricsRecord> {
    let training = (1..=200).map(|step| training(step, 1.0 + 2.0 / step as f64));
    let validation = (1..=5).map(|epoch| validation(epoch * 40, 1.5));
    training.chain(validation).collect()
}

fn elements<'a>(document: &'a Document, name: &str) -> Vec<Node<'a, 'a>> {
    document
        .descendants()
        .filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", name)))
        .collect()
}

fn texts(document: &Document) -> Vec<String> {
    let texts = elements(document, "text");
    texts
        .iter()
        .map(|text| text.text().unwrap_or_default().to_owned())
        .collect()
}

fn points(polyline: &Node) -> Vec<(f64, f64)> {
    let points = polyline.attribute("points").unwrap().split(' ');
    points
        .map(|point| {
            let (x, y) = point.split_once(',').unwrap();
            (x.parse().unwrap(), y.parse().unwrap())
        })
        .collect()
}

#[test]
fn the_plot_has_curves_axes_and_a_legend() {
    let svg = loss_plot(&run(), TITLE);
    let document = Document::parse(&svg).unwrap();
    let texts = texts(&document);
    let expected = [
        "scenes <LoRA> & \"demo\" 'x' \u{FFFD} ]]>",
        "50",
        "100",
        "150",
        "200",
        "1.0",
        "1.5",
        "2.0",
        "2.5",
        "3.0",
        "optimiser step",
        "loss",
        "training loss",
        "training loss, smoothed",
        "validation loss",
    ];
    assert_eq!(texts, expected);
    let title = elements(&document, "title")[0].text();
    assert_eq!(title, Some(expected[0]));
    let curves = elements(&document, "polyline");
    let sizes: Vec<_> = curves.iter().map(|curve| points(curve).len()).collect();
    assert_eq!(sizes, [200, 200, 5]);
    // The mark of each validation loss, and that of the legend.
    assert_eq!(elements(&document, "circle").len(), 6);
    let raw = points(&curves[0]);
    assert!(
        raw.is_sorted_by(|left, right| left.0 < right.0 && left.1 <= right.1),
        "{raw:?}"
    );
    // The losses of 3 and 1 are at their ticks.
    let tick = |label: &str| {
        let texts = elements(&document, "text");
        let text = texts
            .iter()
            .find(|text| text.text() == Some(label))
            .unwrap();
        text.attribute("y").unwrap().parse::<f64>().unwrap() - 4.5
    };
    assert!((raw[0].1 - tick("3.0")).abs() < 0.11);
    assert!((raw[199].1 - (tick("1.0") + 0.01 * (tick("3.0") - tick("1.0")) / 2.0)).abs() < 0.11);
}

#[test]
fn a_wide_range_is_logarithmic() {
    let range = |smallest: f64| {
        let records: Vec<_> = (0..50)
            .map(|step| training(step * 10, 2.0 * (smallest / 2.0).powf(step as f64 / 49.0)))
            .collect();
        let svg = loss_plot(&records, "loss");
        let document = Document::parse(&svg).unwrap();
        texts(&document).contains(&"loss (logarithmic)".to_owned())
    };
    assert!(range(1e-6));
    assert!(range(0.09));
    assert!(!range(0.11));
    let zero = loss_plot(&[training(1, 5.0), training(2, 0.0)], "loss");
    assert!(!zero.contains("logarithmic"));
    // A geometric decay is a straight line.
    let records: Vec<_> = (0..50)
        .map(|step| training(step * 10, 0.5_f64.powi(step as i32)))
        .collect();
    let svg = loss_plot(&records, "loss");
    let document = Document::parse(&svg).unwrap();
    for curve in elements(&document, "polyline") {
        let points = points(&curve);
        let (first, last) = (points[0], points[49]);
        for (x, y) in points {
            let line = first.1 + (x - first.0) / (last.0 - first.0) * (last.1 - first.1);
            assert!((y - line).abs() < 0.2);
        }
    }
}

/// Every coordinate of these plots is a number within the image.
#[test]
fn unusual_losses_are_plotted() {
    let cases: [(&str, Vec<MetricsRecord>); 14] = [
        ("nothing", vec![]),
        ("records without losses", vec![MetricsRecord::default()]),
        ("one loss", vec![training(7, 1.25)]),
        ("one loss of 0 at step 0", vec![training(0, 0.0)]),
        (
            "validation only",
            vec![validation(3, 2.0), validation(6, 1.0)],
        ),
        (
            "equal losses",
            (0..20).map(|step| training(step, 2.5)).collect(),
        ),
        (
            "one step",
            (0..20).map(|loss| training(5, f64::from(loss))).collect(),
        ),
        (
            "not finite",
            vec![
                training(1, 2.0),
                training(2, f64::NAN),
                training(3, f64::INFINITY),
                training(4, 1.0),
            ],
        ),
        (
            "only not finite",
            vec![training(1, f64::NAN), validation(2, f64::NEG_INFINITY)],
        ),
        (
            "negative",
            vec![training(1, -2.0), training(2, -1e-3), validation(2, 3.0)],
        ),
        (
            "largest numbers",
            vec![training(1, f64::MAX), training(u64::MAX, -f64::MAX)],
        ),
        (
            "smallest numbers",
            vec![training(1, f64::from_bits(1)), training(2, f64::MAX)],
        ),
        (
            "close numbers",
            vec![training(1, 1.0), training(2, 1.0_f64.next_up())],
        ),
        (
            "not in order",
            vec![training(9, 1.0), training(3, 2.0), training(5, 3.0)],
        ),
    ];
    for (name, records) in cases {
        let svg = loss_plot(&records, "loss");
        let document = Document::parse(&svg).unwrap();
        check_coordinates(&document, name);
        let finite = records.iter().any(|record| {
            [record.loss, record.eval_loss]
                .into_iter()
                .flatten()
                .any(f64::is_finite)
        });
        let empty = texts(&document).contains(&"no losses were recorded".to_owned());
        assert_eq!(empty, !finite, "{name}");
        assert_eq!(
            elements(&document, "circle").is_empty(),
            !finite || records.len() == 20,
            "{name}"
        );
    }
}

fn check_coordinates(document: &Document, name: &str) {
    let check = |value: &str, largest: f64| {
        let number: f64 = value.parse().unwrap();
        assert!((0.0..=largest).contains(&number), "{name}: {value}");
    };
    for node in document.descendants() {
        for attribute in node.attributes() {
            match attribute.name() {
                "x" | "x1" | "x2" | "cx" => check(attribute.value(), 800.0),
                "y" | "y1" | "y2" | "cy" => check(attribute.value(), 450.0),
                "points" => {
                    for (x, y) in points(&node) {
                        check(&x.to_string(), 800.0);
                        check(&y.to_string(), 450.0);
                    }
                }
                _ => {}
            }
        }
    }
}

#[test]
fn many_records_make_a_small_plot() {
    let records: Vec<_> = (0..200_000)
        .map(|step| training(step, 1.0 + (step % 7) as f64))
        .collect();
    let svg = loss_plot(&records, "loss");
    assert!(svg.len() < 100_000, "{}", svg.len());
    check_coordinates(&Document::parse(&svg).unwrap(), "many");
}

/// Elements and attributes of a static drawing only: no script, no event handler, no reference to another file.
#[test]
fn the_plot_is_static() {
    let svg = loss_plot(&run(), "<script>alert(1)</script><a onload='x'>");
    let document = Document::parse(&svg).unwrap();
    for node in document.descendants().filter(Node::is_element) {
        let name = node.tag_name().name();
        assert!(
            ["svg", "title", "text", "line", "polyline", "circle"].contains(&name),
            "{name}"
        );
        for attribute in node.attributes() {
            let name = attribute.name();
            assert!(
                !name.starts_with("on") && !["href", "style", "class"].contains(&name),
                "{name}"
            );
        }
    }
}

#[test]
fn the_plot_is_written_or_an_error_is_returned() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("loss.svg");
    write_loss_plot(&path, &run(), "loss").unwrap();
    let svg = std::fs::read_to_string(&path).unwrap();
    assert_eq!(svg, loss_plot(&run(), "loss"));
    let missing = folder.path().join("missing/loss.svg");
    let error = write_loss_plot(&missing, &run(), "loss").unwrap_err();
    let expected = format!("{}: cannot be written: ", missing.display());
    assert!(error.to_string().starts_with(&expected), "{error}");
}
