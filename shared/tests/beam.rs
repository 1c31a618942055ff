//! Beam search finds what a plain search over prefixes finds, and rows of a stream go on from others.

mod hashing;
mod model;
mod scores;

use std::sync::Arc;

use famam_shared::architecture::Architecture;
use famam_shared::encoding::{Conditioning, Encoding, Spec, Token, TokenSet, grid, mmm};
use famam_shared::generation::{Generator, Request, fill_in};
use famam_shared::instrument::Instrument;
use famam_shared::manifest::Precision;
use famam_shared::quantize;
use famam_shared::sampling::{Candidates, Repetition, Settings};
use famam_shared::score::{Metre, Note, Score};
use hashing::Hashing;
use ndarray::s;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

fn request(beam: u8) -> Request {
    let band = [Instrument::DRUMS, Instrument::new(33).unwrap()];
    Request {
        conditioning: Conditioning {
            instruments: Some(band.into_iter().collect()),
            ..Conditioning::default()
        },
        bars: 3,
        metre: Metre::COMMON,
        micros_per_quarter: 500_000,
        seed: 1,
        sampling: Settings {
            beam,
            ..Settings::default()
        },
        max_tokens: None,
    }
}

fn generated(engine: &Hashing, request: Request) -> Vec<Vec<Token>> {
    let generator = Generator::new(engine, request, Arc::default()).unwrap();
    generator.map(|bar| bar.unwrap().tokens).collect()
}

/// The tokens that may follow a stream in a clip, with the logarithms of their probabilities.
fn followers(engine: &Hashing, encoding: &dyn Encoding, stream: &[Token]) -> Vec<(Token, f64)> {
    let mut grammar = encoding.grammar();
    let accepted = stream.iter().try_for_each(|&token| grammar.accept(token));
    accepted.unwrap();
    let mut allowed = TokenSet::new(encoding.vocabulary_size());
    grammar.allowed(&mut allowed);
    let left_out = ["metre", "tempo", "eos", "fill placeholder", "fill", "at"];
    for token in 0..encoding.vocabulary_size() as Token {
        if left_out.contains(&encoding.kind(token)) {
            allowed.remove(token);
        }
    }
    let mut candidates = Candidates::default();
    candidates.fill(&engine.logits(stream), &allowed);
    candidates.log_probabilities().collect()
}

/// One bar behind `stream`, by a search over whole streams; and its score.
fn searched(
    engine: &Hashing,
    encoding: &dyn Encoding,
    stream: &[Token],
    width: usize,
) -> (Vec<Token>, f64) {
    let bar = encoding.special().bar;
    let (mut live, mut whole) = (vec![(Vec::new(), 0.0)], Vec::new());
    while whole.len() < width && !live.is_empty() {
        let mut next = Vec::new();
        for (said, log) in &live {
            let all = [stream, said].concat();
            for (token, more) in followers(engine, encoding, &all) {
                next.push(([&said[..], &[token]].concat(), log + more));
            }
        }
        // Sorted by prefix already: equal ones stay in their order.
        next.sort_by(|a: &(_, f64), b| b.1.total_cmp(&a.1));
        next.truncate(width);
        let (ended, going): (Vec<_>, Vec<_>) = next
            .into_iter()
            .partition(|(said, _)| said.last() == Some(&bar));
        whole.extend(ended);
        live = going;
    }
    let score =
        |(said, log): &(Vec<Token>, f64)| log / ((5.0 + said.len() as f64) / 6.0).powf(0.65);
    let best = whole.iter().map(score).fold(f64::NEG_INFINITY, f64::max);
    let found = whole.iter().find(|whole| score(whole) == best).unwrap();
    (found.0[..found.0.len() - 1].to_vec(), best)
}

