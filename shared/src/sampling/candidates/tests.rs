use rand_chacha::rand_core::SeedableRng;

use super::*;
use crate::sampling::Filter;

fn candidates(logits: &[f32], settings: &Settings) -> Candidates {
    let mut allowed = TokenSet::new(logits.len());
    allowed.insert_range(0..logits.len() as Token);
    let mut candidates = Candidates::default();
    candidates.fill(logits, &allowed);
    candidates.filter(settings, class);
    candidates
}

fn off() -> Settings {
    Settings {
        top_p: 1.0,
        ..Settings::default()
    }
}

/// Of tokens by turns.
fn class(token: Token) -> Class {
    [Class::Rhythm, Class::Pitch, Class::Velocity][usize::from(token) % 3]
}

#[test]
fn top_k_of_zero_is_off_and_ties_fall_to_the_lower_token() {
    let logits = [1.0, 3.0, 3.0, f32::NAN, 2.0];
    let all: Vec<_> = candidates(&logits, &off()).tokens().collect();
    assert_eq!(all, [1, 2, 4, 0, 3]);
    let two: Vec<_> = candidates(&logits, &Settings { top_k: 2, ..off() })
        .tokens()
        .collect();
    assert_eq!(two, [1, 2]);
    let greedy = Settings {
        temperature: 0.0,
        ..off()
    };
    assert_eq!(
        candidates(&logits, &greedy).tokens().collect::<Vec<_>>(),
        [1]
    );
}

#[test]
fn top_p_keeps_the_token_that_reaches_p() {
    let logits: Vec<f32> = [0.5f32, 0.3, 0.15, 0.05].iter().map(|p| p.ln()).collect();
    for (p, kept) in [
        (0.0, 1),
        (0.49, 1),
        (0.51, 2),
        (0.79, 2),
        (0.81, 3),
        (0.96, 4),
        (1.0, 4),
    ] {
        let left = candidates(&logits, &Settings { top_p: p, ..off() })
            .tokens()
            .count();
        assert_eq!(left, kept, "top-p {p}");
    }
}

#[test]
fn draws_follow_the_probabilities() {
    let probabilities = [0.5f32, 0.3, 0.15, 0.05];
    let logits: Vec<f32> = probabilities.iter().map(|p| p.ln()).collect();
    let candidates = candidates(&logits, &off());
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut counts = [0u32; 4];
    const DRAWS: u32 = 100_000;
    for _ in 0..DRAWS {
        counts[usize::from(candidates.draw(&mut rng).unwrap())] += 1;
    }
    for (count, p) in counts.into_iter().zip(probabilities) {
        // Five standard deviations of a binomial.
        let deviation = (p * (1.0 - p) / DRAWS as f32).sqrt();
        assert!((count as f32 / DRAWS as f32 - p).abs() < 5.0 * deviation);
    }
}

#[test]
fn nothing_allowed_draws_nothing() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    assert_eq!(Candidates::default().draw(&mut rng), None);
}

fn kept(logits: &[f32], settings: Settings) -> Vec<Token> {
    candidates(logits, &settings).tokens().collect()
}

#[test]
fn an_offset_leaves_out_the_likeliest_but_never_all() {
    let logits = [1.0, 4.0, 3.0, 2.0];
    for (top_k_offset, top_k, expected) in [
        (0, 2, &[1, 2][..]),
        (1, 2, &[2, 3]),
        (1, 0, &[2, 3, 0]),
        (3, 2, &[0]),
        (9, 0, &[0]),
    ] {
        let settings = Settings {
            top_k,
            top_k_offset,
            ..off()
        };
        assert_eq!(kept(&logits, settings), expected, "{top_k_offset}, {top_k}");
        let greedy = Settings {
            temperature: 0.0,
            ..settings
        };
        assert_eq!(kept(&logits, greedy), expected[..1]);
    }
    assert_eq!(
        kept(
            &[1.0],
            Settings {
                top_k_offset: 3,
                ..off()
            }
        ),
        [0]
    );
    let none = Settings {
        top_k_offset: 3,
        ..off()
    };
    assert!(kept(&[], none).is_empty());
}

