//! What a training config may say.

use serde::Serialize;

use super::{Config, Distribution, Error, ModelType, ScheduleKind};

impl Config {
    /// Refuses what cannot be trained.
    pub fn check(&self) -> Result<(), Error> {
        let unsupported = |field, value: &str, instead| {
            Err(Error::Unsupported {
                field,
                value: value.to_owned(),
                instead,
            })
        };
        if self.distribution_strategy != Distribution::None {
            let instead = "take none; all cores of one machine are used";
            return unsupported("distribution_strategy", "not none", instead);
        }
        for (field, size, most) in [
            ("max_seq_length", self.max_seq_length, 65_536),
            ("d_model", self.d_model, 16_384),
            ("num_layers", self.num_layers, 256),
            ("num_heads", self.num_heads, 256),
            ("d_ff", self.d_ff, 65_536),
            ("max_relative_position", self.max_relative_position, 65_536),
            ("batch_size", self.batch_size, 1 << 20),
            ("batch_tokens", self.batch_tokens.unwrap_or(1), 1 << 30),
            ("accumulation_steps", self.accumulation_steps, 1 << 20),
            ("micro_batch_tokens", self.micro_batch_tokens, 1 << 30),
            ("segment_bars", self.segment_bars.unwrap_or(1), 1 << 20),
            ("validation_segments", self.validation_segments, 1 << 20),
        ] {
            if size == 0 || size > most {
                return value(field, size.to_string(), format!("1 to {most}"));
            }
        }
        if self.max_seq_length < 16 {
            return value(
                "max_seq_length",
                self.max_seq_length.to_string(),
                "at least 16",
            );
        }
        self.check_embeddings()?;
        match self.model_type {
            ModelType::Transformer => self.check_transformer()?,
            ModelType::Lstm => self.check_lstm()?,
            ModelType::Rwkv => {}
        }
        for (field, number) in [
            ("dropout_rate", self.dropout_rate),
            ("recurrent_dropout", self.recurrent_dropout),
            ("label_smoothing", self.label_smoothing),
            ("beta_1", self.beta_1),
            ("beta_2", self.beta_2),
            ("momentum", self.momentum),
            ("rho", self.rho),
            ("token_dropout", self.token_dropout),
        ] {
            if !(0.0..1.0).contains(&number) {
                return value(field, number.to_string(), "0 or more and below 1");
            }
        }
        for (field, number) in [
            ("unconditioned", self.unconditioned),
            ("genre_dropout", self.genre_dropout),
            ("instrument_dropout", self.instrument_dropout),
            ("metre_dropout", self.metre_dropout),
            ("tempo_dropout", self.tempo_dropout),
            ("piece_start", self.piece_start),
            ("fill_in", self.fill_in),
            ("key_dropout", self.key_dropout),
            ("track_dropout", self.track_dropout),
            ("chord_dropout", self.chord_dropout),
            ("genre_balance", self.genre_balance),
            ("piece_balance", self.piece_balance),
            ("final_learning_rate", self.final_learning_rate),
            ("warmup_ratio", self.warmup_ratio.unwrap_or(0.0)),
        ] {
            if !(0.0..=1.0).contains(&number) {
                return value(field, number.to_string(), "a number from 0 to 1");
            }
        }
        self.uses.check()?;
        if let Some(lora) = &self.lora {
            lora.check()?;
        }
        if self.lr_schedule_type == ScheduleKind::Exponential && self.final_learning_rate == 0.0 {
            let expected = "above 0 with the schedule exponential, which never reaches 0";
            return value("final_learning_rate", "0".to_owned(), expected);
        }
        let positive = [
            ("learning_rate", self.learning_rate),
            ("epsilon", self.epsilon),
            ("gradient_clip_value", self.gradient_clip_value),
            ("checkpoint_minutes", self.checkpoint_minutes),
            ("rotary_theta", f64::from(self.rotary_theta)),
            ("logit_scale", f64::from(self.logit_scale)),
            ("conditioning_scale", f64::from(self.conditioning_scale)),
            (
                "embedding_scale",
                self.embedding_scale.map_or(1.0, f64::from),
            ),
        ];
        for (field, number) in positive {
            if !(number.is_finite() && number > 0.0) {
                return value(field, number.to_string(), "a number above 0");
            }
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return value("weight_decay", self.weight_decay.to_string(), "0 or more");
        }
        if !(self.early_stopping_min_delta.is_finite() && self.early_stopping_min_delta >= 0.0) {
            let number = self.early_stopping_min_delta.to_string();
            return value("early_stopping_min_delta", number, "0 or more");
        }
        if self
            .transpose
            .is_some_and(|(low, high)| low > high || low < -127 || high > 127)
        {
            let expected = "the lowest and the highest shift in semitones, -127 to 127, or null";
            return value("transpose", json(&self.transpose), expected);
        }
        if self
            .source_weights
            .values()
            .any(|weight| !(weight.is_finite() && *weight >= 0.0))
        {
            let weights = json(&self.source_weights);
            return value("source_weights", weights, "0 or more each");
        }
        for (field, number) in [
            ("epochs", Some(self.epochs)),
            ("steps", self.steps),
            ("validation_every", self.validation_every),
            ("sample_every_epochs", self.sample_every_epochs),
        ] {
            if number == Some(0) {
                return value(field, "0".to_owned(), "at least 1");
            }
        }
        Ok(())
    }

    fn check_transformer(&self) -> Result<(), Error> {
        if !self.d_model.is_multiple_of(2 * self.num_heads) {
            let expected = "a multiple of 2 num_heads";
            return value("d_model", self.d_model.to_string(), expected);
        }
        if !self
            .num_heads
            .is_multiple_of(self.kv_heads.unwrap_or(1).max(1))
            || self.kv_heads == Some(0)
        {
            return value("kv_heads", json(&self.kv_heads), "a divisor of num_heads");
        }
        Ok(())
    }

    fn check_lstm(&self) -> Result<(), Error> {
        if self.bidirectional {
            let expected = "false, as a model that reads backwards, too, would see the tokens that it has to foretell";
            return value("bidirectional", "true".to_owned(), expected);
        }
        let units = &self.lstm_units;
        if !(1..=128).contains(&units.len())
            || !units.iter().all(|units| (1..=8192).contains(units))
        {
            let expected = "1 to 128 layers of 1 to 8,192 units each";
            return value("lstm_units", json(units), expected);
        }
        if let Some(window) = self.attention_window
            && !(2..=self.max_seq_length.min(4096)).contains(&window)
        {
            let expected = "from 2 to max_seq_length, at most 4,096";
            return value("attention_window", window.to_string(), expected);
        }
        Ok(())
    }
}

/// The refusal of a value.
pub(super) fn value(
    field: &'static str,
    value: String,
    expected: impl Into<String>,
) -> Result<(), Error> {
    Err(Error::Value {
        field,
        value,
        expected: expected.into(),
    })
}

/// A value as the config says it.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