#[test]
fn a_beam_finds_what_a_search_over_prefixes_finds() {
    let specs = scores::specs(&quantize::Settings::default());
    let mut better = 0;
    for (spec, memory) in [
        (&specs[0], 3),
        (&specs[0], 40),
        (&specs[1], 5),
        (&specs[4], 4),
    ] {
        let engine = Hashing::new(spec.clone(), memory, 12.0);
        let encoding = spec.build(engine.manifest.vocabulary.genres.len()).unwrap();
        for width in [1u8, 2, 5, 10] {
            let request = request(width);
            let bars = generated(&engine, request);
            assert_eq!(bars.len(), 3);
            let state = encoding.bar_state(request.metre, request.micros_per_quarter);
            let conditioning = Conditioning {
                metre: Some(state.metre),
                tempo: Some(state.tempo),
                ..request.conditioning
            };
            let first = [encoding.special().bar];
            let mut stream = encoding
                .begun_with(&conditioning, &first, state, 0)
                .unwrap();
            let mut begins = encoding.head(&conditioning).len();
            for (i, bar) in bars.iter().enumerate() {
                let (said, score) = searched(&engine, &*encoding, &stream, width.into());
                let (_, greedy) = searched(&engine, &*encoding, &stream, 1);
                better += i32::from(score > greedy) - i32::from(score < greedy);
                stream.extend(said);
                assert_eq!(*bar, stream[begins..], "{spec:?}, width {width}, bar {i}");
                begins = stream.len();
                stream.push(encoding.special().bar);
            }
        }
    }
    assert!(
        better > 10,
        "it finds what is likelier than greedy: {better}"
    );
}

#[test]
fn a_beam_of_1_is_greedy_and_seeds_and_filters_change_nothing() {
    let mut biased = 0;
    for spec in scores::specs(&quantize::Settings::default()) {
        let engine = Hashing::new(spec.clone(), 3, 12.0);
        let with = |sampling| {
            generated(
                &engine,
                Request {
                    sampling,
                    ..request(0)
                },
            )
        };
        let greedy = Settings {
            temperature: 0.0,
            ..Settings::default()
        };
        let plain = request(1).sampling;
        assert_eq!(with(plain), with(greedy), "{spec:?}");
        let wide = request(4);
        let other = Request {
            seed: 2,
            sampling: Settings {
                top_k: 2,
                temperature: 0.3,
                ..wide.sampling
            },
            ..wide
        };
        assert_eq!(generated(&engine, wide), generated(&engine, other));
        let repetition = Repetition {
            strength: 20.0,
            ..Repetition::default()
        };
        let repeating = Hashing::new(spec.clone(), 1, 12.0);
        // With notes enough to repeat.
        let with = |repetition| {
            let sampling = Settings {
                repetition,
                more_notes: 6.0,
                ..wide.sampling
            };
            let bars = 12;
            generated(
                &repeating,
                Request {
                    bars,
                    sampling,
                    ..wide
                },
            )
        };
        biased += usize::from(with(repetition) != with(Repetition::default()));
    }
    assert!(biased > 0, "biases count");
}

#[test]
fn a_beam_keeps_to_windows_limits_and_the_context() {
    let mmm = Spec::Mmm(mmm::Settings::default());
    let merged = {
        let base = &scores::specs(&quantize::Settings::default())[0];
        scores::merged(base, &scores::learned(base, 100))
    };
    for spec in [mmm, merged] {
        let engine = Hashing::new(spec, 4, 6.0);
        let bars = generated(
            &engine,
            Request {
                bars: 10,
                ..request(3)
            },
        );
        assert_eq!(bars.len(), 10);
        let few = generated(
            &engine,
            Request {
                bars: 10,
                max_tokens: Some(1),
                ..request(3)
            },
        );
        assert!(few.len() < 10);
        // With guidance two rows stand for each sequence.
        let mut guided = request(3);
        guided.sampling.guidance = 3.0;
        assert_eq!(generated(&engine, guided).len(), 3);
    }
}

