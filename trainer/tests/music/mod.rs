//! Music that tests make up, in memory, and a model so small that it trains in a moment.
#![allow(dead_code)]

use famam_shared::encoding::{Encoding, Spec, Token, multitrack};
use famam_shared::instrument::Instrument;
use famam_shared::quantize::quantize;
use famam_shared::score::{Metre, Note, Score, TICKS_PER_QUARTER, Tempo, Ticks, Track};
use famam_shared::vocabulary::Vocabulary;
use famam_trainer::batches::{Music, Reading};
use famam_trainer::checkpoint::DataSet;
use famam_trainer::config::training::{
    Config, OptimizerKind, PositionsKind, Precision, ScheduleKind,
};
use famam_trainer::dataset::{Piece, Split};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

/// The encoding of all tests.
pub fn spec() -> Spec {
    Spec::Multitrack(multitrack::Settings::default())
}

/// Two genres and *any*.
pub fn vocabulary() -> Vocabulary {
    Vocabulary::new(["rock".to_owned(), "waltz".to_owned()])
}

/// A song of `bars` bars for drums, bass and piano, with a change of tempo and of metre; `density`
/// notes a bar, about.
pub fn song(seed: u64, bars: u32, density: u32) -> Score {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let bar = 4 * TICKS_PER_QUARTER;
    let mut tracks = Vec::new();
    for (program, low, high) in [(128u8, 35, 50), (33, 30, 45), (0, 55, 80)] {
        let mut notes: Vec<Note> = (0..bars * density / 3)
            .map(|_| Note {
                start: Ticks(rng.random_range(0..bars * 32) * (bar / 32)),
                pitch: rng.random_range(low..high),
                duration: Ticks(rng.random_range(1..16) * (bar / 32)),
                velocity: rng.random_range(40..120),
            })
            .collect();
        notes.sort_unstable();
        let instrument = Instrument::new(program).expect("a program");
        tracks.push(Track {
            instrument,
            name: String::new(),
            notes,
        });
    }
    let waltz = Metre {
        at: Ticks(bar * (bars / 2)),
        numerator: 3,
        denominator: 4,
    };
    Score {
        tracks,
        tempos: vec![
            Tempo {
                at: Ticks(0),
                micros_per_quarter: 500_000,
            },
            Tempo {
                at: Ticks(bar * (bars / 3)),
                micros_per_quarter: 400_000,
            },
        ],
        metres: vec![Metre::COMMON, waltz],
        end: Ticks(bar * bars),
        ..Score::default()
    }
}

/// Numbers from -1 to 1 in the shape of `tensor`, a function of `seed`. Not torch's: its generator is one for
/// the process, and runs beside this test begin it anew for weights that they compare.
pub fn noise_like(tensor: &Tensor, seed: u64) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let drawn: Vec<f32> = (0..tensor.numel())
        .map(|_| rng.random_range(-1.0..1.0))
        .collect();
    Tensor::from_slice(&drawn).view_as(tensor)
}

/// A score as a data set would hold it.
pub fn piece(score: &Score, i: usize, split: Split) -> Piece {
    let encoding = spec()
        .build(vocabulary().genres.len())
        .expect("an encoding");
    let (quantized, losses) = quantize(score, encoding.quantize_settings());
    Piece {
        body: encoding.encode(&quantized).remove(0),
        genre: (i % 3) as u16,
        song: format!("song {}", i / 2),
        split,
        notes: losses.notes as u32,
        source: ["arranged", "band"][i % 2].to_owned(),
        name: format!("{i}.mid"),
    }
}

/// Sixteen pieces to learn from, four to look at.
pub fn music() -> Music {
    let pieces = |range: std::ops::Range<usize>, split| {
        range
            .map(|i| piece(&song(i as u64, 6 + i as u32, 12), i, split))
            .collect()
    };
    Music {
        vocabulary: vocabulary(),
        encoding: spec()
            .build(vocabulary().genres.len())
            .expect("an encoding"),
        spec: spec(),
        train: pieces(0..16, Split::Train),
        validation: pieces(16..20, Split::Validation),
        reading: Reading {
            segment_bars: None,
            shifts: vec![0],
            tempos: vec![0],
        },
    }
}

/// Eight pieces of 9 bars and more to learn from and to look at, in another encoding.
pub fn music_in(spec: &Spec) -> Music {
    let encoding = spec.build(3).expect("an encoding");
    let pieces = |split| -> Vec<Piece> {
        let piece = |seed: u64| {
            let score = song(seed, 9 + seed as u32, 24);
            let (score, _) = quantize(&score, encoding.quantize_settings());
            Piece {
                body: encoding.encode(&score).remove(0),
                ..piece(&score, seed as usize, split)
            }
        };
        (0..8).map(piece).collect()
    };
    Music {
        train: pieces(Split::Train),
        validation: pieces(Split::Validation),
        encoding: spec.build(3).expect("an encoding"),
        spec: spec.clone(),
        ..music()
    }
}

/// [`music`] with metre and tempo in its heads.
pub fn with_heads() -> Music {
    let settings = multitrack::Settings {
        metre_in_head: true,
        tempo_in_head: true,
        ..Default::default()
    };
    let spec = Spec::Multitrack(settings);
    Music {
        encoding: spec.build(vocabulary().genres.len()).unwrap(),
        spec,
        ..music()
    }
}

/// Panics at a token that the grammar does not allow.
pub fn check_grammar(encoding: &dyn Encoding, tokens: &[Token]) {
    let mut grammar = encoding.grammar();
    for &token in tokens {
        grammar
            .accept(token)
            .unwrap_or_else(|error| panic!("{error}"));
    }
}

/// What the checkpoints of tests say of their data set.
pub fn data_set() -> DataSet {
    DataSet {
        name: "made up".to_owned(),
        path: "none.h5".to_owned(),
        hash: "0".to_owned(),
    }
}

/// A tiny model with everything that could make a step depend on more than its number.
pub fn tiny() -> Config {
    Config {
        max_seq_length: 128,
        segment_bars: Some(4),
        num_layers: 1,
        d_model: 32,
        num_heads: 4,
        kv_heads: Some(2),
        d_ff: 48,
        positions: Some(PositionsKind::Rotary),
        tied: true,
        embedding_scale: Some(1.0),
        dropout_rate: 0.1,
        label_smoothing: 0.05,
        batch_size: 6,
        micro_batch_tokens: 200,
        precision: Precision::Fp32,
        optimizer: OptimizerKind::Muon,
        learning_rate: 0.01,
        warmup_steps: 5,
        lr_schedule_type: ScheduleKind::Cosine,
        steps: Some(40),
        transpose: Some((-5, 6)),
        validation_every: Some(4),
        validation_segments: 8,
        use_early_stopping: false,
        ..Config::default()
    }
}
