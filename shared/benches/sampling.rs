//! What grammar, filters and sampler together cost a token, beside the model's step: over music that
//! random logits make in the encoding `grid`, and with no grammar, all tokens allowed.
//!
//! ```sh
//! cargo bench -p famam-shared --bench sampling
//! ```

use std::sync::Arc;
use std::time::Instant;

use famam_shared::encoding::{Encoding, Spec, Token, TokenSet, grid};
use famam_shared::sampling::{Biases, Candidates, Filter, Kinds, Repetition, Settings, Words};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const TOKENS: usize = 20_000;
/// A step of the model that a plugin plays by, in microseconds.
const STEP: f64 = 860.0;

fn main() {
    let encoding = Spec::Grid(grid::Settings::default()).build(40);
    let encoding = encoding.expect("an encoding");
    let plain = Settings::default();
    let all = Settings {
        top_k: 200,
        top_k_offset: 1,
        min_p: 1e-3,
        token_penalty: 1.2,
        repetition: Repetition {
            strength: 2.0,
            decay: 0.9,
        },
        more_notes: 1.0,
        kinds: Kinds {
            pitch: Filter {
                temperature: Some(0.9),
                ..Filter::default()
            },
            ..Kinds::default()
        },
        ..plain
    };
    let size = encoding.vocabulary_size();
    println!("vocabulary of {size} tokens, microseconds a token, mean of {TOKENS}");
    for (name, settings) in [("default", plain), ("all settings", all)] {
        for (tokens, free) in [("of the grammar", false), ("all tokens", true)] {
            let time = mean(&*encoding, &settings, free);
            println!("  {name}, {tokens}: {time:.1}");
            println!(
                "figure | grammar, filters and sampler, {name}, {tokens} | {:.1} % of a step of 0.86 ms | below 5",
                100.0 * time / STEP
            );
        }
    }
}

/// What a token takes, in microseconds; `free` of the grammar or by it.
fn mean(encoding: &dyn Encoding, settings: &Settings, free: bool) -> f64 {
    let size = encoding.vocabulary_size();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut biases = Biases::new(settings, Arc::new(Words::new(encoding)));
    let (mut grammar, mut candidates) = (encoding.grammar(), Candidates::default());
    let mut allowed = TokenSet::new(size);
    let (mut drawn, mut time) = (0, 0.0);
    let mut logits = vec![0.0; size];
    while drawn < TOKENS {
        // Spread as widely as those of a model that has learned.
        let mut logit = || (rng.next_u32() >> 8) as f32 / (1 << 24) as f32;
        logits
            .iter_mut()
            .for_each(|at| *at = 12.0 * logit() * logit());
        let start = Instant::now();
        match free {
            true => allowed.insert_range(0..size as Token),
            false => grammar.allowed(&mut allowed),
        }
        match biases.is_empty() {
            true => candidates.fill(&logits, &allowed),
            false => {
                candidates.fill_by(&logits, &allowed, |token, logit| biases.moved(token, logit))
            }
        }
        candidates.filter(settings, |token| biases.words().class(token));
        let Some(token) = candidates.draw(&mut rng) else {
            // A piece has ended.
            grammar = encoding.grammar();
            biases.clear();
            continue;
        };
        if !free {
            grammar.accept(token).expect("what is allowed");
        }
        biases.read(&encoding.expand(&[token]));
        time += start.elapsed().as_secs_f64() * 1e6;
        drawn += 1;
    }
    time / TOKENS as f64
}
