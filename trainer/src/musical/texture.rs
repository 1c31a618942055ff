//! Figures of what sounds together, how loud, and how often it comes again.

use super::excerpt::{Excerpt, mean};

/// Mean number of pitches that sound together, where any does (Dong et al., "MusPy", 2020,
/// *polyphony*).
pub fn polyphony(excerpt: &Excerpt) -> Option<f64> {
    let sounding = excerpt.roll().into_iter().filter(|pitches| *pitches != 0);
    mean(sounding.map(|pitches| f64::from(pitches.count_ones())))
}

/// Share of the time in which two pitches or more sound (MusPy 2020, *polyphony rate*); `None` where there
/// are drums alone.
pub fn polyphony_rate(excerpt: &Excerpt) -> Option<f64> {
    excerpt.pitched_notes().next()?;
    let roll = excerpt.roll().into_iter();
    mean(roll.map(|pitches| f64::from(pitches.count_ones() >= 2)))
}

/// Mean velocity of all notes, 1 to 127.
pub fn velocity(excerpt: &Excerpt) -> Option<f64> {
    mean(excerpt.notes().map(|note| f64::from(note.velocity)))
}

/// Standard deviation of the velocities of all notes.
pub fn velocity_deviation(excerpt: &Excerpt) -> Option<f64> {
    let middle = velocity(excerpt)?;
    let squares = excerpt
        .notes()
        .map(|note| (f64::from(note.velocity) - middle).powi(2));
    mean(squares).map(f64::sqrt)
}

/// How much of a bar comes again `LAG` bars later, 0 to 1: the notes that both of two such bars have over
/// those that either has, in the mean over all pairs in which any note begins. Notes are equal that have the same
/// instrument, pitch and position in their bar (Yu et al., "Museformer", 2022, on choosing structure-related bars, without the
/// notes' lengths). `None` where there are not more than `LAG` bars.
pub fn self_similarity<const LAG: usize>(excerpt: &Excerpt) -> Option<f64> {
    let bars = excerpt.by_bar(|track, note, at| (track.instrument, at, note.pitch));
    let pairs = std::iter::zip(&bars, bars.iter().skip(LAG));
    mean(pairs.filter_map(|(bar, later)| {
        let both = bar.iter().filter(|note| later.contains(note)).count();
        let either = bar.len() + later.len() - both;
        (either > 0).then(|| both as f64 / either as f64)
    }))
}
