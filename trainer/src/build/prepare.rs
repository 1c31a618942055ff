//! One file on its way: read, filtered, quantized, encoded.

use std::path::Path;

use famam_shared::encoding::{Body, Encoding};
use famam_shared::midi;
use famam_shared::quantize::{Losses, quantize};
use famam_shared::score::{Metre, Note, Score, TICKS_PER_QUARTER, Ticks};

use super::songs::Fingerprints;
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
    /// What makes it the same song as another.
    pub fingerprints: Fingerprints,
}

/// Reads and encodes a file, or says why it is left out (and, of an unreadable one, the reader's
/// words).
pub fn prepare(
    path: &Path,
    encoding: &dyn Encoding,
    config: &Config,
) -> Result<Prepared, (Reason, String)> {
    let score = midi::read_file(path).map_err(|error| (Reason::Unreadable, error.to_string()))?;
    let mut score = filter(score, config).map_err(|reason| (reason, String::new()))?;
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
    let (quantized, losses) = quantize(&score, encoding.quantize_settings());
    let bodies = encoding.encode(&quantized);
    let fingerprints = Fingerprints::new(&quantized, bodies.iter().flat_map(|body| &body.tokens));
    Ok(Prepared {
        notes: notes(&score, &bodies),
        bodies,
        losses,
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

/// The score without empty tracks, if the config lets it pass.
fn filter(mut score: Score, config: &Config) -> Result<Score, Reason> {
    score.tracks.retain(|track| !track.notes.is_empty());
    let tracks = &score.tracks;
    if tracks.is_empty() {
        return Err(Reason::NoNotes);
    }
    if tracks.len() < config.min_tracks {
        return Err(Reason::TooFewTracks);
    }
    if tracks.len() > config.max_tracks {
        return Err(Reason::TooManyTracks);
    }
    if tracks
        .iter()
        .any(|track| track.notes.len() < config.min_notes_per_track)
    {
        return Err(Reason::TooFewNotes);
    }
    let end = tracks
        .iter()
        .flat_map(|track| &track.notes)
        .map(Note::end)
        .max();
    let seconds = score.seconds_at(end.unwrap_or_default());
    if config
        .min_duration_seconds
        .is_some_and(|shortest| seconds < shortest)
    {
        return Err(Reason::TooShort);
    }
    // As in Famam, 0 is no limit.
    if config
        .max_duration_seconds
        .is_some_and(|longest| longest > 0.0 && seconds > longest)
    {
        return Err(Reason::TooLong);
    }
    Ok(score)
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
        size_of::<Self>() + self.bodies.iter().map(body).sum::<usize>()
    }
}