#[test]
fn min_p_keeps_what_is_so_many_times_as_likely_as_the_likeliest() {
    let logits: Vec<f32> = [0.5f32, 0.3, 0.15, 0.05].iter().map(|p| p.ln()).collect();
    for (min_p, left) in [
        (0.0, 4),
        (0.09, 4),
        (0.11, 3),
        (0.31, 2),
        (0.59, 2),
        (0.61, 1),
        (1.0, 1),
    ] {
        let settings = Settings { min_p, ..off() };
        assert_eq!(kept(&logits, settings).len(), left, "min-p {min_p}");
    }
    // It scales with the temperature, as the probabilities do.
    let hot = Settings {
        min_p: 0.11,
        temperature: 2.0,
        ..off()
    };
    assert_eq!(kept(&logits, hot).len(), 4);
}

/// The probability of each token.
fn probabilities(logits: &[f32], settings: &Settings) -> Vec<f64> {
    let mut all = vec![0.0; logits.len()];
    for (token, log) in candidates(logits, settings).log_probabilities() {
        all[usize::from(token)] = log.exp();
    }
    all
}

#[test]
fn kinds_are_filtered_by_themselves_and_stay_as_likely_together() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let together = |all: &[f64], from: usize| all.iter().skip(from).step_by(3).sum::<f64>();
    for round in 0..200 {
        let logits: Vec<f32> = (0..30)
            .map(|_| (rng.next_u32() % 1000) as f32 / 100.0)
            .collect();
        let plain = probabilities(&logits, &off());
        for (own, most) in [
            (
                Filter {
                    top_k: Some(2),
                    ..Filter::default()
                },
                2,
            ),
            (
                Filter {
                    temperature: Some(0.0),
                    ..Filter::default()
                },
                1,
            ),
            (
                Filter {
                    temperature: Some(0.5),
                    ..Filter::default()
                },
                10,
            ),
            (
                Filter {
                    top_k_offset: Some(4),
                    ..Filter::default()
                },
                6,
            ),
            (
                Filter {
                    top_p: Some(0.0),
                    ..Filter::default()
                },
                1,
            ),
            (
                Filter {
                    min_p: Some(1.0),
                    ..Filter::default()
                },
                10,
            ),
        ] {
            let mut settings = off();
            settings.kinds.pitch = own;
            let filtered = probabilities(&logits, &settings);
            for from in 0..3 {
                let (before, after) = (together(&plain, from), together(&filtered, from));
                assert!((before - after).abs() < 1e-6, "{round}: {before} {after}");
            }
            for token in (0..30).filter(|token| token % 3 != 1) {
                assert!(
                    (plain[token] - filtered[token]).abs() < 1e-6,
                    "others are left alone"
                );
            }
            let left = filtered
                .iter()
                .skip(1)
                .step_by(3)
                .filter(|&&p| p > 0.0)
                .count();
            assert!(left <= most);
            assert!(
                plain
                    .iter()
                    .zip(&filtered)
                    .any(|(a, b)| (a - b).abs() > 1e-6),
                "{own:?}"
            );
        }
    }
}

#[test]
fn a_filter_that_says_the_same_for_a_kind_changes_nothing() {
    let logits = [2.0, 1.0, 0.5, 0.25, -1.0, 3.0];
    let mut settings = off();
    let plain = probabilities(&logits, &settings);
    settings.kinds.velocity.temperature = Some(1.0);
    for (one, other) in probabilities(&logits, &settings).into_iter().zip(plain) {
        assert!((one - other).abs() < 1e-6);
    }
    // Greedy in all, drawn in one kind: that kind alone is left, where it has the likeliest.
    settings.temperature = 0.0;
    assert_eq!(kept(&logits, settings), [5, 2]);
}
