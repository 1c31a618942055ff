//! Whether what is asked of a song can be done.

use std::ops::RangeInclusive;

use super::{Cells, Song, SongTrack};
use crate::encoding::Spec;
use crate::generation::steer::{quota, shortest};
use crate::instrument::Instrument;
use crate::quantize::{MAX_BARS, Settings};
use crate::score::Ticks;
use crate::theory::Pitches;
use crate::theory::rules::{Hold, Limits};

/// Why a song cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SongError {
    /// It has none.
    #[error(
        "a song of {length} bars, {stated} of which state metre and tempo: expected at least 1 of each"
    )]
    Bars {
        /// [`Song::length`].
        length: u32,
        /// Of [`Song::bars`].
        stated: usize,
    },
    /// One that is not streamed has too many bars.
    #[error(
        "a song of {0} bars that is written as a whole: expected at most {MAX_BARS}, or a composer's bars, where all that \
         is wanted is behind what is known"
    )]
    Long(u32),
    /// It has none, and something is asked of what they play.
    #[error(
        "a song without tracks cannot be held to a key or chords: name at least one instrument"
    )]
    Tracks,
    /// Two have the same.
    #[error("two tracks of {0}: expected each instrument once")]
    Twice(Instrument),
    /// A metre that the model lacks.
    #[error("the model has no metre {numerator}/{denominator}: take one of {known}")]
    Metre {
        /// What was asked for.
        numerator: u8,
        /// What was asked for.
        denominator: u8,
        /// Those that it has.
        known: String,
    },
    /// A tempo of no speed.
    #[error("a bar of 0 microseconds a quarter: expected at least 1")]
    Tempo,
    /// Limits that no note keeps.
    #[error("{field} of {instrument}: {value}, which allows nothing; {expected}")]
    Limit {
        /// Whose.
        instrument: Instrument,
        /// Which of its limits.
        field: &'static str,
        /// What was asked for.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// An encoding whose tokens are not followed.
    #[error(
        "a model with the encoding {0} cannot be held to keys, chords, limits and known music: take one whose \
         encoding is grid or multitrack"
    )]
    Encoding(&'static str),
    /// Limits that its encoding cannot be held to.
    #[error(
        "rests of {0}: a model with the encoding multitrack cannot be held to them; take one whose encoding is grid"
    )]
    Rests(Instrument),
}

/// Whether what is asked can be held to in music of this encoding.
pub(super) fn is_steerable(spec: &Spec) -> bool {
    matches!(spec.base(), Spec::Grid(_) | Spec::Multitrack(_))
}

/// Whether it can be asked of a model with this encoding.
pub(super) fn check(song: &Song, spec: &Spec) -> Result<(), SongError> {
    let (settings, grid) = (spec.settings(), matches!(spec.base(), Spec::Grid(_)));
    if !is_steerable(spec) && song.needs_steering() {
        return Err(SongError::Encoding(spec.name()));
    }
    if song.length == 0 || song.bars.is_empty() {
        return Err(SongError::Bars {
            length: song.length,
            stated: song.bars.len(),
        });
    }
    if song.players().is_empty() && song.needs_steering() {
        return Err(SongError::Tracks);
    }
    for bar in &song.bars {
        let (numerator, denominator) = (bar.metre.numerator, bar.metre.denominator);
        let known = settings.metres();
        if !known.contains(&(numerator, denominator)) {
            let known: Vec<String> = known.iter().map(|(n, d)| format!("{n}/{d}")).collect();
            return Err(SongError::Metre {
                numerator,
                denominator,
                known: known.join(", "),
            });
        }
        if bar.micros_per_quarter == 0 {
            return Err(SongError::Tempo);
        }
    }
    for (i, track) in song.tracks.iter().enumerate() {
        let instrument = track.instrument;
        let before = &song.tracks[..i];
        if before.iter().any(|other| other.instrument == instrument) {
            return Err(SongError::Twice(instrument));
        }
        if !grid && track.limits.rests != Limits::default().rests {
            return Err(SongError::Rests(instrument));
        }
        limits(track, settings)?;
    }
    Ok(())
}

