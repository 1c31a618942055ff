//! Figures of pitch. Drums have none.

use famam_shared::chord::Chord;
use famam_shared::score::{Bar, Note, Ticks};

use super::excerpt::{Excerpt, mean, shares};

/// Pitch classes in an octave.
const CLASSES: usize = 12;
/// Semitones of the major scale above its tonic; the natural minor scales have the same sets.
const MAJOR: [usize; 7] = [0, 2, 4, 5, 7, 9, 11];

fn class(note: &Note) -> usize {
    usize::from(note.pitch) % CLASSES
}

/// Share of the notes in each pitch class, `[12]` (Yang and Lerch 2018, section 3.1, *pitch class
/// histogram*).
pub fn class_histogram(excerpt: &Excerpt) -> Option<Vec<f64>> {
    let mut counts = vec![0.0; CLASSES];
    for note in excerpt.pitched_notes() {
        counts[class(note)] += 1.0;
    }
    shares(counts)
}

/// Entropy of the pitch class histogram, in bits, 0 to 3.58 (Wu and Yang, "The Jazz Transformer", 2020,
/// *pitch-class histogram entropy*; Dong et al., "MusPy", 2020, *pitch class entropy*).
pub fn class_entropy(excerpt: &Excerpt) -> Option<f64> {
    let histogram = class_histogram(excerpt)?;
    let bits = histogram.iter().filter(|share| **share > 0.0);
    Some(bits.map(|share| -share * share.log2()).sum())
}

/// The largest share of the notes that a major or natural minor scale holds, 0 to 1 (Mogren, "C-RNN-GAN",
/// 2016; MusPy 2020, *scale consistency*).
pub fn scale_consistency(excerpt: &Excerpt) -> Option<f64> {
    let histogram = class_histogram(excerpt)?;
    let held = |tonic: usize| {
        let classes = MAJOR.iter();
        classes
            .map(|above| histogram[(tonic + above) % CLASSES])
            .sum::<f64>()
    };
    (0..CLASSES).map(held).max_by(f64::total_cmp)
}

/// Semitones from the lowest to the highest pitch (Yang and Lerch 2018, *pitch range*).
pub fn range(excerpt: &Excerpt) -> Option<f64> {
    let pitches = || excerpt.pitched_notes().map(|note| note.pitch);
    Some(f64::from(pitches().max()? - pitches().min()?))
}

/// How many different pitches there are (Yang and Lerch 2018, *pitch count*).
pub fn count(excerpt: &Excerpt) -> Option<f64> {
    let pitches = excerpt
        .pitched_notes()
        .fold(0u128, |pitches, note| pitches | 1 << (note.pitch & 127));
    (pitches != 0).then(|| f64::from(pitches.count_ones()))
}

/// Mean size of the intervals between successive notes of a track's top line, in semitones (Yang and
/// Lerch 2018, *average pitch interval*, whose music has one voice).
pub fn interval(excerpt: &Excerpt) -> Option<f64> {
    let lines = excerpt.pitched().map(|track| top_line(&track.notes));
    mean(lines.flat_map(|line| {
        let intervals = line
            .windows(2)
            .map(|pair| f64::from(pair[0].abs_diff(pair[1])));
        intervals.collect::<Vec<_>>()
    }))
}

/// The highest pitch at each start. `notes` are sorted as [`Note`] says.
pub fn top_line(notes: &[Note]) -> Vec<u8> {
    let chords = notes.chunk_by(|a, b| a.start == b.start);
    chords
        .filter_map(|chord| chord.last().map(|note| note.pitch))
        .collect()
}

/// How often a note of each pitch class follows one of each other in its track, over all such pairs,
/// `[12 * 12]`, the earlier note's class first (Yang and Lerch 2018, *pitch class transition matrix*).
pub fn class_transitions(excerpt: &Excerpt) -> Option<Vec<f64>> {
    let mut counts = vec![0.0; CLASSES * CLASSES];
    for pair in excerpt.pitched().flat_map(|track| track.notes.windows(2)) {
        counts[CLASSES * class(&pair[0]) + class(&pair[1])] += 1.0;
    }
    shares(counts)
}

/// The halves of bars that have an even number of beats from four on, the other bars whole: what has a
/// chord of its own, and begins on a strong beat.
pub fn spans(bars: &[Bar]) -> Vec<Bar> {
    let mut spans = Vec::new();
    for bar in bars {
        let middle = Ticks(bar.start.0 + bar.metre.bar().0 / 2);
        let halves =
            bar.metre.numerator >= 4 && bar.metre.numerator.is_multiple_of(2) && middle < bar.end;
        if halves {
            spans.push(Bar {
                end: middle,
                ..*bar
            });
        }
        let start = if halves { middle } else { bar.start };
        spans.push(Bar { start, ..*bar });
    }
    spans
}

/// Share of the notes that begin on a strong beat (a bar's first, and its middle where it has an even
/// number of beats from four on) that are tones of the chord there, 0 to 1. The ratio of chord
/// tones of Yeh et al., "Automatic melody harmonization with triad chords", 2021, taken on strong
/// beats; the chord is that of all that sounds until the next strong beat.
pub fn chord_tones(excerpt: &Excerpt) -> Option<f64> {
    let spans = spans(excerpt.bars());
    let chords = Chord::of_bars(excerpt.score(), &spans);
    let on_beat = excerpt.pitched_notes().filter_map(|note| {
        let span = spans
            .binary_search_by_key(&note.start, |span| span.start)
            .ok()?;
        Some(f64::from(chords[span].tones().contains(note.pitch)))
    });
    mean(on_beat)
}
