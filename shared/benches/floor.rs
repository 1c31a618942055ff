//! A step on one thread against what no step can do without: reading its weights and its caches once.
//! How long that takes is measured in the same loop, by summing as many bytes.
//!
//! ```sh
//! cargo bench -p famam-shared --bench floor
//! ```

mod measure;
#[path = "../tests/model/mod.rs"]
mod model;

use famam_shared::architecture::Transformer;
use famam_shared::bundle::Bundle;
use famam_shared::engine::{self, Choice, Engine};
use famam_shared::manifest::Precision;
use measure::{load, median, timed};

/// The contexts, with what a step may take of its floor in 32 and in 8 bits.
const CONTEXTS: [(usize, [f64; 2]); 3] = [(0, [1.3, 1.6]), (1024, [2.4, 3.6]), (4096, [2.4, 3.6])];
/// Steps from one context on, then as many sums as here, so often.
const STEPS: usize = 32;
const SUMS: usize = 6;
const ROUNDS: usize = 9;

fn main() {
    let model = measure::large();
    let weights = model::weights(&model, 1);
    println!(
        "6 layers, d = 512; wall time of a step on one thread; load {}",
        load()
    );
    let most = CONTEXTS.iter().map(|(context, _)| context + STEPS).max();
    for (index, precision) in [Precision::Fp32, Precision::Int8].into_iter().enumerate() {
        let bytes = model::file(&model, &weights, precision, most.unwrap_or(STEPS));
        let bundle = Bundle::read(&bytes).expect("what was written");
        let engine = match engine::load(&bundle, 1, Choice::Auto) {
            Ok(engine) => engine,
            Err(error) => return println!("skipped: {error}"),
        };
        for (context, most) in CONTEXTS {
            let bytes = bytes_read(&model, precision, context);
            let Measured { step, floor, ratio } = measure(&*engine, context, bytes);
            println!(
                "figure | a step of 6 layers, d = 512, {precision:?}, at context {context}, against its {:.1} MB at {:.1} GB/s | \
                 {step:.3} ms, {ratio:.2} times | at most {}",
                bytes as f64 / 1e6,
                bytes as f64 / floor / 1e6,
                most[index]
            );
        }
    }
}

/// What a step must read: every matrix that it multiplies by, the head's too, of the embedding no more
/// than a row where it is no head, and the keys and values of `context` tokens.
fn bytes_read(model: &Transformer, precision: Precision, context: usize) -> usize {
    let bytes = match precision {
        Precision::Fp32 => 4,
        Precision::Int8 => 1,
    };
    let read = |name: &str| model.tied || name != "embedding.weight";
    let weights = model.weights().into_iter();
    let matrices = weights.filter(|(name, shape)| shape.len() > 1 && read(name));
    let weights: usize = matrices
        .map(|(_, shape)| shape.iter().product::<usize>())
        .sum();
    let cached = 2 * model.layers * model.kv_heads * model.head_dim() * context;
    bytes * weights + size_of::<f32>() * cached
}

/// Milliseconds, medians over the rounds.
struct Measured {
    step: f64,
    /// The best of a round's sums.
    floor: f64,
    ratio: f64,
}

fn measure(engine: &dyn Engine, context: usize, bytes: usize) -> Measured {
    let buffer: Vec<u64> = (0..bytes as u64 / 8).collect();
    let mut stream = engine.open(1, context + STEPS).expect("a stream");
    for piece in vec![1; context].chunks(128) {
        stream.run(&[piece]).expect("a prompt");
    }
    let (mut steps, mut floors, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        stream.keep(&[context]);
        let round = (0..STEPS).map(|_| timed(|| stream.run(&[&[2]]).map(drop).expect("a step")).1);
        let step = median(&round.collect::<Vec<f64>>());
        let sums = (0..SUMS).map(|_| timed(|| sum(std::hint::black_box(&buffer))).1);
        let floor = sums.fold(f64::INFINITY, f64::min);
        steps.push(step);
        floors.push(floor);
        ratios.push(step / floor);
    }
    Measured {
        step: median(&steps),
        floor: median(&floors),
        ratio: median(&ratios),
    }
}

/// The sum of all numbers, with the widest loads that the processor has.
fn sum(numbers: &[u64]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn wide(numbers: &[u64]) -> u64 {
            sum_in_lanes(numbers)
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has what the function needs.
            return unsafe { wide(numbers) };
        }
    }
    sum_in_lanes(numbers)
}

/// In four streams, of which a processor fetches ahead at once, and in lanes that do not wait for one
/// another.
#[inline(always)]
fn sum_in_lanes(numbers: &[u64]) -> u64 {
    const LANES: usize = 8;
    let (quarters, rest) = numbers.as_chunks::<LANES>();
    let quarter = quarters.len() / 4;
    let (first, second) = quarters.split_at(2 * quarter);
    let ((a, b), (c, d)) = (first.split_at(quarter), second.split_at(quarter));
    let mut sums = [[0u64; LANES]; 4];
    for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d) {
        for (sums, chunk) in sums.iter_mut().zip([a, b, c, d]) {
            for (sum, number) in sums.iter_mut().zip(chunk) {
                *sum = sum.wrapping_add(*number);
            }
        }
    }
    let last = d[quarter..].iter().flatten().chain(rest);
    let all = sums.iter().flatten().chain(last);
    all.fold(0, |sum, number| sum.wrapping_add(*number))
}
