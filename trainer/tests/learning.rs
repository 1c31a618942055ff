//! What a step learns from its segments is what the formulas say.

mod music;

use famam_shared::encoding::PAD;
use famam_trainer::batches::{Draw, Purpose, Segment};
use famam_trainer::config::training::{Config, OptimizerKind};
use famam_trainer::model::{Dropout, Model, Ragged};
use famam_trainer::train::Workers;
use music::{music, tiny};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

fn segments() -> Vec<Segment> {
    let music = music();
    let draw = Draw::new(&tiny(), &music, &music.train);
    draw.segments(Purpose::Step(1), |segments, _| segments >= 4)
}

fn model(config: &Config) -> Model {
    let vocabulary = music().encoding.vocabulary_size();
    Model::new(&config.architecture(vocabulary), 1, Device::Cpu)
}

/// Szegedy et al. 2016, section 7: the target is (1 - s) of the right token and s / K of each of K.
#[test]
fn label_smoothing_is_its_formula() {
    // With the head's weights those of the embedding, and large, a model expects what it just saw:
    // the target is far above all others.
    let model = model(&tiny());
    let (_, embedding) = &model.weights()[0];
    let _ = tch::no_grad(|| embedding.shallow_clone().g_mul_scalar_(50.0));
    let streams = [5, 60, 300].map(|token| [token; 20]);
    let ends = model.architecture().ends();
    let batch = Ragged::new(
        ends,
        streams.iter().map(|tokens| (&tokens[..], 3, 3)),
        Device::Cpu,
    );
    let logits = tch::no_grad(|| {
        let hidden = model.hidden(&batch, &mut Dropout::none());
        model.logits(&hidden.index_select(0, &batch.scored))
    });
    let logits = Vec::<Vec<f64>>::try_from(logits.to_kind(Kind::Double)).unwrap();
    let targets = streams.iter().flat_map(|tokens| &tokens[3..]);
    for smoothing in [0.0, 0.1, 0.5] {
        let mut expected = 0.0;
        for (logits, &target) in std::iter::zip(&logits, targets.clone()) {
            let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
            for (token, logit) in logits.iter().enumerate() {
                let right = f64::from(u8::from(token == usize::from(target)));
                let share = (1.0 - smoothing) * right + smoothing / logits.len() as f64;
                expected -= share * (logit - sum.ln());
            }
        }
        let loss = tch::no_grad(|| model.loss(&batch, &mut Dropout::none(), smoothing));
        let loss = loss.double_value(&[]);
        assert!(
            (loss - expected).abs() < 1e-5 * expected + 1e-4,
            "{smoothing}: {loss} instead of {expected}"
        );
    }
}

/// A model learns to foretell tokens that it does not see.
#[test]
fn token_dropout_hides_its_share_from_the_model_alone() {
    let ids = Tensor::ones([100_000], (Kind::Int64, Device::Cpu));
    let mut hidden = ids.copy();
    let mut dropout = Dropout::new(0.0, ChaCha8Rng::seed_from_u64(1));
    dropout.hide(&mut hidden, 0.0);
    assert_eq!(hidden, ids);
    dropout.hide(&mut hidden, 0.05);
    let share = hidden
        .eq(i64::from(PAD))
        .to_kind(Kind::Double)
        .mean(Kind::Double);
    assert!((share.double_value(&[]) - 0.05).abs() < 0.003);

    // What is learned of a step without a visible token is what comes after PAD alone.
    let blind = Config {
        token_dropout: 0.9999,
        dropout_rate: 0.0,
        ..tiny()
    };
    let loss = |config: &Config, segments: &[Segment]| {
        Workers::new(model(config), config, 1).step(config, segments, 1, 1e-3)
    };
    let (mut pads, segments) = (segments(), segments());
    for segment in &mut pads {
        let last = segment.tokens.len() - 1;
        segment.tokens[..last].fill(PAD);
    }
    let last_alone = |segments: &[Segment]| {
        segments
            .iter()
            .cloned()
            .map(|segment| Segment {
                first: segment.tokens.len() - 1,
                ..segment
            })
            .collect::<Vec<_>>()
    };
    let seen = Config {
        token_dropout: 0.0,
        ..blind.clone()
    };
    assert_eq!(
        loss(&blind, &last_alone(&segments)),
        loss(&seen, &last_alone(&pads))
    );
    assert_ne!(
        loss(&seen, &last_alone(&segments)),
        loss(&seen, &last_alone(&pads))
    );
}

/// After one step Adam's first moments are (1 - beta_1) of the gradients that it was given.
#[test]
fn clipping_scales_the_gradients_of_a_step_to_the_largest_norm() {
    let gradients = |clip: Option<f64>| {
        let config = Config {
            optimizer: OptimizerKind::Adam,
            dropout_rate: 0.0,
            beta_1: 0.5,
            use_gradient_clipping: clip.is_some(),
            gradient_clip_value: clip.unwrap_or(1.0),
            ..tiny()
        };
        let mut workers = Workers::new(model(&config), &config, 1);
        workers.step(&config, &segments(), 1, 1e-3).unwrap();
        let tensors = workers.tensors().into_iter();
        let moments = tensors.filter(|(name, _)| name.starts_with("first."));
        moments
            .flat_map(|(_, moment)| Vec::<f64>::try_from(moment.flatten(0, -1)).unwrap())
            .map(|moment| 2.0 * moment)
            .collect::<Vec<f64>>()
    };
    let norm = |gradients: &[f64]| gradients.iter().map(|g| g * g).sum::<f64>().sqrt();
    let free = gradients(None);
    let largest = norm(&free) / 3.0;
    let clipped = gradients(Some(largest));
    assert!((norm(&clipped) / largest - 1.0).abs() < 1e-5);
    for (free, clipped) in std::iter::zip(&free, &clipped) {
        assert!((free / 3.0 - clipped).abs() < 1e-5 * largest);
    }
    // One that is short enough stays as it is.
    assert_eq!(gradients(Some(4.0 * largest)), free);
}
