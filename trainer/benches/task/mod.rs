//! What a step is measured on: 4 layers, d = 256, 8 sequences of 512 tokens, plain causal attention,
//! AdamW, 32 bits.

use famam_trainer::batches::Segment;
use famam_trainer::config::training::Config;
use famam_trainer::model::Model;

pub const VOCABULARY: usize = 794;
pub const BATCH: usize = 8;
pub const TIME: usize = 512;
pub const RATE: f64 = 1e-3;
const CONFIG: &str = r#"{
    "num_layers": 4, "d_model": 256, "num_heads": 4, "d_ff": 1024, "positions": "rotary", "activation": "gelu",
    "tied": true, "embedding_scale": 1.0, "dropout_rate": 0.0, "label_smoothing": 0.0, "optimizer": "adamw", "beta_2": 0.95,
    "weight_decay": 0.0, "epsilon": 1e-8, "precision": "fp32", "micro_batch_tokens": 2052
}"#;

/// The model, and what it learns from.
pub fn task() -> serde_json::Result<(Config, Model, Vec<Segment>)> {
    let config: Config = serde_json::from_str(CONFIG)?;
    let model = Model::new(&config.architecture(VOCABULARY), 1, tch::Device::Cpu);
    let segments = (0..BATCH).map(|row| Segment {
        tokens: (0..=TIME)
            .map(|i| ((row * 7 + i * i) % VOCABULARY) as _)
            .collect(),
        first: 1,
        asked_bars: 1,
        lost_bars: 0,
    });
    let segments = segments.collect();
    Ok((config, model, segments))
}
