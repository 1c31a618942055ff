//! What music is conditioned on: that training hides each condition as often as the config says, what
//! conditions that are added to every token compute, and that guidance leads to what is asked for.

mod music;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use famam_shared::bundle::Bundle;
use famam_shared::encoding::{Conditioning, Token};
use famam_shared::engine::{self, Choice, Engine};
use famam_shared::generation::{Generator, Request};
use famam_shared::instrument::Instrument;
use famam_shared::sampling;
use famam_shared::score::{Metre, Note, Score, Tempo, Ticks, Track};
use famam_trainer::batches::{Draw, Music, Purpose};
use famam_trainer::checkpoint::{self, BEST};
use famam_trainer::config::training::{ConditioningKind, Config, ModelType};
use famam_trainer::dataset::{Piece, Split};
use famam_trainer::export;
use famam_trainer::model::{Dropout, Model, Ragged};
use famam_trainer::scoring::{self, Scorer};
use famam_trainer::train::Run;
use music::{data_set, music, spec, tiny, with_heads};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Tensor};

/// The kinds of the tokens of each of 2,000 heads.
fn heads(config: &Config, music: &Music) -> Vec<Vec<&'static str>> {
    let draw = Draw::new(config, music, &music.train);
    let segments = draw.segments(Purpose::Step(1), |segments, _| segments >= 2000);
    let kinds = |tokens: &[Token]| tokens.iter().map(|&t| music.encoding.kind(t)).collect();
    let heads = segments.iter().map(|s| kinds(&s.tokens[..s.first]));
    heads.collect()
}

#[test]
fn each_condition_is_hidden_as_often_as_the_config_says() {
    let music = with_heads();
    let never = Config {
        unconditioned: 0.0,
        genre_dropout: 0.0,
        instrument_dropout: 0.0,
        metre_dropout: 0.0,
        tempo_dropout: 0.0,
        ..tiny()
    };
    let shares = |config: &Config| {
        let heads = heads(config, &music);
        ["metre", "tempo", "any instruments"].map(|kind| {
            let with = heads.iter().filter(|head| head.contains(&kind)).count();
            with as f64 / heads.len() as f64
        })
    };
    assert_eq!(shares(&never), [1.0, 1.0, 0.0]);
    let near = |config: &Config, expected: [f64; 3]| {
        let found = shares(config);
        let close = std::iter::zip(found, expected).all(|(a, b)| (a - b).abs() < 0.05);
        assert!(close, "{found:?} instead of {expected:?}");
    };
    let rates = |metre_dropout, tempo_dropout, instrument_dropout, unconditioned| Config {
        metre_dropout,
        tempo_dropout,
        instrument_dropout,
        unconditioned,
        ..never.clone()
    };
    near(&rates(0.3, 0.0, 0.0, 0.0), [0.7, 1.0, 0.0]);
    near(&rates(0.0, 0.6, 0.0, 0.0), [1.0, 0.4, 0.0]);
    near(&rates(0.5, 0.5, 0.2, 0.4), [0.3, 0.3, 0.52]);
}

/// What older data sets draw stays what it was, whatever the new fields say.
#[test]
fn heads_without_metre_and_tempo_draw_nothing_for_them() {
    let music = music();
    let drawn = |config: &Config| {
        let draw = Draw::new(config, &music, &music.train);
        draw.segments(Purpose::Step(1), |segments, _| segments >= 50)
    };
    let other = Config {
        metre_dropout: 1.0,
        tempo_dropout: 0.9,
        ..tiny()
    };
    assert!(drawn(&tiny()) == drawn(&other));
    let said = heads(&tiny(), &music);
    assert!(
        said.iter()
            .all(|head| !head.contains(&"tempo") && !head.contains(&"metre"))
    );
}

