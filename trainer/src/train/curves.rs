//! A picture of the losses, as SVG.

use std::fmt::Write;

use crate::checkpoint::Record;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
/// Room for the numbers at the left and below.
const MARGIN: f64 = 40.0;

/// A curve: its name, its colour and its height.
type Curve = (&'static str, &'static str, fn(&Record) -> f64);

/// The training and validation losses over the steps.
pub(super) fn picture(history: &[Record]) -> String {
    let curves: [Curve; 2] = [
        ("training", "#8a94a6", |record| record.training_loss),
        ("validation", "#4a6fa5", |record| record.validation_loss),
    ];
    let losses = || curves.iter().flat_map(|(_, _, of)| history.iter().map(of));
    let least = losses().fold(f64::INFINITY, f64::min);
    let most = losses().fold(f64::NEG_INFINITY, f64::max).max(least + 1e-9);
    let last = history.last().map_or(1, |record| record.step).max(1);
    let x = |step: u64| MARGIN + (WIDTH - MARGIN) * step as f64 / last as f64;
    let y = |loss: f64| (HEIGHT - MARGIN) * (most - loss) / (most - least) + 10.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        WIDTH + 20.0
    );
    if history.is_empty() {
        return svg + "</svg>\n";
    }
    // A String takes everything.
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let loss = least + share * (most - least);
        let step = (share * last as f64).round() as u64;
        let _ = writeln!(
            svg,
            "<path d=\"M{MARGIN} {at:.1}H{WIDTH}\" stroke=\"#e4e7ec\"/><text x=\"4\" y=\"{:.1}\">{loss:.3}</text>\
             <text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{step}</text>",
            y(loss) + 4.0,
            x(step),
            HEIGHT - 8.0,
            at = y(loss),
        );
    }
    for (i, (name, colour, of)) in curves.into_iter().enumerate() {
        let points = history.iter().map(|record| (x(record.step), y(of(record))));
        let points = points.map(|(x, y)| format!("{x:.1},{y:.1}"));
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>\
             <text x=\"{}\" y=\"24\" text-anchor=\"end\" fill=\"{colour}\">{name} loss</text>",
            points.collect::<Vec<_>>().join(" "),
            WIDTH - 100.0 * i as f64,
        );
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_falls_where_the_loss_falls() {
        let record = |step, loss| Record {
            step,
            training_loss: loss + 0.1,
            validation_loss: loss,
            ..Record::default()
        };
        let svg = picture(&[record(10, 3.0), record(20, 2.0), record(30, 1.5)]);
        let points = svg.split("points=\"").nth(2).unwrap();
        let points = points.split('"').next().unwrap();
        let points: Vec<Vec<f64>> = points
            .split(' ')
            .map(|point| {
                point
                    .split(',')
                    .map(|number| number.parse().unwrap())
                    .collect()
            })
            .collect();
        assert_eq!(points.len(), 3);
        assert!(
            points.is_sorted_by(|a, b| a[0] < b[0] && a[1] < b[1]),
            "{points:?}"
        );
        assert!(
            points
                .iter()
                .flatten()
                .all(|&at| (0.0..WIDTH).contains(&at) || at == WIDTH)
        );
        assert!(picture(&[]).ends_with("</svg>\n"));
    }
}
