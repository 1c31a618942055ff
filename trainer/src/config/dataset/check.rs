//! What the fields of a config may say.

use serde::Serialize;

use super::{ClassName, Config, Error};

/// The most byte pairs that are merged: with them a vocabulary has fewer than 65,536 tokens.
const MOST_MERGES: usize = 1 << 15;

/// Refuses `value` of `field` where the rule does not hold. `expected` says the rule.
fn rule(
    holds: bool,
    field: &'static str,
    value: &impl Serialize,
    expected: &'static str,
) -> Result<(), Error> {
    if holds {
        return Ok(());
    }
    let value = serde_json::to_string(value).unwrap_or_default();
    Err(Error::Field {
        field,
        value,
        expected,
    })
}

impl Config {
    /// Refuses values that fields cannot have.
    pub fn check(&self) -> Result<(), Error> {
        rule(
            !self.input_dirs.is_empty(),
            "input_dirs",
            &self.input_dirs,
            "expected a folder, a glob pattern or a list of files",
        )?;
        rule(
            !self.output_path.is_empty(),
            "output_path",
            &"",
            "expected a file to write",
        )?;
        self.check_filters()?;
        self.check_instruments()?;
        self.check_reading()?;
        rule(
            (1..=960_000).contains(&self.quantize_grid),
            "quantize_grid",
            &self.quantize_grid,
            "expected 1 to 960000 ticks",
        )?;
        rule(
            self.remove_empty_tracks,
            "remove_empty_tracks",
            &self.remove_empty_tracks,
            "expected true, as a track without notes has no tokens",
        )?;
        // The grid is refused by its field's name here, and not by a division by zero later.
        rule(
            self.positions_per_bar >= 1,
            "positions_per_bar",
            &self.positions_per_bar,
            "expected 1 or more",
        )
    }

    /// The rules of what leaves files out and where the others go.
    fn check_filters(&self) -> Result<(), Error> {
        let seconds = |limit: Option<f64>| limit.is_none_or(|limit| limit >= 0.0);
        let share = |fraction: f64| (0.0..1.0).contains(&fraction);
        let (shortest, longest) = (self.min_duration_seconds, self.max_duration_seconds);
        rule(
            self.min_tracks >= 1,
            "min_tracks",
            &self.min_tracks,
            "expected 1 or more",
        )?;
        rule(
            self.max_tracks >= self.min_tracks,
            "max_tracks",
            &self.max_tracks,
            "expected min_tracks or more",
        )?;
        rule(
            seconds(shortest),
            "min_duration_seconds",
            &shortest,
            "expected 0 or more",
        )?;
        rule(
            seconds(longest)
                && shortest
                    .zip(longest)
                    .is_none_or(|(least, most)| most == 0.0 || least <= most),
            "max_duration_seconds",
            &longest,
            "expected min_duration_seconds or more, or 0 for no limit",
        )?;
        rule(
            self.max_samples != Some(0),
            "max_samples",
            &self.max_samples,
            "expected 1 or more, or null for all files",
        )?;
        rule(
            share(self.validation_fraction),
            "validation_fraction",
            &self.validation_fraction,
            "expected 0 or more, below 1",
        )?;
        rule(
            share(self.test_fraction) && self.validation_fraction + self.test_fraction < 1.0,
            "test_fraction",
            &self.test_fraction,
            "expected 0 or more, below what validation_fraction leaves",
        )?;
        rule(
            self.merges <= MOST_MERGES,
            "merges",
            &self.merges,
            "expected 0 for none, or a number of byte pairs up to 32768",
        )?;
        rule(
            !self.source_separator.is_empty(),
            "source_separator",
            &self.source_separator,
            "expected what ends a source, as \"-\"",
        )?;
        let drawn = |subset: f64| {
            subset > 0.0 && subset.is_finite() && (subset < 1.0 || subset.fract() == 0.0)
        };
        rule(
            self.subset.is_none_or(drawn),
            "subset",
            &self.subset,
            "expected a share of the songs above 0 and below 1, or a number of them, or null for all",
        )?;
        rule(
            self.min_beats
                .is_none_or(|beats| beats >= 0.0 && beats.is_finite()),
            "min_beats",
            &self.min_beats,
            "expected 0 or more quarters",
        )
    }

    /// The rules of what names instruments.
    fn check_instruments(&self) -> Result<(), Error> {
        const CLASSES: &str = "expected classes by number (0 piano, 1 chromatic percussion, 2 organ, \
                               3 guitar, 4 bass, 5 strings, 6 ensemble, 7 brass, 8 reed, 9 pipe, \
                               10 synth lead, 11 synth pad, 12 synth effects, 13 ethnic, \
                               14 percussive, 15 sound effects, 16 drums) or by name";
        let known = |names: &[ClassName]| names.iter().all(|name| name.class().is_some());
        let (required, allowed) = (&self.required_classes, &self.allowed_classes);
        rule(known(required), "required_classes", required, CLASSES)?;
        if let Some(allowed) = allowed {
            rule(known(allowed), "allowed_classes", allowed, CLASSES)?;
            let holds =
                |class: &ClassName| allowed.iter().any(|other| other.class() == class.class());
            rule(
                !allowed.is_empty() && required.iter().all(holds),
                "allowed_classes",
                allowed,
                "expected one class or more, those of required_classes among them, or null for all",
            )?;
        }
        rule(
            self.merge_classes.programs().is_some(),
            "merge_classes",
            &self.merge_classes,
            "expected true, false, or a program 0 to 127 for each group, class or program that \
             changes, as in {\"piano\": 0, \"guitar\": 24}: no instrument twice, and no drums",
        )
    }