/// Conditions are summed, scaled, and added to every token of their own sequence.
#[test]
fn added_conditions_are_the_formula_in_ragged_batches() {
    for model_type in [ModelType::Transformer, ModelType::Lstm] {
        let config = Config {
            model_type,
            lstm_units: vec![20],
            conditioning: ConditioningKind::Added,
            conditioning_scale: 0.5,
            tied: false,
            ..tiny()
        };
        let size = music().encoding.vocabulary_size();
        let model = Model::new(&config.architecture(size), 1, Device::Cpu);
        let (ends, none) = (model.architecture().ends(), || Dropout::none());
        let streams: [(&[Token], usize); 3] = [
            (&[1, 600, 10, 11, 12, 3, 40, 41, 0], 5),
            (&[1, 3, 40, 41, 50, 0], 1),
            (&[1, 601, 4, 3, 40, 0], 3),
        ];
        let streams = streams.map(|(tokens, head)| {
            let tokens: Vec<Token> = tokens.iter().map(|&t| t % size as Token).collect();
            (tokens, head)
        });
        let items = streams
            .iter()
            .map(|(tokens, head)| (&tokens[..], *head, *head));
        let batch = Ragged::new(ends, items, Device::Cpu);
        assert_eq!(batch.lengths, [4, 5, 3], "no conditions in the sequences");
        let hidden = tch::no_grad(|| model.hidden(&batch, &mut none()));
        let hidden = hidden.split_with_sizes(&batch.lengths[..], 0);
        for ((tokens, head), hidden) in std::iter::zip(&streams, hidden) {
            // The same model without conditions, whose embeddings have them in.
            let plain = Config {
                conditioning: ConditioningKind::Tokens,
                ..config.clone()
            };
            let weights = model.weights().iter();
            let weights = weights.map(|(name, weight)| (name.clone(), weight.detach().copy()));
            let weights: std::collections::HashMap<String, Tensor> = weights.collect();
            let table = &weights["embedding.weight"];
            let given: Vec<i64> = tokens[1..*head].iter().map(|&t| i64::from(t)).collect();
            let rows = table.index_select(0, &Tensor::from_slice(&given));
            let sum = rows.sum_dim_intlist(0i64, true, tch::Kind::Float) * 0.5;
            let _ = table.shallow_clone().g_add_(&sum);
            let plain = Model::from_weights(&plain.architecture(size), weights, Device::Cpu);
            let mut sequence = vec![i64::from(tokens[0])];
            sequence.extend(
                tokens[*head..tokens.len() - 1]
                    .iter()
                    .map(|&t| i64::from(t)),
            );
            let ids = Tensor::from_slice(&sequence);
            let alone = Ragged::unscored(&ids, &[sequence.len() as i64]);
            let expected = tch::no_grad(|| plain.unwrap().hidden(&alone, &mut none()));
            let apart = (&hidden - expected).abs().max().double_value(&[]);
            assert!(apart < 1e-4, "{model_type:?}: {apart}");
        }
    }
}

/// The share of a genre's notes that lie in its own register.
const OWN: f64 = 0.7;

/// A piano of the genre `rock` plays low, one of `waltz` high, mostly.
fn registers(seed: u64, genre: u16) -> Score {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let notes = (0..48).map(|i| {
        let low = rng.random_bool(OWN) == (genre == 1);
        Note {
            start: Ticks(i * 960),
            pitch: if low { 40 } else { 76 } + 2 * rng.random_range(0..3),
            duration: Ticks(480),
            velocity: 80,
        }
    });
    Score {
        tracks: vec![Track {
            instrument: Instrument::new(0).unwrap(),
            name: String::new(),
            notes: notes.collect(),
        }],
        tempos: vec![Tempo {
            at: Ticks(0),
            micros_per_quarter: 500_000,
        }],
        metres: vec![Metre::COMMON],
        end: Ticks(48 * 960),
        ..Score::default()
    }
}

fn of_two_genres() -> Music {
    let piece = |i: usize, split| -> Piece {
        let genre = 1 + (i % 2) as u16;
        let score = registers(i as u64, genre);
        Piece {
            genre,
            ..music::piece(&score, i, split)
        }
    };
    Music {
        train: (0..40).map(|i| piece(i, Split::Train)).collect(),
        validation: (40..44).map(|i| piece(i, Split::Validation)).collect(),
        spec: spec(),
        ..music()
    }
}

