//! What the engines compute, against the formulas of `architecture.rs`, and that in int8 it is the
//! same to the bit however it is computed.

mod model;

use famam_shared::architecture::{Positions, Transformer};
use famam_shared::encoding::Token;
use famam_shared::engine::{Choice, Engine};
use famam_shared::manifest::Precision;
use model::{
    choices_of, emulated, emulation, engine, learned, medium, reference, relative, rotary, run,
    small, softmax, tokens, weights,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

#[test]
fn fp32_is_the_architecture() {
    // Key/value heads of which int8 has no graph.
    let heads = [("one key/value head", 1), ("as many key/value heads", 4)];
    let heads = heads.map(|(name, kv_heads)| {
        (
            name,
            Transformer {
                kv_heads,
                ..small(relative())
            },
        )
    });
    for (name, t) in architectures().into_iter().chain(heads) {
        let weights = weights(&t, 1);
        let tokens = tokens(&t, 300, 2);
        let expected = reference(&t, &weights, &tokens);
        for choice in choices_of(&t) {
            let engine = engine(&t, &weights, Precision::Fp32, 1, choice);
            let mut stream = engine.open(1, 300).expect("a stream");
            let mut pieces = [100, 1, 1, 128, 7].into_iter().chain(std::iter::repeat(1));
            let logits = run(&mut *stream, &tokens, || pieces.next().unwrap_or(1));
            let mut worst = 0f64;
            for (a, b) in logits.iter().flatten().zip(expected.iter().flatten()) {
                worst = worst.max((f64::from(*a) - b).abs());
            }
            println!("{name}, {}: {worst:.1e} from the formulas", engine.name());
            assert!(worst < 1e-3, "{name}, {choice:?}: {worst}");
        }
    }
}

/// The tokens of a test; fewer where the processor is emulated.
fn length() -> usize {
    if emulation() { 70 } else { 700 }
}

/// Models with all that a graph can have; two of one layer where the processor is emulated.
fn architectures() -> Vec<(&'static str, Transformer)> {
    let layer = |t| Transformer { layers: 1, ..t };
    if emulation() {
        return vec![
            ("rotary", layer(medium(rotary()))),
            ("relative", layer(small(relative()))),
        ];
    }
    vec![
        ("medium, rotary", medium(rotary())),
        ("medium, relative", medium(relative())),
        ("small, rotary", small(rotary())),
        ("small, relative", small(relative())),
        ("small, sinusoidal", small(Positions::Sinusoidal)),
        ("small, learned", small(learned())),
    ]
}

/// Calls `claim` with each engine in int8 of each architecture, on `threads` threads, and with the
/// logits of one prompt that was run whole.
fn in_int8(threads: usize, claim: impl Fn(&str, &dyn Engine, &[Token], &[Vec<f32>])) {
    for (name, t) in architectures() {
        let weights = weights(&t, 3);
        let tokens = tokens(&t, length(), 4);
        for choice in choices_of(&t) {
            let name = format!("{name}, {choice:?}");
            let load = |threads| engine(&t, &weights, Precision::Int8, threads, choice);
            let mut stream = load(1).open(1, tokens.len()).expect("a stream");
            let whole = run(&mut *stream, &tokens, || tokens.len());
            claim(&name, &*load(threads), &tokens, &whole);
        }
    }
}

#[track_caller]
fn assert_same(what: &str, a: &[Vec<f32>], b: &[Vec<f32>]) {
    let bits = |logits: &Vec<f32>| logits.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!(bits(a) == bits(b), "{what}: token {i} differs");
    }
    assert!(!a.is_empty());
}

#[test]
fn int8_is_the_same_for_every_split_of_a_prompt() {
    in_int8(1, |name, engine, tokens, whole| {
        let mut stream = engine.open(1, tokens.len()).expect("a stream");
        for piece in [1, 2, 3, 7, 64, 127, 128, 129, 300, 699] {
            if piece > tokens.len() {
                break;
            }
            stream.clear();
            let logits = run(&mut *stream, tokens, || piece);
            assert_same(&format!("{name}, pieces of {piece}"), &logits, whole);
        }
        for seed in 0..5 {
            stream.clear();
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let longest = [3, 20, 130, 400, 700][seed as usize];
            let logits = run(&mut *stream, tokens, || {
                1 + rng.next_u32() as usize % longest
            });
            assert_same(
                &format!("{name}, random pieces up to {longest}"),
                &logits,
                whole,
            );
        }
    });
}

