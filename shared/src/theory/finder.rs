//! The chords of a score: one or two a bar, of all that sounds but drums.
//!
//! 1. Each span (a bar, or half of it) gathers [`Evidence`]: how long each pitch class sounds, more where it
//!    begins on the span's first beat or on another, and which pitch class is lowest.
//! 2. The key of each span is the likeliest path through the 24 keys, by the profiles of [`super::key`].
//! 3. The chords are the likeliest path through all chords: a chord gives each of its tones a share of what
//!    sounds and the rest to all others alike; it should stand on its bass, be of the key, be a
//!    common one, and stay, above all inside a bar.
//!
//! Source: a hidden Markov model of chords and keys decoded by Viterbi's algorithm, as in Rocher, Robine,
//! Hanna and Desainte-Catherine, "Concurrent Estimation of Chords and Keys from Audio", ISMIR 2010, and
//! for weights of metre and bass Temperley, *The Cognition of Basic Musical Structures*, 2001, chapter 6.
//! The constants are set by hand, in thousandths of a nat.
//!
//! All is counted in whole numbers, from the music's lowest pitch class on: so the same music has the
//! same chords everywhere, and transposed music the chords transposed.

use std::ops::Range;

use super::beat::{counted, middle};
use super::chord::Chord;
use super::key::{PROFILES, Tonality};
use super::pitch::PitchClasses;
use super::scale::Scale;
use crate::score::{Bar, Note, Score, TICKS_PER_QUARTER, Ticks};

/// How far from a beat a note may begin and yet be on it: players are not machines.
const SLACK: u32 = TICKS_PER_QUARTER / 8;
/// What a span's notes weigh together when they fill it: as much as so many thousandths of independent notes.
const FULL: i64 = 12_000;
/// How much a moment weighs where a note began on the span's first beat, on another beat, or elsewhere.
const ACCENTS: [i64; 3] = [4, 3, 2];

/// The share of what sounds in a chord that its tones have together, in thousandths; all others have the rest.
const TONES: f64 = 860.0;
/// What a chord costs whose root is not the bass: where the bass is its third, fifth or seventh, or none
/// of its tones. The first row is of what is lowest at the span's beginning, the second of all of it.
const BASS: [[i64; 4]; 2] = [[1500, 2000, 2500, 4000], [500, 500, 700, 1200]];
/// What a quality costs, in the order of their numbers.
const RARE: [i64; 12] = [
    0, 0, 1500, 700, 900, 700, 1500, 2000, 1500, 1500, 2000, 3000,
];
/// What each tone outside the key costs.
const FOREIGN: i64 = 800;
/// What another chord costs at a bar line, and inside a bar.
const CHANGE: [i64; 2] = [2000, 5000];
/// What another key costs.
const MODULATION: i64 = 8000;

