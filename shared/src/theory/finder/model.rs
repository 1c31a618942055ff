//! The likeliest keys and chords behind what spans say, in thousandths of a nat.

use std::sync::LazyLock;

use super::Evidence;
use crate::theory::chord::Chord;
use crate::theory::key::{PROFILES, Tonality};
use crate::theory::pitch::PitchClasses;
use crate::theory::scale::Scale;

/// The share of what sounds in a chord that its tones have together, in thousandths; all others have the rest.
const TONES: f64 = 860.0;
/// How much of it root, third, fifth and seventh have.
const PARTS: [f64; 4] = [4.0, 3.0, 3.0, 2.0];
/// What a chord costs whose root is not the bass: where the bass is its third, fifth or seventh, or none
/// of its tones. The first row is of a bass that begins the span, the second of a later one.
const BASS: [[i32; 4]; 2] = [[2300, 2600, 3500, 5000], [700, 800, 1000, 1500]];
/// What a quality costs, in the order of their numbers.
const RARE: [i32; QUALITIES] = [
    0, 0, 2200, 800, 1000, 1000, 2400, 3000, 1500, 1500, 2000, 3000,
];
/// What each tone outside the key costs.
const FOREIGN: i32 = 800;
/// What another chord costs at a bar line, and inside a bar.
const CHANGE: [i32; 2] = [2000, 7000];
/// What another key costs.
const MODULATION: i32 = 8000;

/// Qualities that a chord can have.
const QUALITIES: usize = (Chord::COUNT - 1) / 12;
/// Keys: twelve major, then twelve minor.
const KEYS: usize = 24;
/// No path takes what is so unlikely.
const NEVER: i32 = i32::MIN / 4;

/// The chord of each span; `inside` says of each whether it begins inside a bar.
pub(super) fn chords(evidence: &[Evidence], inside: impl Iterator<Item = bool>) -> Vec<Chord> {
    let model = &*MODEL;
    let keys = evidence.iter().map(|evidence| model.keys(evidence));
    let keys = likeliest_path(keys, std::iter::repeat(MODULATION));
    let chords = std::iter::zip(evidence, keys).map(|(e, key)| model.chords(e, key));
    let changes = inside.map(|inside| CHANGE[usize::from(inside)]);
    let path = likeliest_path(chords, changes).into_iter();
    path.map(|chord| Chord::new(chord as u16)).collect()
}

/// The same for all music.
static MODEL: LazyLock<Model> = LazyLock::new(Model::new);

/// A value for each pitch class from the origin on, twice: what is so far above some root lies in one piece.
type Twice = [i32; 24];

struct Model {
    /// How well each pitch class fits major and minor keys on the origin, against the mean.
    profiles: [Twice; 2],
    qualities: [Quality; QUALITIES],
    /// What each chord costs in each key: `[key][quality][root]`.
    costs: [[[i32; 12]; QUALITIES]; KEYS],
}

/// What stands above a root.
struct Quality {
    steps: &'static [u8],
    /// How likely a note is each of the tones, more than any other.
    tones: [i32; 4],
    /// How likely a note is another.
    others: i32,
    /// What a bass costs, so far *below* the root.
    bass: [Twice; 2],
}

impl Model {
    fn new() -> Self {
        let profiles = PROFILES.map(|profile| {
            // In hundredths, as they are printed.
            let profile = profile.map(|rating| (rating * 100.0).round() as i32);
            let mean = profile.iter().sum::<i32>() / 12;
            std::array::from_fn(|class| profile[class % 12] - mean)
        });
        let costs = std::array::from_fn(|key| {
            let (tonic, minor) = ((key % 12) as u8, key >= 12);
            // Minor keys have the raised seventh, too.
            let leading = PitchClasses::new(if minor { &[11] } else { &[] });
            let leading = leading.transposed(i32::from(tonic));
            let notes = Scale::from(Tonality { tonic, minor })
                .tones()
                .union(leading);
            std::array::from_fn(|quality| {
                std::array::from_fn(|root| {
                    let foreign = chord(quality, root).tones().without(notes).len();
                    RARE[quality] + FOREIGN * foreign as i32
                })
            })
        });
        Self {
            profiles,
            qualities: std::array::from_fn(Quality::new),
            costs,
        }
    }

