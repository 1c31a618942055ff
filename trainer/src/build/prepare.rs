//! One file on its way: read, filtered, quantized, encoded.

use std::path::Path;

use famam_shared::encoding::{Body, Encoding};
use famam_shared::midi;
use famam_shared::quantize::{Losses, quantize};
use famam_shared::score::{Metre, Score, TICKS_PER_QUARTER, Ticks};

use super::filter::Filter;
use super::songs::Fingerprints;
use super::trim::trim_silence;
use crate::config::dataset::Config;

/// Why a file is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It is no MIDI file, or a broken one.
    Unreadable,
    /// It has no notes.
    NoNotes,
    /// See [`Config::min_tracks`].
    TooFewTracks,
    /// See [`Config::max_tracks`].
    TooManyTracks,
    /// See [`Config::min_notes_per_track`].
    TooFewNotes,
    /// See [`Config::min_duration_seconds`].
    TooShort,
    /// See [`Config::max_duration_seconds`].
    TooLong,
    /// [`Config::allowed_genres`] is set and nothing says its genre.
    NoGenre,
    /// See [`Config::allowed_genres`].
    GenreNotAllowed,
    /// See [`Config::exclude_genres`].
    GenreExcluded,
    /// See [`Config::min_files_per_genre`].
    SmallGenre,
    /// See [`Config::subset`].
    NotDrawn,
    /// See [`Config::allowed_classes`].
    NoAllowedClass,
    /// See [`Config::required_classes`].
    LacksClass,
    /// See [`Config::min_beats`].
    TooFewBeats,
    /// See [`Config::drop_duplicates`].
    ExactDuplicate,
    /// See [`Config::drop_duplicates`].
    NearDuplicate,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Reason::Unreadable => "cannot be read",
            Reason::NoNotes => "no notes",
            Reason::TooFewTracks => "fewer tracks than min_tracks",
            Reason::TooManyTracks => "more tracks than max_tracks",
            Reason::TooFewNotes => "a track with fewer notes than min_notes_per_track",
            Reason::TooShort => "shorter than min_duration_seconds",
            Reason::TooLong => "longer than max_duration_seconds",
            Reason::NoGenre => "no genre, and allowed_genres is set",
            Reason::GenreNotAllowed => "genre not in allowed_genres",
            Reason::GenreExcluded => "genre in exclude_genres",
            Reason::SmallGenre => "genre with fewer files than min_files_per_genre",
            Reason::NotDrawn => "not drawn for the subset",
            Reason::NoAllowedClass => "no notes of allowed_classes",
            Reason::LacksClass => "lacks one of required_classes",
            Reason::TooFewBeats => "fewer quarters than min_beats",
            Reason::ExactDuplicate => "the same tokens as an earlier file",
            Reason::NearDuplicate => "the same music as an earlier file",
        })
    }
}

/// A file, ready for the data set.
pub struct Prepared {
    /// Its sequences.
    pub bodies: Vec<Body>,
    /// Notes of the file, as it was read, that each of them is of.
    pub notes: Vec<u32>,
    /// What `quantize` changed.
    pub losses: Losses,
    /// Notes that [`Config::allowed_classes`] left out before.
    pub not_allowed: u64,
    /// What makes it the same song as another.
    pub fingerprints: Fingerprints,
}

/// Reads and encodes a file, or says why it is left out (and, of an unreadable one, the reader's
/// words).
pub fn prepare(
    path: &Path,
    encoding: &dyn Encoding,
    config: &Config,
    filter: &Filter,
) -> Result<Prepared, (Reason, String)> {
    let score = midi::read_file(path).map_err(|error| (Reason::Unreadable, error.to_string()))?;
    let (mut score, not_allowed) = filter
        .pass(score)
        .map_err(|reason| (reason, String::new()))?;
    if score.metres.is_empty() {
        let (numerator, denominator) = config.time_signature;
        score.metres.push(Metre {
            at: Ticks(0),
            numerator,
            denominator,
        });
    }
    let grid = f64::from(TICKS_PER_QUARTER) / f64::from(config.resolution)
        * f64::from(if config.quantize {
            config.quantize_grid
        } else {
            1
        });
    let step = 4.0 * f64::from(TICKS_PER_QUARTER) / f64::from(config.positions_per_bar);
    // A grid that the encoding's is a multiple of changes nothing but the rounding of ties.
    if step % grid != 0.0 {
        snap(&mut score, grid);
    }
    let (mut quantized, losses) = quantize(&score, encoding.quantize_settings());
    if config.trim_silence {
        quantized = trim_silence(quantized);
    }
    let bodies = encoding.encode(&quantized);
    let fingerprints = Fingerprints::new(&quantized, &bodies);
    Ok(Prepared {
        notes: notes(&score, &bodies),
        bodies,
        losses,
        not_allowed,
        fingerprints,
    })
}

/// Notes of the score that each body is of. Those of an instrument that `quantize` left out whole
/// are counted at the first, so that the sum is that of the score.
fn notes(score: &Score, bodies: &[Body]) -> Vec<u32> {
    let of = |body: &Body| {
        let tracks = score.tracks.iter();
        let tracks = tracks.filter(|track| body.instruments.contains(track.instrument));
        tracks.map(|track| track.notes.len()).sum::<usize>() as u32
    };
    let mut notes: Vec<u32> = bodies.iter().map(of).collect();
    let missing = (score.note_count() as u32).saturating_sub(notes.iter().sum());
    if let Some(first) = notes.first_mut() {
        *first += missing;
    }
    notes
}

/// Rounds starts and durations to multiples of `grid` ticks, durations to one at least.
fn snap(score: &mut Score, grid: f64) {
    let nearest = |ticks: Ticks, least: f64| {
        Ticks(((f64::from(ticks.0) / grid).round().max(least) * grid).round() as u32)
    };
    for note in score.tracks.iter_mut().flat_map(|track| &mut track.notes) {
        note.start = nearest(note.start, 0.0);
        note.duration = nearest(note.duration, 1.0);
    }
    score
        .tracks
        .iter_mut()
        .for_each(|track| track.notes.sort_unstable());
}

impl Prepared {
    /// The memory that it holds.
    pub fn bytes(&self) -> usize {
        let body = |body: &Body| 2 * body.tokens.capacity() + 8 * body.bars.capacity();
        size_of::<Self>() + self.fingerprints.bytes() + self.bodies.iter().map(body).sum::<usize>()
    }
}
