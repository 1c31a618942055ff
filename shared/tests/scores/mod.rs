//! Encodings with settings of all kinds, and what to try on them: scores with every irregularity that
//! a file can have, and whatever a grammar allows.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;

use famam_shared::encoding::merges::{MAX_EXPANSION, words};
use famam_shared::encoding::{Conditioning, Encoding, Pair, Spec, Token, TokenSet, grid, mmm};
use famam_shared::instrument::Instrument;
use famam_shared::quantize;
use famam_shared::score::{Key, Metre, Note, Score, Tempo, Ticks, Track};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Genres of all vocabularies.
pub const GENRES: usize = 5;

/// A whole number from `low` to below `high`.
pub fn draw(rng: &mut ChaCha8Rng, low: u32, high: u32) -> u32 {
    low + rng.next_u32() % (high - low)
}

/// A score with every irregularity that a file can have: metres of any kind changing anywhere,
/// tempos inside bars, several tracks of an instrument, notes that overlap themselves.
pub fn random_score(rng: &mut ChaCha8Rng) -> Score {
    let length = draw(rng, 1, 40_000);
    let at = |rng: &mut ChaCha8Rng, count: u32| {
        let mut at: Vec<_> = (0..draw(rng, 0, count))
            .map(|_| Ticks(draw(rng, 0, length)))
            .collect();
        at.sort_unstable();
        at
    };
    let metres = at(rng, 6);
    let tempos = at(rng, 12);
    let keys = at(rng, 3);
    let mut score = Score {
        metres: metres
            .into_iter()
            .map(|at| Metre {
                at,
                numerator: draw(rng, 1, 40) as u8,
                denominator: 1 << draw(rng, 0, 8),
            })
            .collect(),
        tempos: tempos
            .into_iter()
            .map(|at| Tempo {
                at,
                micros_per_quarter: draw(rng, 1, 8_000_000),
            })
            .collect(),
        keys: keys
            .into_iter()
            .map(|at| Key {
                at,
                fifths: 0,
                minor: false,
            })
            .collect(),
        ..Score::default()
    };
    for _ in 0..draw(rng, 0, 7) {
        let instrument = match draw(rng, 0, 3) {
            0 => Instrument::DRUMS,
            _ => Instrument::new(draw(rng, 0, 6) as u8).unwrap(),
        };
        let mut notes: Vec<_> = (0..draw(rng, 0, 60))
            .map(|_| {
                let longest = 1 << draw(rng, 1, 16);
                // Half of the notes share four pitches, so that they overlap.
                let pitches = [4, 128][draw(rng, 0, 2) as usize];
                Note {
                    start: Ticks(draw(rng, 0, length)),
                    pitch: draw(rng, 0, pitches) as u8,
                    duration: Ticks(1 + draw(rng, 0, longest)),
                    velocity: draw(rng, 1, 128) as u8,
                }
            })
            .collect();
        notes.sort_unstable();
        score.tracks.push(Track {
            instrument,
            name: "a name".to_owned(),
            notes,
        });
    }
    let ends = score
        .tracks
        .iter()
        .flat_map(|track| &track.notes)
        .map(Note::end);
    score.end = ends.max().unwrap_or_default();
    score
}

/// Every encoding with these settings.
pub fn specs(settings: &quantize::Settings) -> [Spec; 5] {
    let mmm = |music: quantize::Settings| {
        Spec::Mmm(mmm::Settings {
            // 1 to 4.
            window_bars: 1 + (music.positions_per_bar / 4 + music.velocity_bins) % 4,
            music,
        })
    };
    let specs: [fn(quantize::Settings) -> Spec; 3] = [Spec::Multitrack, Spec::Remi, Spec::Event];
    let [multitrack, remi, event] = specs.map(|spec| spec(settings.clone()));
    let grid = Spec::Grid(grid::Settings::new(quantize::Settings {
        // An instrument that rests has no cell.
        rests: false,
        offsets: [1, 2, 5][usize::from(settings.positions_per_bar / 8 % 3)],
        ..settings.clone()
    }));
    [multitrack, remi, event, mmm(settings.clone()), grid]
}

/// Every encoding with every one of [`settings`], with a number of its own.
pub fn encodings() -> impl Iterator<Item = (u64, String, Box<dyn Encoding>)> {
    let specs = settings().into_iter().flat_map(|settings| specs(&settings));
    specs.zip(0..).map(|(spec, i)| {
        let encoding = spec.build(GENRES).unwrap();
        (i, format!("{spec:?}"), encoding)
    })
}