    /// The rules of what training does with the data set, which names its config again.
    pub fn check_reading(&self) -> Result<(), Error> {
        let (numerator, denominator) = self.time_signature;
        let (slowest, fastest) = self.tempo_variation_range;
        rule(
            (1..=960_000).contains(&self.resolution),
            "resolution",
            &self.resolution,
            "expected 1 to 960000 ticks a quarter",
        )?;
        rule(
            numerator >= 1 && denominator.is_power_of_two(),
            "time_signature",
            &self.time_signature,
            "expected beats in a bar and a power of two, as in [3, 4]",
        )?;
        rule(
            self.segment_bars != Some(0),
            "segment_bars",
            &self.segment_bars,
            "expected 1 or more, or null for whole pieces",
        )?;
        let whole_bars = |ticks| ticks > 0 && u64::from(ticks).is_multiple_of(self.bar_ticks());
        rule(
            self.segment_bars.is_some() || self.segment_length.is_none_or(whole_bars),
            "segment_length",
            &self.segment_length,
            "expected whole bars of time_signature in ticks of resolution, as segments are cut at \
             bar lines; segment_bars says it more simply",
        )?;
        rule(
            (0.0..=1.0).contains(&self.max_padding_ratio),
            "max_padding_ratio",
            &self.max_padding_ratio,
            "expected 0 to 1",
        )?;
        rule(
            self.transposition_semitones
                .iter()
                .all(|shift| (-127..=127).contains(shift)),
            "transposition_semitones",
            &self.transposition_semitones,
            "expected -127 to 127",
        )?;
        rule(
            slowest > 0.0 && slowest <= fastest && fastest.is_finite(),
            "tempo_variation_range",
            &self.tempo_variation_range,
            "expected the slowest factor, above 0, then the fastest",
        )?;
        rule(
            self.tempo_variation_steps >= 1,
            "tempo_variation_steps",
            &self.tempo_variation_steps,
            "expected 1 or more",
        )?;
        rule(
            self.max_seq_length >= 1,
            "max_seq_length",
            &self.max_seq_length,
            "expected 1 or more",
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A config that can be built, as JSON.
    fn good() -> Value {
        json!({ "input_dirs": ["a"], "output_path": "b.h5", "encoder_type": "multitrack" })
    }

    fn refusal(field: &str, value: Value) -> String {
        let mut config = good();
        config[field] = value;
        let parsed = Config::parse(&config.to_string(), "c.json");
        parsed
            .and_then(|config| config.check())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn every_field_that_cannot_be_is_refused_by_its_name() {
        for (field, value) in [
            ("input_dirs", json!([])),
            ("output_path", json!("")),
            ("min_tracks", json!(0)),
            ("max_tracks", json!(0)),
            ("min_duration_seconds", json!(-1.0)),
            ("max_duration_seconds", json!(-0.5)),
            ("resolution", json!(0)),
            ("resolution", json!(4_000_000_000_u32)),
            ("time_signature", json!([4, 3])),
            ("time_signature", json!([0, 4])),
            ("quantize_grid", json!(0)),
            ("remove_empty_tracks", json!(false)),
            ("segment_bars", json!(0)),
            ("segment_length", json!(100)),
            ("max_padding_ratio", json!(1.5)),
            ("transposition_semitones", json!([1, 128])),
            ("tempo_variation_range", json!([1.1, 0.9])),
            ("tempo_variation_range", json!([0.0, 0.9])),
            ("tempo_variation_steps", json!(0)),
            ("max_seq_length", json!(0)),
            ("subset", json!(0)),
            ("subset", json!(1.5)),
            ("subset", json!(-3)),
            ("min_beats", json!(-1)),
            ("required_classes", json!([17])),
            ("required_classes", json!(["piano", "pianola"])),
            ("allowed_classes", json!([-1])),
            ("allowed_classes", json!([])),
            ("merge_classes", json!({ "pianola": 0 })),
            ("merge_classes", json!({ "piano": 128 })),
            ("merge_classes", json!({ "drums": 0 })),
            ("merge_classes", json!({ "keys": 0, "3": 1 })),
            ("positions_per_bar", json!(0)),
            ("max_samples", json!(0)),
            ("validation_fraction", json!(1.0)),
            ("test_fraction", json!(0.96)),
            ("source_separator", json!("")),
        ] {
            let message = refusal(field, value.clone());
            assert!(
                message.starts_with(&format!("{field} is ")),
                "{field} {value}: {message}"
            );
        }
        Config::parse(&good().to_string(), "c.json")
            .unwrap()
            .check()
            .unwrap();
    }

    #[test]
    fn fields_that_a_config_lacks_and_values_of_another_kind_are_named() {
        let message = refusal("max_time_steps", json!(512));
        assert!(
            message.contains("c.json") && message.contains("max_time_steps"),
            "{message}"
        );
        for (field, value, expected) in [
            (
                "required_classes",
                json!([0.5]),
                "by number (0 to 16) or name",
            ),
            ("merge_classes", json!("piano"), "programs by class"),
            ("drop_duplicates", json!("all"), "`near`"),
            ("genre_from", json!("artist"), "`composer`"),
            ("small_genres", json!("pool"), "`other`"),
        ] {
            let message = refusal(field, value);
            assert!(message.contains(expected), "{message}");
        }
        let message = refusal("encoder_type", json!("mumidi"));
        assert!(message.contains("mumidi"), "{message}");
        let message = Config::parse("{", "c.json").unwrap_err().to_string();
        assert!(message.contains("c.json"), "{message}");
    }
}