/// Bars that are filled in by a beam are likelier than those that the likeliest token each time makes, and the rest
/// of the piece is as it was.
#[test]
fn a_beam_fills_in_what_is_open() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut others = 0;
    for spec in [
        Spec::Mmm(mmm::Settings::default()),
        Spec::Grid(grid::Settings::default()),
    ] {
        let engine = Hashing::new(spec.clone(), 4, 6.0);
        for _ in 0..10 {
            let score = scores::random_score(&mut rng);
            let (score, _) = quantize::quantize(&score, spec.settings());
            let open = |bar: u32, _: Instrument| bar % 3 == 1;
            let filled = |beam| {
                let mut request = request(beam);
                request.conditioning = Conditioning::default();
                fill_in(&engine, request, &score, &open, Arc::default()).unwrap()
            };
            let (wide, greedy) = (filled(3), filled(1));
            others += usize::from(wide != greedy);
            let bars: Vec<_> = score.bars().collect();
            let known = |score: &Score| {
                let notes = score.tracks.iter().flat_map(|track| {
                    let by = track.instrument;
                    track.notes.iter().map(move |note| (by, *note))
                });
                let closed = |(_, note): &(Instrument, Note)| {
                    let bar = bars.iter().rposition(|bar| bar.start <= note.start);
                    bar.is_some_and(|bar| !open(bar as u32, Instrument::DRUMS))
                };
                let mut notes: Vec<_> = notes.filter(closed).collect();
                notes.sort();
                notes
            };
            let starts = |notes: Vec<(Instrument, Note)>| {
                let starts = notes
                    .into_iter()
                    .map(|(by, note)| (by, note.start, note.pitch));
                starts.collect::<Vec<_>>()
            };
            assert_eq!(starts(known(&wide)), starts(known(&score)), "{spec:?}");
            let greedy_again = {
                let mut request = request(0);
                request.conditioning = Conditioning::default();
                request.sampling.temperature = 0.0;
                fill_in(&engine, request, &score, &open, Arc::default()).unwrap()
            };
            assert_eq!(greedy, greedy_again, "a beam of 1 is greedy");
        }
    }
    assert!(others > 5, "{others}");
}

/// Rows that went on from others have the logits of rows that were given the same tokens at once.
fn assert_reordered<A: Clone + Into<Architecture>>(model: &A, precision: Precision) {
    for choice in model::choices_of(model) {
        let engine = model::engine(model, &model::weights(model, 1), precision, 1, choice);
        let prompts: Vec<Vec<Token>> = (0..4)
            .map(|row| model::tokens(model, 130 + 20 * row, row as u64))
            .collect();
        let next: Vec<Vec<Token>> = (4..8).map(|row| model::tokens(model, 5, row)).collect();
        let slices = |rows: &[Vec<Token>]| rows.iter().map(|row| row.to_vec()).collect::<Vec<_>>();
        fn borrowed(rows: &[Vec<Token>]) -> Vec<&[Token]> {
            rows.iter().map(Vec::as_slice).collect()
        }
        let order = [2, 0, 2, 3];
        let mut stream = engine.open(4, 512).unwrap();
        stream.run(&borrowed(&prompts)).unwrap();
        stream.reorder(&order).unwrap();
        let after = stream.run(&borrowed(&next)).unwrap().to_owned();
        let moved: Vec<Vec<Token>> = order.map(|row| slices(&prompts)[row].clone()).to_vec();
        let mut fresh = engine.open(4, 512).unwrap();
        fresh.run(&borrowed(&moved)).unwrap();
        let expected = fresh.run(&borrowed(&next)).unwrap();
        for (a, b) in after.iter().zip(expected.iter()) {
            let exact = precision == Precision::Int8;
            assert!(
                if exact { a == b } else { (a - b).abs() < 1e-4 },
                "{choice:?}: {a} {b}"
            );
        }
        assert!((0..4).all(|row| stream.len(row) == fresh.len(row)));
        for wrong in [&[0, 1, 2][..], &[0, 1, 2, 4]] {
            assert!(stream.reorder(wrong).is_err());
        }
        let expected = fresh.run(&borrowed(&next)).unwrap();
        stream.select(&[3, 1]).unwrap();
        let after = stream.run(&[&next[3], &next[1]]).unwrap();
        for (row, of) in [3, 1].into_iter().enumerate() {
            let (after, expected) = (after.slice(s![row, .., ..]), expected.slice(s![of, .., ..]));
            let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-4;
            assert!(match precision {
                Precision::Int8 => after == expected,
                Precision::Fp32 => after.iter().zip(&expected).all(close),
            });
        }
        assert_eq!(
            [0, 1].map(|row| stream.len(row)),
            [3, 1].map(|row| fresh.len(row))
        );
        for wrong in [&[][..], &[0, 2]] {
            assert!(stream.select(wrong).is_err());
        }
    }
}

#[test]
fn rows_go_on_from_others() {
    let t = model::small(model::rotary());
    assert_reordered(&t, Precision::Int8);
    assert_reordered(&t, Precision::Fp32);
    assert_reordered(&model::lstm::lstm(), Precision::Fp32);
}