/// Keys: twelve major, then twelve minor.
const KEYS: usize = 24;

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
    fn accent(&self, at: Ticks) -> i64 {
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
struct Evidence {
    /// How much each pitch class weighs: in ticks by accent, then in thousandths of notes.
    weights: [i64; 12],
    /// The lowest pitch at its beginning, and in all of it; 255 where there is none.
    lowest: [u8; 2],
}

impl Evidence {
    const NONE: Self = Self {
        weights: [0; 12],
        lowest: [u8::MAX; 2],
    };

    fn add(&mut self, span: &Span, note: &Note) {
        let from = note.start.max(span.at.start);
        let length = note.end().min(span.at.end).saturating_sub(from);
        self.weights[usize::from(note.pitch % 12)] += i64::from(length.0) * span.accent(from);
        if length.0 == 0 {
            return;
        }
        if from.saturating_sub(span.at.start).0 <= SLACK {
            self.lowest[0] = self.lowest[0].min(note.pitch);
        }
        self.lowest[1] = self.lowest[1].min(note.pitch);
    }

    fn is_silent(&self) -> bool {
        self.lowest[1] == u8::MAX
    }

    /// Counts pitch classes from `origin` on, and weights in thousandths of notes: what fills less than a half
    /// of the span weighs less.
    fn normalized(mut self, span: &Span, origin: u8) -> Self {
        let all: i64 = self.weights.iter().sum();
        let half = i64::from((span.at.end - span.at.start).0) * ACCENTS[1] / 2;
        let most = all.max(half).max(1);
        self.weights.rotate_left(usize::from(origin));
        self.weights = self.weights.map(|weight| weight * FULL / most);
        self
    }
}

/// The chord of each of `spans`, which ascend.
fn find(score: &Score, spans: &[Span]) -> Vec<Chord> {
    let mut evidence = vec![Evidence::NONE; spans.len()];
    let tracks = score.tracks.iter().filter(|t| !t.instrument.is_drums());
    for note in tracks.flat_map(|track| &track.notes) {
        let first = spans.partition_point(|span| span.at.end <= note.start);
        for (span, evidence) in std::iter::zip(&spans[first..], &mut evidence[first..]) {
            if span.at.start >= note.end() {
                break;
            }
            evidence.add(span, note);
        }
    }
    let lowest = evidence.iter().map(|evidence| evidence.lowest[1]).min();
    let origin = lowest.unwrap_or_default() % 12;
    let evidence: Vec<Evidence> = std::iter::zip(spans, evidence)
        .map(|(span, evidence)| evidence.normalized(span, origin))
        .collect();
    let keys = keys(&evidence);
    let model = Model::new();
    let likelihoods =
        std::iter::zip(&evidence, keys).map(|(e, key)| model.likelihoods(e, origin, key));
    let changes = spans.iter().map(|span| CHANGE[usize::from(span.inside())]);
    let chords = likeliest_path(likelihoods, changes);
    let named = |chord| Chord::new(chord as u16).transposed(i32::from(origin));
    chords.into_iter().map(named).collect()
}

/// The key of each span, by number; pitch classes are counted as in the evidence.
fn keys(evidence: &[Evidence]) -> Vec<usize> {
    // A note of the profile's mean speaks neither for a key nor against it.
    let profiles = PROFILES.map(|profile| {
        let profile = profile.map(|rating| (rating * 100.0).round() as i64);
        let mean = profile.iter().sum::<i64>() / 12;
        profile.map(|rating| rating - mean)
    });
    let likelihoods = evidence.iter().map(|evidence| {
        std::array::from_fn::<i64, KEYS, _>(|key| {
            let (tonic, profile) = (key % 12, &profiles[key / 12]);
            let rated = |class: usize| evidence.weights[class] * profile[(class + 12 - tonic) % 12];
            (0..12).map(rated).sum::<i64>() / 1000
        })
    });
    likeliest_path(likelihoods, std::iter::repeat(MODULATION))
}

/// What chords make likely, in thousandths of a nat.
struct Model {
    /// Of each quality what its tones and all others have: `[quality][step]`, the others last.
    tones: [([i64; 4], i64); 12],
    chords: Vec<PitchClasses>,
    /// The notes of each key; of minor ones the raised seventh, too.
    keys: [PitchClasses; KEYS],
}

impl Model {
    fn new() -> Self {
        let nats = |share: f64| (libm::log(share / 1000.0) * 1000.0) as i64;
        let tones = std::array::from_fn(|quality| {
            let steps = Self::chord(0, quality).steps();
            // The root counts most, the seventh least.
            let parts = [4.0, 3.0, 3.0, 2.0];
            let all: f64 = parts[..steps.len()].iter().sum();
            let rest = (1000.0 - TONES) / (12 - steps.len()) as f64;
            (parts.map(|part| nats(TONES * part / all)), nats(rest))
        });
        let keys = std::array::from_fn(|key| {
            let (tonic, minor) = ((key % 12) as u8, key >= 12);
            let leading = match minor {
                true => PitchClasses::new(&[tonic + 11]),
                false => PitchClasses::default(),
            };
            Scale::from(Tonality { tonic, minor })
                .tones()
                .union(leading)
        });
        let chords = (0..Chord::COUNT as u16).map(|index| Chord::new(index).tones());
        Self {
            tones,
            chords: chords.collect(),
            keys,
        }
    }

    fn chord(root: usize, quality: usize) -> Chord {
        Chord::new((1 + quality * 12 + root) as u16)
    }

    /// How likely each chord, by number, makes what sounds.
    fn likelihoods(&self, evidence: &Evidence, origin: u8, key: usize) -> [i64; Chord::COUNT] {
        /// No path takes what is so unlikely.
        const NEVER: i64 = i64::MIN / 4;
        if evidence.is_silent() {
            return std::array::from_fn(|chord| if chord == 0 { 0 } else { NEVER });
        }
        let all: i64 = evidence.weights.iter().sum();
        let mut likelihoods = [NEVER; Chord::COUNT];
        for (quality, (shares, rest)) in self.tones.iter().enumerate() {
            let steps = Self::chord(0, quality).steps();
            for root in 0..12 {
                let chord = 1 + quality * 12 + root;
                let above = |pitch: u8| (usize::from(pitch) + 24 - usize::from(origin) - root) % 12;
                let tones: i64 = std::iter::zip(steps, shares)
                    .map(|(step, share)| {
                        evidence.weights[(root + usize::from(*step)) % 12] * (share - rest)
                    })
                    .sum();
                let bass: i64 = std::iter::zip(evidence.lowest, BASS)
                    .filter(|(lowest, _)| *lowest != u8::MAX)
                    .map(|(lowest, costs)| {
                        let step = above(lowest);
                        match steps.iter().position(|of| usize::from(*of) == step) {
                            Some(0) => 0,
                            Some(tone) => costs[tone - 1],
                            None => costs[3],
                        }
                    })
                    .sum();
                let foreign = self.chords[chord].without(self.keys[key]).len() as i64 * FOREIGN;
                likelihoods[chord] = (all * rest + tones) / 1000 - bass - foreign - RARE[quality];
            }
        }
        likelihoods
    }
}

/// The path through states whose likelihoods, with the cost of each change, are most together: Viterbi's
/// algorithm, where all changes at one place cost the same.
fn likeliest_path<const N: usize>(
    likelihoods: impl Iterator<Item = [i64; N]>,
    changes: impl Iterator<Item = i64>,
) -> Vec<usize> {
    let mut totals = [0_i64; N];
    let first_best = |totals: &[i64; N]| {
        (1..N).fold(0, |best, i| if totals[i] > totals[best] { i } else { best })
    };
    // At each step the best state before it, and which states are reached from there.
    let mut steps: Vec<(usize, [bool; N])> = Vec::new();
    for (likelihoods, change) in std::iter::zip(likelihoods, changes) {
        let best = first_best(&totals);
        let changed = totals[best] - change;
        let mut moved = [false; N];
        for ((total, likelihood), moved) in totals.iter_mut().zip(likelihoods).zip(&mut moved) {
            *moved = *total < changed;
            *total = (*total).max(changed).saturating_add(likelihood);
        }
        steps.push((best, moved));
    }
    let mut state = first_best(&totals);
    let mut path: Vec<usize> = steps
        .iter()
        .rev()
        .map(|(best, moved)| {
            let here = state;
            if moved[here] {
                state = *best;
            }
            here
        })
        .collect();
    path.reverse();
    path
}