/// Whether a track's limits leave anything to play.
fn limits(track: &SongTrack, settings: &Settings) -> Result<(), SongError> {
    let limits = &track.limits;
    let wrong = |field, value: String, expected| {
        Err(SongError::Limit {
            instrument: track.instrument,
            field,
            value,
            expected,
        })
    };
    let ticks = |of: &RangeInclusive<Ticks>| format!("{} to {} ticks", of.start().0, of.end().0);
    if limits.pitches.is_empty() || *limits.pitches.start() > 127 {
        let value = format!("{:?}", limits.pitches);
        return wrong(
            "pitches",
            value,
            "expected the lowest and the highest, 0 to 127",
        );
    }
    if limits.polyphony.is_empty() || *limits.polyphony.end() == 0 {
        let value = format!("{:?}", limits.polyphony);
        return wrong(
            "polyphony",
            value,
            "expected the fewest and the most, 1 or more",
        );
    }
    if limits.rests.is_empty() {
        let expected = "expected the shortest and the longest";
        return wrong("rests", ticks(&limits.rests), expected);
    }
    if !(0.0..=1.0).contains(&track.least_filled) {
        let expected = "expected the share of its cells that are not empty at least, 0 to 1";
        return wrong("least_filled", track.least_filled.to_string(), expected);
    }
    if shortest(limits, settings).is_none() && !track.instrument.is_drums() {
        return wrong(
            "lengths",
            ticks(&limits.lengths),
            "expected the shortest and the longest, with a length between them that the model has",
        );
    }
    Ok(())
}

/// Whether each track can have its density in the cells that are wanted of it, under its other limits.
pub(super) fn check_densities(cells: &Cells, spec: &Spec) -> Result<(), SongError> {
    let (settings, densities) = (spec.settings(), spec.densities());
    let bars = cells.song.bars.iter().map(|bar| bar.metre.bar());
    let longest_bar = bars.max().unwrap_or_default().0;
    let key = cells.song.key.filter(|(_, hold)| *hold == Hold::Locked);
    for track in &cells.song.tracks {
        let limits = &track.limits;
        let notes = densities.notes(track.instrument, &limits.density);
        let wrong = |expected| {
            let levels = &limits.density;
            let value = format!("levels {} to {}", levels.start(), levels.end());
            Err(SongError::Limit {
                instrument: track.instrument,
                field: "density",
                value: format!(
                    "{value}, {} to {} notes in 100 bars",
                    notes.start, notes.end
                ),
                expected,
            })
        };
        if notes.is_empty() || notes.end <= 100 {
            return wrong("expected levels of 0 to 9 that this model has music of");
        }
        if !quota(cells, track, &densities).is_possible() {
            return wrong("which takes more bars: ask for more of them, or for more levels");
        }
        // The most notes that every bar in which it plays has room for, in groups that sound at once.
        let groups = (notes.end - 1) / 100 / u32::from(*limits.polyphony.start()).max(1);
        let (shortest, longest) = match track.instrument.is_drums() {
            true => (settings.position(), settings.position()),
            false => {
                let longest = settings.max_duration() * settings.position();
                let lengths = &limits.lengths;
                let shortest = lengths.start().0.max(settings.position());
                (shortest, longest.min(lengths.end().0))
            }
        };
        let range = Pitches::range(*limits.pitches.start(), *limits.pitches.end());
        let tones = match key {
            Some((scale, _)) if !track.instrument.is_drums() => range & scale.tones().into(),
            _ => range,
        };
        let at_once = u32::from(*limits.polyphony.end()).min(tones.len() as u32);
        if u64::from(groups) * u64::from(at_once) < u64::from(notes.start.max(100).div_ceil(100)) {
            return wrong(
                "expected more or less, or another polyphony: all notes come in such groups",
            );
        }
        if longest_bar.div_ceil(shortest) * at_once < notes.start.div_ceil(100) {
            return wrong("which is more than its polyphony, lengths and pitches leave room for");
        }
        let span = (longest - settings.step()).saturating_add(limits.rests.end().0);
        if notes.end < u32::MAX && groups.saturating_mul(span) < longest_bar {
            return wrong("which is too little for rests and notes as short as its limits ask for");
        }
    }
    Ok(())
}

/// Whether a song is not too long to be written as a whole.
pub(super) fn check_length(song: &Song) -> Result<(), SongError> {
    match song.length as usize <= MAX_BARS {
        true => Ok(()),
        false => Err(SongError::Long(song.length)),
    }
}