/// libtorch and an engine find the tokens of a piece equally likely, conditions given.
fn assert_scored_alike(music: &Music, model: Model, engine: &Arc<dyn Engine>) {
    let Piece { body, genre, .. } = &music.validation[0];
    let given = Conditioning {
        genre: *genre,
        instruments: Some(body.instruments),
        ..Conditioning::default()
    };
    let context = engine.manifest().context;
    let windows = scoring::windows(0, body, &*music.encoding, &given, context).unwrap();
    let nats = |scorer: Scorer| {
        let mut all = Vec::new();
        let each = |_: &_, _, nats: scoring::Nats| all.push(nats.free);
        scoring::score(&mut [scorer], &*music.encoding, &windows, |_| (), each).unwrap();
        all
    };
    let (torch, found) = (
        nats(Scorer::Torch(model.into())),
        nats(Scorer::engine(engine).unwrap()),
    );
    assert!(torch.len() > 100 && torch.len() == found.len());
    let apart = std::iter::zip(&torch, &found).map(|(a, b)| (a - b).abs());
    let apart = apart.fold(0.0, f64::max);
    assert!(apart < 1e-3, "{apart}");
}

/// Trains, exports, and measures by the process that made the music how much likelier the genre
/// asked for is than the other, in nats a note, with each guidance.
fn nats_for_the_genre(guidance: [f32; 2]) -> [f64; 2] {
    let music = of_two_genres();
    let config = Config {
        conditioning: ConditioningKind::Added,
        conditioning_scale: 1.0,
        dropout_rate: 0.0,
        label_smoothing: 0.0,
        transpose: None,
        unconditioned: 0.2,
        genre_dropout: 0.0,
        instrument_dropout: 0.0,
        steps: Some(200),
        validation_every: Some(100),
        ..tiny()
    };
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::open(config, &music, data_set(), None, folder.path(), 1).unwrap();
    run.train(&AtomicBool::new(false), None).unwrap();
    let output = folder.path().join("model.onnx");
    let args = export::Args {
        checkpoint: folder.path().to_owned(),
        output: output.clone(),
        int8: false,
        dataset: None,
        name: None,
        licence: "CC0".to_owned(),
        threads: Some(1),
    };
    export::run(&args).unwrap();
    let bundle = Bundle::read(&std::fs::read(&output).unwrap()).unwrap();
    let engine = engine::load(&bundle, 1, Choice::Rten).unwrap();
    let model = checkpoint::read(&folder.path().join(BEST)).unwrap().model();
    assert_scored_alike(&music, model.unwrap(), &engine);
    guidance.map(|guidance| {
        let (mut nats, mut notes) = (0.0, 0);
        for (genre, seed) in [(1, 1), (2, 1), (1, 2), (2, 2)] {
            let piano = Instrument::new(0).unwrap();
            let request = Request {
                conditioning: Conditioning {
                    genre,
                    instruments: Some([piano].into_iter().collect()),
                    ..Conditioning::default()
                },
                bars: 24,
                metre: Metre::COMMON,
                micros_per_quarter: 500_000,
                seed,
                sampling: sampling::Settings {
                    guidance,
                    top_p: 1.0,
                    ..Default::default()
                },
                max_tokens: Some(1000),
            };
            let generator = Generator::new(&*engine, request, Default::default()).unwrap();
            for (_, note) in generator.flat_map(|bar| bar.unwrap().notes) {
                let own = (note.pitch < 60) == (genre == 1);
                let odds = (OWN / (1.0 - OWN)).ln();
                nats += if own { odds } else { -odds };
                notes += 1;
            }
        }
        assert!(notes > 100, "{notes} notes");
        nats / f64::from(notes)
    })
}

#[test]
fn guidance_makes_the_genre_likelier_that_is_asked_for() {
    let [plain, guided] = nats_for_the_genre([1.0, 4.0]);
    println!("{plain:.2} nats a note, guided {guided:.2}");
    assert!(plain > 0.1, "the genre is heard: {plain}");
    assert!(guided > plain + 0.1, "{guided} after {plain}");
}
