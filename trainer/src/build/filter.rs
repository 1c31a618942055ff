//! What of a file stays: tracks by their class, files by Famam's rules and ours.

use famam_shared::instrument::{Class, Instrument};
use famam_shared::score::{Note, Score};

use super::prepare::Reason;
use crate::config::dataset::{ClassName, Config};

/// The rules of a config that names are to be looked up for, looked up.
pub struct Filter<'a> {
    config: &'a Config,
    required: Vec<Class>,
    allowed: Option<Vec<Class>>,
    /// What each instrument becomes, by its index.
    programs: Option<[Instrument; Instrument::COUNT]>,
}

impl<'a> Filter<'a> {
    /// Of a checked config.
    pub fn new(config: &'a Config) -> Self {
        let classes = |names: &Vec<ClassName>| names.iter().filter_map(ClassName::class).collect();
        Self {
            config,
            required: classes(&config.required_classes),
            allowed: config.allowed_classes.as_ref().map(classes),
            programs: config.merge_classes.programs(),
        }
    }

    /// The score with the tracks that the config lets pass, each played by what its instrument
    /// becomes, and how many notes that left out; or why there is none.
    pub fn pass(&self, mut score: Score) -> Result<(Score, u64), Reason> {
        score.tracks.retain(|track| !track.notes.is_empty());
        if score.tracks.is_empty() {
            return Err(Reason::NoNotes);
        }
        let read = score.note_count();
        if let Some(allowed) = &self.allowed {
            score
                .tracks
                .retain(|track| allowed.contains(&track.instrument.class()));
            if score.tracks.is_empty() {
                return Err(Reason::NoAllowedClass);
            }
        }
        let plays = |class: &Class| {
            let mut tracks = score.tracks.iter();
            tracks.any(|track| track.instrument.class() == *class)
        };
        if !self.required.iter().all(plays) {
            return Err(Reason::LacksClass);
        }
        judge(&score, self.config)?;
        if let Some(programs) = &self.programs {
            for track in &mut score.tracks {
                track.instrument = programs[usize::from(track.instrument.index())];
            }
        }
        let left_out = read - score.note_count();
        Ok((score, left_out as u64))
    }
}

/// Famam's rules, in its order, then ours.
fn judge(score: &Score, config: &Config) -> Result<(), Reason> {
    let tracks = &score.tracks;
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
    let notes = || tracks.iter().flat_map(|track| &track.notes);
    let end = notes().map(Note::end).max().unwrap_or_default();
    let seconds = score.seconds_at(end);
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
    let start = notes().map(|note| note.start).min().unwrap_or_default();
    let beats = end.saturating_sub(start).quarters();
    if config.min_beats.is_some_and(|least| beats < least) {
        return Err(Reason::TooFewBeats);
    }
    Ok(())
}
