//! A page of plots: HTML with SVG in it, which needs nothing else.

use std::fmt::Write;

use famam_shared::key::NAMES;

use super::Report;

/// Bars of a histogram.
const BINS: usize = 40;
/// The most rows of a chart.
const ROWS: usize = 24;

const STYLE: &str = "body{font:14px sans-serif;margin:2em;color:#223}h1{font-size:1.4em}\
h2{font-size:1em;margin:0 0 .5em}section{display:inline-block;vertical-align:top;margin:0 2em 2em 0}\
pre{background:#f4f5f8;padding:1em;overflow:auto}rect{fill:#4a6fa5}text{font:11px sans-serif;fill:#223}";

/// The page of a report.
pub(super) fn page(report: &Report) -> String {
    let mut html = format!(
        "<!doctype html>\n<meta charset=\"utf-8\"><title>MIDI files</title><style>{STYLE}</style>\n\
         <h1>{} MIDI files</h1>\n<pre>{}</pre>\n",
        report.files.len(),
        escaped(&report.to_string())
    );
    let mut section = |title: &str, plot: String| {
        // A String takes everything.
        let _ = writeln!(html, "<section><h2>{title}</h2>{plot}</section>");
    };
    let tempos = report.sorted(|file| file.tempo);
    section("Tempo, quarters a minute", histogram(&tempos));
    section(
        "Length, seconds",
        histogram(&report.sorted(|file| file.seconds)),
    );
    section("Notes", histogram(&report.sorted(|file| file.notes as f64)));
    section("Files by instrument", chart(&report.instruments()));
    section("Files by genre", chart(&report.genres()));
    section("Files by key", chart(&report.keys()));
    section("Files by metre", chart(&report.metres()));
    let classes = (0..12).map(|class| {
        let sounding: f64 = report
            .files
            .iter()
            .map(|file| file.pitch_classes[class])
            .sum();
        (NAMES[class].to_owned(), sounding.round() as usize)
    });
    section(
        "Pitch classes, quarters",
        chart(&classes.collect::<Vec<_>>()),
    );
    html
}

/// How many of the `sorted` values lie where; the highest hundredth is cut off.
fn histogram(sorted: &[f64]) -> String {
    let (Some(least), most) = (sorted.first(), super::quantile(sorted, 0.99)) else {
        return "none".to_owned();
    };
    let width = ((most - least) / BINS as f64).max(1e-9);
    let mut counts = [0usize; BINS];
    for value in sorted.iter().take_while(|value| **value <= most) {
        counts[(((value - least) / width) as usize).min(BINS - 1)] += 1;
    }
    let highest = counts.iter().copied().max().unwrap_or(0).max(1);
    let mut svg = "<svg width=\"420\" height=\"180\">".to_owned();
    for (i, &count) in counts.iter().enumerate() {
        let height = 150.0 * count as f64 / highest as f64;
        let _ = write!(
            svg,
            "<rect x=\"{}\" y=\"{:.1}\" width=\"9\" height=\"{height:.1}\"><title>{:.0} to {:.0}: {count}</title></rect>",
            10 + i * 10,
            155.0 - height,
            least + i as f64 * width,
            least + (i + 1) as f64 * width,
        );
    }
    for (share, anchor) in [(0.0, "start"), (0.5, "middle"), (1.0, "end")] {
        let _ = write!(
            svg,
            "<text x=\"{:.0}\" y=\"172\" text-anchor=\"{anchor}\">{:.0}</text>",
            10.0 + share * 400.0,
            least + share * (most - least)
        );
    }
    svg + "</svg>"
}

/// A bar for each of the first counts.
fn chart(counts: &[(String, usize)]) -> String {
    let counts = &counts[..counts.len().min(ROWS)];
    let most = counts
        .iter()
        .map(|(_, count)| *count)
        .max()
        .unwrap_or(0)
        .max(1);
    let mut svg = format!(
        "<svg width=\"420\" height=\"{}\">",
        18 * counts.len().max(1)
    );
    for (i, (name, count)) in counts.iter().enumerate() {
        let (y, width) = (i * 18, 190.0 * *count as f64 / most as f64);
        let _ = write!(
            svg,
            "<text x=\"165\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect x=\"172\" y=\"{}\" width=\"{width:.1}\" height=\"14\"/><text x=\"{:.1}\" y=\"{}\">{count}</text>",
            y + 13,
            escaped(name),
            y + 2,
            177.0 + width,
            y + 13,
        );
    }
    svg + "</svg>"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
