//! What songs and automation are saved under: every parameter as it was released. A row may be added,
//! none may change. The hosted plugin and `docs/parameters.md` say the same.

use std::error::Error;
use std::fs;
use std::path::Path;

use famam_tests::built;
use famam_tests::host::{Format, Parameter, ParameterId};

/// Id, number in both formats, name, steps (0 is continuous), the texts of the lowest value, the default
/// and the highest, and the document's columns *values* and *default*.
type Row = (
    &'static str,
    u32,
    &'static str,
    u32,
    [&'static str; 3],
    &'static str,
    &'static str,
);

const SWITCH: &str = "off, on";
const OFF: [&str; 3] = ["Off", "Off", "On"];
const ON: [&str; 3] = ["Off", "On", "On"];
const ALL: &str = "All parts by channel";
const ONE: &str = "One part only";
const NEW: &str = "new each time";

#[rustfmt::skip]
const GOLDEN: [Row; 18] = [
    ("genre", 98240899, "Genre", 127, ["any", "any", "genre 127"], "0 to 127", "0"),
    ("temperature", 321701236, "Temperature", 0, ["0.00", "1.00", "2.00"], "0 to 2", "1"),
    ("top_k", 110545921, "Top-k", 200, ["off", "off", "200"], "0 (off) to 200", "0"),
    ("top_p", 110545926, "Top-p", 0, ["0.00", "0.94", "1.00"], "0 to 1", "0.94"),
    ("bars", 3016384, "Bars", 63, ["1", "8", "64"], "1 to 64", "8"),
    ("seed", 3526257, "Seed", 9999, [NEW, NEW, "9999"], "0 (new each time) to 9999", "0"),
    ("generate", 1810371957, "Generate", 1, OFF, SWITCH, "off"),
    ("drums", 95864205, "Drums", 1, ON, SWITCH, "on"),
    ("bass", 3016415, "Bass", 1, ON, SWITCH, "on"),
    ("guitar", 912613514, "Guitar", 1, ON, SWITCH, "on"),
    ("keys", 3288564, "Keys", 1, ON, SWITCH, "on"),
    ("strings", 265724546, "Strings and pads", 1, OFF, SWITCH, "off"),
    ("lead", 3317596, "Lead", 1, OFF, SWITCH, "off"),
    ("output", 1141971201, "Output", 1, [ALL, ALL, ONE], "All parts by channel, One part only", ALL),
    ("part", 3433459, "Part", 15, ["1", "1", "16"], "1 to 16", "1"),
    ("program_changes", 527787016, "Send program changes", 1, OFF, SWITCH, "off (standalone: on)"),
    ("bypass", 773352680, "Bypass", 1, OFF, SWITCH, "off"),
    ("panic", 106433143, "Panic", 1, OFF, SWITCH, "off"),
];

#[test]
fn the_plugin_says_what_was_released() -> Result<(), Box<dyn Error>> {
    let golden = GOLDEN.map(|(_, number, name, steps, texts, ..)| Parameter {
        id: ParameterId(number),
        name: name.to_owned(),
        steps,
        texts: texts.map(str::to_owned),
        unit: String::new(),
    });
    for format in Format::ALL {
        let mut host = format.open(&built::plugin())?;
        assert_eq!(host.parameters()?, golden, "{format:?}");
    }
    for (id, number, ..) in GOLDEN {
        assert_eq!(ParameterId::of(id), ParameterId(number), "{id}");
    }
    Ok(())
}

#[test]
fn the_document_says_it_too() -> Result<(), Box<dyn Error>> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/parameters.md");
    let document = fs::read_to_string(document)?;
    let rows: Vec<Vec<&str>> = document
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    assert_eq!(rows.len(), GOLDEN.len());
    for (row, (id, _, name, _, _, values, default)) in rows.iter().zip(GOLDEN) {
        assert_eq!(row[1..5], [&format!("`{id}`"), name, values, default]);
    }
    Ok(())
}
