//! The chords of a score: one or two a bar, of all that sounds but drums.
//!
//! 1. Each span (a bar, or half of it) gathers its evidence: how long each pitch class sounds, more where it
//!    begins on the span's first beat or on another, and which pitch class is lowest.
//! 2. The key of each span is the likeliest path through the 24 keys, by the profiles of [`super::key`].
//! 3. The chords are the likeliest path through all chords: a chord gives each of its tones a share of what
//!    sounds and the rest to all others alike; it should stand on its bass, be of the key, be a
//!    common one, and stay, above all inside a bar.
//!
//! Source: a hidden Markov model of chords and keys decoded by Viterbi's algorithm, as in Rocher, Robine,
//! Hanna and Desainte-Catherine, "Concurrent Estimation of Chords and Keys from Audio", ISMIR 2010, and
//! for weights of metre and bass Temperley, *The Cognition of Basic Musical Structures*, 2001, chapter 6.
//! The constants are set by hand.
//!
//! All is counted in whole numbers, from the music's lowest pitch class on: so the same music has the
//! same chords everywhere, and transposed music the chords transposed.

use std::ops::Range;

use super::beat::{counted, middle};
use super::chord::Chord;
use crate::score::{Bar, Note, Score, TICKS_PER_QUARTER, Ticks, Track};

mod model;

/// How far from a beat a note may begin and yet be on it: players are not machines.
const SLACK: u32 = TICKS_PER_QUARTER / 8;
/// How much a moment weighs where a note began on the span's first beat, on another beat, or elsewhere.
const ACCENTS: [u64; 3] = [4, 3, 2];
/// That a note begins weighs as much as so many ticks: short chords say as much as long ones.
const ONSET: u64 = 480;
/// Notes of a track that begin together, so many or more, say what the chord is; lines have notes that pass, and
/// the highest part, the melody, most of them. So much each weighs.
const CHORDAL: usize = 3;
const PARTS: [u64; 3] = [4, 2, 1];
/// What the notes of a span weigh together that fill at least half of it.
const FULL: u64 = 12_000;

impl Chord {
    /// The chord of each of `bars`, which ascend.
    pub fn of_bars(score: &Score, bars: &[Bar]) -> Vec<Self> {
        let span = |bar: &Bar| Span::new(bar, bar.start..bar.end);
        find(score, &bars.iter().map(span).collect::<Vec<_>>())
    }

    /// The chords of both halves of each of `bars`, which ascend; the second begins at the bar's [`middle`].
    pub fn of_halves(score: &Score, bars: &[Bar]) -> Vec<[Self; 2]> {
        let spans = bars.iter().flat_map(|bar| {
            let half = middle(bar);
            [bar.start..half, half..bar.end].map(|at| Span::new(bar, at))
        });
        let chords = find(score, &spans.collect::<Vec<_>>());
        chords.as_chunks().0.to_vec()
    }
}

/// A part of a bar that has one chord.
struct Span {
    at: Range<Ticks>,
    /// Its bar's first tick, and the length of its beats.
    bar: Ticks,
    beat: u32,
}

impl Span {
    fn new(bar: &Bar, at: Range<Ticks>) -> Self {
        Self {
            at,
            bar: bar.start,
            beat: counted(bar.metre).0,
        }
    }

    /// Whether its chord is another within a bar.
    fn inside(&self) -> bool {
        self.at.start > self.bar
    }

    /// How much a note that begins `at` a tick of it weighs.
    fn accent(&self, at: Ticks) -> u64 {
        let past = (at - self.bar).0 % self.beat;
        let near = past.min(self.beat - past) <= SLACK;
        match (at.saturating_sub(self.at.start).0 <= SLACK, near) {
            (true, _) => ACCENTS[0],
            (false, true) => ACCENTS[1],
            (false, false) => ACCENTS[2],
        }
    }
}

/// What sounds in a span.
#[derive(Clone, Copy)]
struct Sound {
    /// How much each pitch class weighs: ticks, by accent and part.
    weights: [u64; 12],
    /// The lowest pitch at its beginning, and in all of it; 255 where there is none.
    lowest: [u8; 2],
}