fn settings() -> Vec<quantize::Settings> {
    let default = quantize::Settings::default();
    [4, 12, 16, 24, 32, 48, 96]
        .map(|positions_per_bar| quantize::Settings {
            positions_per_bar,
            ..default.clone()
        })
        .into_iter()
        .chain([quantize::Settings {
            max_duration_bars: 1,
            max_metre_bars: 1,
            velocity_bins: 7,
            metre_in_head: true,
            tempo_in_head: true,
            ..default.clone()
        }])
        .chain([quantize::Settings {
            velocity_bins: 0,
            ..default.clone()
        }])
        .chain([
            quantize::Settings {
                chords: true,
                rests: true,
                ..default.clone()
            },
            quantize::Settings {
                positions_per_bar: 48,
                velocity_bins: 0,
                rests: true,
                tempos: false,
                ..default.clone()
            },
            quantize::Settings {
                chords: true,
                tempos: false,
                time_signature: Some((3, 4)),
                ..default.clone()
            },
        ])
        .collect()
}

/// A stream of about `target` tokens of which each is any that the grammar allows.
pub fn walk(encoding: &dyn Encoding, rng: &mut ChaCha8Rng, target: usize) -> Vec<Token> {
    let mut next = TokenSet::new(encoding.vocabulary_size());
    let (mut grammar, mut stream) = (encoding.grammar(), Vec::new());
    let eos = encoding.special().eos;
    loop {
        grammar.allowed(&mut next);
        if next.is_empty() {
            return stream;
        }
        let only = next.len() == 1;
        // What is wanted need not be long.
        let long = encoding.fills() && stream.len() > target;
        let mut endings = encoding.endings().into_iter();
        let ending = endings.find(|&token| long && next.contains(token));
        let token = if next.contains(eos) && (only || stream.len() > target) {
            eos
        } else if let Some(ending) = ending {
            ending
        } else {
            let mut tokens: Vec<_> = next.iter().filter(|&token| token != eos).collect();
            // Half of the time by kind first, so that all are met, whatever their number of tokens.
            if draw(rng, 0, 2) == 0 {
                let mut kinds: Vec<_> = tokens.iter().map(|&token| encoding.kind(token)).collect();
                kinds.dedup();
                let kind = kinds[draw(rng, 0, kinds.len() as u32) as usize];
                tokens.retain(|&token| encoding.kind(token) == kind);
            }
            tokens[draw(rng, 0, tokens.len() as u32) as usize]
        };
        if stream.len().is_multiple_of(16)
            && (0..encoding.vocabulary_size() as Token)
                .any(|other| !next.contains(other) && grammar.boxed_clone().accept(other).is_ok())
        {
            panic!("the grammar accepts what it does not allow");
        }
        grammar.accept(token).unwrap();
        stream.push(token);
    }
}

/// An encoding with byte pairs merged.
pub fn merged(base: &Spec, pairs: &[Pair]) -> Spec {
    Spec::Merged {
        base: Box::new(base.clone()),
        merges: pairs.to_vec(),
    }
}

/// The `count` pairs that come first where music of random scores is merged, the most frequent pair
/// after the other.
pub fn learned(spec: &Spec, count: usize) -> Vec<Pair> {
    let encoding = spec.build(GENRES).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut all: Vec<Vec<Token>> = Vec::new();
    for _ in 0..12 {
        let score = random_score(&mut rng);
        let (score, _) = quantize::quantize(&score, encoding.quantize_settings());
        for body in encoding.encode(&score) {
            let given = Conditioning::default();
            let stream = encoding.segment(&given, &body.tokens, body.states[0], 0);
            let stream = stream.unwrap().split_off(encoding.head(&given).len());
            all.extend(words(encoding.lexicon(), &stream).map(<[Token]>::to_vec));
        }
    }
    // Nothing is beyond the music's tokens but what is merged.
    let mut next = encoding.head(&Conditioning::default())[1];
    let mut pairs = Vec::new();
    let mut lengths = BTreeMap::<Token, usize>::new();
    while pairs.len() < count {
        let mut counts = BTreeMap::<Pair, usize>::new();
        for pair in all.iter().flat_map(|word| word.windows(2)) {
            *counts.entry((pair[0], pair[1])).or_default() += 1;
        }
        let length = |token| lengths.get(&token).copied().unwrap_or(1);
        let fits = |&(left, right): &Pair| length(left) + length(right) <= MAX_EXPANSION;
        counts.retain(|pair, _| fits(pair));
        let Some((&pair, _)) = counts.iter().max_by_key(|&(_, count)| count) else {
            break;
        };
        for word in &mut all {
            let mut i = 0;
            while i + 1 < word.len() {
                if (word[i], word[i + 1]) == pair {
                    word.splice(i..i + 2, [next]);
                }
                i += 1;
            }
        }
        lengths.insert(next, length(pair.0) + length(pair.1));
        pairs.push(pair);
        next += 1;
    }
    pairs
}