    /// How likely each key makes what sounds.
    fn keys(&self, evidence: &Evidence) -> [i32; KEYS] {
        std::array::from_fn(|key| {
            let (tonic, profile) = (key % 12, &self.profiles[key / 12]);
            let rated = std::iter::zip(evidence.weights, &profile[12 - tonic..]);
            rated.map(|(weight, rating)| weight * rating).sum::<i32>() / 1000
        })
    }

    /// How likely each chord, by number, makes what sounds in a key.
    fn chords(&self, evidence: &Evidence, key: usize) -> [i32; Chord::COUNT] {
        let mut likelihoods = [NEVER; Chord::COUNT];
        let Some((row, bass)) = evidence.bass else {
            likelihoods[0] = 0;
            return likelihoods;
        };
        let all: i32 = evidence.weights.iter().sum();
        let weights: Twice = std::array::from_fn(|class| evidence.weights[class % 12]);
        let of_qualities = likelihoods[1..].chunks_exact_mut(12);
        for ((likelihoods, quality), costs) in
            of_qualities.zip(&self.qualities).zip(&self.costs[key])
        {
            let mut notes = [all * quality.others; 12];
            for (step, tone) in std::iter::zip(quality.steps, quality.tones) {
                for (notes, weight) in std::iter::zip(&mut notes, &weights[usize::from(*step)..]) {
                    *notes += weight * tone;
                }
            }
            let bass = &quality.bass[row][12 - bass..];
            for (((likelihood, notes), cost), bass) in
                likelihoods.iter_mut().zip(notes).zip(costs).zip(bass)
            {
                *likelihood = notes / 1000 - cost - bass;
            }
        }
        likelihoods
    }
}

impl Quality {
    fn new(quality: usize) -> Self {
        let nats = |share: f64| (libm::log(share / 1000.0) * 1000.0).round() as i32;
        let steps = chord(quality, 0).steps();
        let parts: f64 = PARTS[..steps.len()].iter().sum();
        let others = nats((1000.0 - TONES) / (12 - steps.len()) as f64);
        let bass = BASS.map(|costs| {
            std::array::from_fn(|below| {
                let above = (24 - below) % 12;
                match steps.iter().position(|step| usize::from(*step) == above) {
                    Some(0) => 0,
                    Some(tone) => costs[tone - 1],
                    None => costs[3],
                }
            })
        });
        Self {
            steps,
            tones: PARTS.map(|part| nats(TONES * part / parts) - others),
            others,
            bass,
        }
    }
}

fn chord(quality: usize, root: usize) -> Chord {
    Chord::new((1 + quality * 12 + root) as u16)
}

/// The path through states whose likelihoods, less the cost of each change, are most together: Viterbi's
/// algorithm, where all changes at one place cost the same. Of equally likely states it takes the first.
fn likeliest_path<const N: usize>(
    likelihoods: impl Iterator<Item = [i32; N]>,
    changes: impl Iterator<Item = i32>,
) -> Vec<usize> {
    let first_best = |totals: &[i32; N]| {
        let most = totals.iter().copied().max();
        totals
            .iter()
            .position(|total| Some(*total) == most)
            .unwrap_or(0)
    };
    // How likely the path to each state is, against the likeliest.
    let mut totals = [0; N];
    // At each step the best state before it, and which states are reached from there.
    let mut steps: Vec<(usize, [bool; N])> = Vec::new();
    for (likelihoods, change) in std::iter::zip(likelihoods, changes) {
        let best = first_best(&totals);
        let most = totals[best];
        let mut moved = [false; N];
        for ((total, likelihood), moved) in totals.iter_mut().zip(likelihoods).zip(&mut moved) {
            let stayed = *total - most;
            *moved = stayed < -change;
            *total = stayed.max(-change) + likelihood;
        }
        steps.push((best, moved));
    }
    let mut state = first_best(&totals);
    let mut path = vec![0; steps.len()];
    for (place, (best, moved)) in std::iter::zip(&mut path, &steps).rev() {
        *place = state;
        state = if moved[state] { *best } else { state };
    }
    path
}