impl Sound {
    const NONE: Self = Self {
        weights: [0; 12],
        lowest: [u8::MAX; 2],
    };

    /// Adds what sounds in `span` of a note of a part.
    fn add(&mut self, span: &Span, note: &Note, part: u64) {
        let from = note.start.max(span.at.start);
        let length = note.end().min(span.at.end).saturating_sub(from);
        if length.0 == 0 {
            return;
        }
        let onset = if span.at.start <= note.start {
            ONSET
        } else {
            0
        };
        let weight = (u64::from(length.0) + onset) * span.accent(from) * part;
        self.weights[usize::from(note.pitch % 12)] += weight;
        if from.saturating_sub(span.at.start).0 <= SLACK {
            self.lowest[0] = self.lowest[0].min(note.pitch);
        }
        self.lowest[1] = self.lowest[1].min(note.pitch);
    }

    /// What it says of the chord; pitch classes are counted from `origin` on.
    fn evidence(&self, span: &Span, origin: u8) -> Evidence {
        let half = u64::from((span.at.end - span.at.start).0) * ACCENTS[1] * PARTS[1] / 2;
        let most = self.weights.iter().sum::<u64>().max(half).max(1);
        let mut weights = self.weights.map(|weight| (weight * FULL / most) as i32);
        weights.rotate_left(usize::from(origin));
        let bass = self.lowest.iter().position(|lowest| *lowest < u8::MAX);
        Evidence {
            weights,
            bass: bass.map(|i| (i, usize::from((self.lowest[i] + 12 - origin) % 12))),
        }
    }
}

/// What a span says of its chord.
struct Evidence {
    /// How much each pitch class weighs, in thousandths of independent notes.
    weights: [i32; 12],
    /// The lowest pitch class: at the span's beginning (0), or where nothing sounds there in all of it (1).
    bass: Option<(usize, usize)>,
}

/// The chord of each of `spans`, which ascend.
fn find(score: &Score, spans: &[Span]) -> Vec<Chord> {
    let mut sounds = vec![Sound::NONE; spans.len()];
    let tracks = || score.tracks.iter().filter(|t| !t.instrument.is_drums());
    let melody = highest(tracks());
    let together = |a: &Note, b: &Note| b.start.saturating_sub(a.start).0 <= SLACK;
    for (i, track) in tracks().enumerate() {
        let mut first = 0;
        for notes in track.notes.chunk_by(together) {
            let part = match notes.len() >= CHORDAL {
                true => PARTS[0],
                false => PARTS[if Some(i) == melody { 2 } else { 1 }],
            };
            for note in notes {
                while spans
                    .get(first)
                    .is_some_and(|span| span.at.end <= note.start)
                {
                    first += 1;
                }
                for (span, sound) in std::iter::zip(&spans[first..], &mut sounds[first..]) {
                    if span.at.start >= note.end() {
                        break;
                    }
                    sound.add(span, note, part);
                }
            }
        }
    }
    let lowest = sounds.iter().map(|sound| sound.lowest[1]).min();
    let origin = lowest.unwrap_or_default() % 12;
    let evidence: Vec<Evidence> = std::iter::zip(spans, &sounds)
        .map(|(span, sound)| sound.evidence(span, origin))
        .collect();
    let chords = model::chords(&evidence, spans.iter().map(Span::inside));
    let named = |chord: Chord| chord.transposed(i32::from(origin));
    chords.into_iter().map(named).collect()
}

/// Which of several tracks lies highest, by the mean of its pitches.
fn highest<'a>(tracks: impl Iterator<Item = &'a Track>) -> Option<usize> {
    let mean = |track: &Track| {
        let sum: usize = track.notes.iter().map(|note| usize::from(note.pitch)).sum();
        sum.checked_div(track.notes.len())
    };
    let means = tracks
        .map(mean)
        .enumerate()
        .filter(|(_, mean)| mean.is_some());
    let mut means = means.collect::<Vec<_>>();
    means.sort_by_key(|(_, mean)| *mean);
    means.pop().filter(|_| !means.is_empty()).map(|(i, _)| i)
}