#[test]
fn int8_is_the_same_in_every_capacity() {
    in_int8(1, |name, engine, tokens, whole| {
        for capacity in [
            60, 61, 64, 100, 255, 256, 257, 300, 513, 699, 700, 1000, 1024,
        ] {
            if emulation() && capacity > 100 {
                break;
            }
            let mut stream = engine.open(1, capacity).expect("a stream");
            let tokens = &tokens[..capacity.min(tokens.len())];
            let mut pieces = [tokens.len() - 3, 1]
                .into_iter()
                .chain(std::iter::repeat(1));
            let logits = run(&mut *stream, tokens, || pieces.next().unwrap_or(1));
            assert_same(&format!("{name}, capacity {capacity}"), &logits, whole);
        }
    });
}

#[test]
fn int8_is_the_same_on_several_threads() {
    for threads in [2, 4] {
        in_int8(threads, |name, engine, tokens, whole| {
            for piece in [1, 128, 700] {
                let mut stream = engine.open(1, 1000).expect("a stream");
                let logits = run(&mut *stream, tokens, || piece);
                let what = format!("{name}, {threads} threads, pieces of {piece}");
                assert_same(&what, &logits, whole);
            }
        });
    }
}

/// Eight rows that start, end and advance apart, each against itself alone.
#[test]
fn int8_is_the_same_in_a_ragged_batch() {
    for threads in [1, 2] {
        in_int8(threads, |name, engine, tokens, _| {
            let mut rng = ChaCha8Rng::seed_from_u64(5);
            let rows: Vec<&[Token]> = (0..8)
                .map(|row| &tokens[row * 5..][..tokens.len() / 2])
                .collect();
            let mut stream = engine.open(8, tokens.len() / 2).expect("a stream");
            let mut logits = vec![Vec::new(); 8];
            while (0..8).any(|row| stream.len(row) < rows[row].len()) {
                let steps = rng.next_u32().is_multiple_of(3);
                let mut piece = |row: usize| {
                    let rest = &rows[row][stream.len(row)..];
                    let most = if steps { 2 } else { 40 };
                    &rest[..rest.len().min(rng.next_u32() as usize % most)]
                };
                let pieces: Vec<&[Token]> = (0..8).map(&mut piece).collect();
                if pieces.iter().all(|piece| piece.is_empty()) {
                    continue;
                }
                let view = stream.run(&pieces).expect("logits");
                for (row, piece) in pieces.iter().enumerate() {
                    let new =
                        (0..piece.len()).map(|i| view.slice(ndarray::s![row, i, ..]).to_vec());
                    logits[row].extend(new);
                }
            }
            for (row, logits) in logits.iter().enumerate() {
                let mut alone = engine.open(1, 1024).expect("a stream");
                let alone = run(&mut *alone, rows[row], || 50);
                assert_same(
                    &format!("{name}, {threads} threads, row {row}"),
                    logits,
                    &alone,
                );
            }
        });
    }
}

#[test]
fn engines_agree_in_int8() {
    for (name, t) in architectures() {
        let weights = weights(&t, 3);
        let tokens = tokens(&t, length(), 4);
        let of = |choice, precision| {
            let mut stream = engine(&t, &weights, precision, 1, choice)
                .open(1, 1024)
                .expect("a stream");
            run(&mut *stream, &tokens, || 128)
        };
        let rten = of(Choice::Rten, Precision::Int8);
        let floats = divergence(&of(Choice::Rten, Precision::Fp32), &rten);
        println!("{name}: {floats:.1e} nats from fp32 to int8");
        for choice in choices_of(&t) {
            let between = divergence(&rten, &of(choice, Precision::Int8));
            println!("{name}: {between:.1e} nats between rten and {choice:?}");
            assert!(between < 2e-3, "{name}, {choice:?}: {between}");
        }
    }
}

/// The mean KL divergence of `b`'s distributions from `a`'s, nats.
fn divergence(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let shares =
        |logits: &[f32]| softmax(&logits.iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
    let of = |(a, b): (&Vec<f32>, &Vec<f32>)| -> f64 {
        shares(a)
            .iter()
            .zip(shares(b))
            .map(|(p, q)| p * (p / q).ln())
            .sum()
    };
    a.iter().zip(b).map(of).sum::<f64>() / a.len() as f64
}

/// The same claims on a processor with AVX2 and without VNNI, where sums of products saturate.
#[test]
fn int8_is_the_same_without_vnni() {
    emulated("int8_is");
}
