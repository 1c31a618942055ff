//! What the engines compute, against the formulas of `architecture.rs`, and that in int8 it is the
//! same to the bit however it is computed.

mod model;

use famam_shared::manifest::Precision;
use model::{choices, engine, medium, reference, relative, rotary, small, tokens, weights};

#[test]
fn fp32_is_the_architecture() {
    for (name, t) in [
        ("medium, rotary", medium(rotary())),
        ("medium, relative", medium(relative())),
        ("small, rotary", small(rotary())),
        ("small, relative", small(relative())),
    ] {
        let weights = weights(&t, 1);
        let tokens = tokens(&t, 300, 2);
        let expected = reference(&t, &weights, &tokens);
        for choice in choices() {
            let engine = engine(&t, &weights, Precision::Fp32, 1, choice);
            let mut stream = engine.open(1, 300).expect("a stream");
            let mut pieces = [100, 1, 1, 128, 7].into_iter().chain(std::iter::repeat(1));
            let logits = model::run(&mut *stream, &tokens, || pieces.next().unwrap_or(1));
            let mut worst = 0f64;
            for (a, b) in logits.iter().flatten().zip(expected.iter().flatten()) {
                worst = worst.max((f64::from(*a) - b).abs());
            }
            println!("{name}, {}: {worst:.1e} from the formulas", engine.name());
            assert!(worst < 1e-3, "{name}, {choice:?}: {worst}");
        }
    }
}
