//! How tokens are drawn, as far as somebody said it: as options of `famam generate`, or in a style.

use std::str::FromStr;

use clap::Args;
use famam_shared::sampling::{Filter, Guided, Kinds, Repetition, Settings};
use serde::Deserialize;

// No comment for readers of the documentation: clap would take it for what the command does.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "clap would take it for what the command does")]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Divides the logits: lower is safer, higher bolder, 0 takes the likeliest
    #[arg(long, value_parser = at_least_zero)]
    pub temperature: Option<f32>,
    /// Draws among the k likeliest tokens; 0 is off
    #[arg(long)]
    pub top_k: Option<usize>,
    /// Leaves out so many of the likeliest tokens before top-k counts
    #[arg(long)]
    pub top_k_offset: Option<usize>,
    /// Draws among the likeliest tokens that together reach this probability; 1 is off
    #[arg(long, value_parser = at_least_zero)]
    pub top_p: Option<f32>,
    /// Draws among the tokens at least so many times as likely as the likeliest, 0 to 1; 0 is off
    #[arg(long, value_parser = at_least_zero)]
    pub min_p: Option<f32>,
    /// What a bar loses that goes on repeating one 1, 2, 4 or 8 bars before, in nats a token: 1 to 5;
    /// below 0 it is invited to; 0 is off
    #[arg(long, allow_negative_numbers = true)]
    pub repetition: Option<f32>,
    /// What is left of that with each bar that lies between, 0 to 1
    #[arg(long, value_parser = at_least_zero)]
    pub repetition_decay: Option<f32>,
    /// Divides the logits of tokens that were said before: 1.1 to 1.5; 1 is off
    #[arg(long)]
    pub token_penalty: Option<f32>,
    /// More notes and fewer rests, in nats between the two: -3 to 3; 0 is neither
    #[arg(long, allow_negative_numbers = true)]
    pub more_notes: Option<f32>,
    /// Filters of tokens that say when, in place of those above: temperature=0.8,top-k=5,top-k-offset=1,
    /// top-p=0.9,min-p=0.1, each or some
    #[arg(long)]
    pub rhythm: Option<Filter>,
    /// The same of pitches and drums
    #[arg(long)]
    pub pitch: Option<Filter>,
    /// The same of velocities
    #[arg(long)]
    pub velocity: Option<Filter>,
    /// Writes each bar by beam search of this width, 1 to 10, the same for every seed; 0 is off
    #[arg(long)]
    pub beam: Option<u8>,
    /// How much further the music goes where what is asked for leads, at the cost of a second run of the
    /// model: 2 to 4; 1 is off
    #[arg(long, value_parser = guidance)]
    pub guidance: Option<f32>,
    /// What guidance drives, of genre, instruments, key, metre, tempo, tracks and chords, with commas between
    /// them; all where nothing is said
    #[arg(long)]
    pub guide: Option<Guided>,
}

fn at_least_zero(text: &str) -> Result<f32, String> {
    let number = f32::from_str(text).map_err(|error| error.to_string())?;
    if number.is_finite() && number >= 0.0 {
        Ok(number)
    } else {
        Err("expected 0 or more".into())
    }
}

fn guidance(text: &str) -> Result<f32, String> {
    let number = f32::from_str(text).map_err(|error| error.to_string())?;
    if (1.0..=20.0).contains(&number) {
        Ok(number)
    } else {
        Err("expected 1 to 20".into())
    }
}

impl Sampling {
    /// What is said here, and `others` where nothing is.
    pub fn or(self, others: &Self) -> Self {
        Self {
            temperature: self.temperature.or(others.temperature),
            top_k: self.top_k.or(others.top_k),
            top_k_offset: self.top_k_offset.or(others.top_k_offset),
            top_p: self.top_p.or(others.top_p),
            min_p: self.min_p.or(others.min_p),
            repetition: self.repetition.or(others.repetition),
            repetition_decay: self.repetition_decay.or(others.repetition_decay),
            token_penalty: self.token_penalty.or(others.token_penalty),
            more_notes: self.more_notes.or(others.more_notes),
            rhythm: self.rhythm.or(others.rhythm),
            pitch: self.pitch.or(others.pitch),
            velocity: self.velocity.or(others.velocity),
            beam: self.beam.or(others.beam),
            guidance: self.guidance.or(others.guidance),
            guide: self.guide.or(others.guide),
        }
    }

    /// The settings: the model's own where nothing is said.
    pub fn over(&self, defaults: Settings) -> Settings {
        Settings {
            temperature: self.temperature.unwrap_or(defaults.temperature),
            top_k: self.top_k.unwrap_or(defaults.top_k),
            top_k_offset: self.top_k_offset.unwrap_or(defaults.top_k_offset),
            top_p: self.top_p.unwrap_or(defaults.top_p).min(1.0),
            min_p: self.min_p.unwrap_or(defaults.min_p),
            guidance: self.guidance.unwrap_or(defaults.guidance),
            guided: self.guide.unwrap_or(defaults.guided),
            token_penalty: self.token_penalty.unwrap_or(defaults.token_penalty),
            repetition: Repetition {
                strength: self.repetition.unwrap_or(defaults.repetition.strength),
                decay: self.repetition_decay.unwrap_or(defaults.repetition.decay),
            },
            more_notes: self.more_notes.unwrap_or(defaults.more_notes),
            kinds: Kinds {
                rhythm: self.rhythm.unwrap_or(defaults.kinds.rhythm),
                pitch: self.pitch.unwrap_or(defaults.kinds.pitch),
                velocity: self.velocity.unwrap_or(defaults.kinds.velocity),
            },
            beam: self.beam.unwrap_or(defaults.beam),
        }
    }
}
