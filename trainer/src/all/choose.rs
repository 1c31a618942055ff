//! Settings for the data and the machine, with the reasons in words.
//!
//! - *Size*: 2.5 tokens of music or more for each weight, and so many passes that a model sees 40 tokens a weight:
//!   twice what is best for a given amount of computing (Hoffmann et al. 2022: 20), as training here is cheap beside
//!   listening; more passes than that teach little (Muennighoff et al. 2023), transpositions counted as new music.
//! - *Time*: the next smaller size where this machine would need more than a night, measured by
//!   [`forecast`](crate::train::forecast).
//! - *Memory*: what one thread works on at a time is halved until a step fits; a smaller model where none does.
//! - *Context*: what `analyze` recommends, up to 2,048 tokens.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::analyze::Report;
use crate::config;
use crate::config::dataset::GenreFrom;
use crate::config::training::{self, Config, Precision};
use crate::train::Forecast;

/// What the data set's config is made from: that of `build DIR…`.
const DATASET: &str = include_str!("../../../configs/music_dataset/default.json");
/// What the training config is made from.
const TRAINING: &str = include_str!("../../../configs/model_training/default.json");
/// Files that make a folder's name a genre.
const FILES_OF_A_GENRE: usize = 8;
/// Contexts beyond these are not chosen by themselves: attention's cost grows with them.
const CONTEXTS: std::ops::RangeInclusive<usize> = 256..=2048;
/// The context where nothing recommends one.
const CONTEXT: usize = 1024;
/// Tokens of music for each weight, at least.
const TOKENS_A_WEIGHT: f64 = 2.5;
/// Tokens seen for each weight.
const SEEN_A_WEIGHT: f64 = 40.0;
/// Passes that are chosen.
const EPOCHS: std::ops::RangeInclusive<u64> = 3..=40;
/// The longest training that is chosen by itself: a night.
const NIGHT: f64 = 10.0 * 3600.0;
/// A size of the default model's kind.
struct Size {
    layers: usize,
    d_model: usize,
    heads: usize,
}

/// The sizes, the smallest first. All have two key/value heads, so that they can be exported in 8 bits.
const SIZES: [Size; 4] = [
    Size {
        layers: 3,
        d_model: 128,
        heads: 4,
    },
    Size {
        layers: 4,
        d_model: 256,
        heads: 4,
    },
    Size {
        layers: 6,
        d_model: 384,
        heads: 6,
    },
    Size {
        layers: 8,
        d_model: 512,
        heads: 8,
    },
];

/// A config with the reason for it.
#[derive(Debug)]
pub(super) struct Chosen<W> {
    /// Its fields that are not the default.
    pub config: Map<String, Value>,
    /// Why.
    pub why: W,
}

/// What a training is chosen by.
pub(super) struct Ground {
    /// The model's name.
    pub name: String,
    /// Tokens of the training split.
    pub tokens: u64,
    /// What `analyze` recommends.
    pub context: usize,
    /// Passes that the user asks for.
    pub epochs: Option<u64>,
    /// Threads.
    pub threads: usize,
    /// Bytes of memory that a step may take.
    pub memory: u64,
}

/// What there is, in a line.
pub(super) fn music(report: &Report) -> String {
    let hours = report.files.iter().map(|file| file.seconds).sum::<f64>() / 3600.0;
    let notes: usize = report.files.iter().map(|file| file.notes).sum();
    let again = report
        .files
        .iter()
        .filter(|file| file.duplicate_of.is_some())
        .count();
    let mut line = format!("{} files, {hours:.1} h, {notes} notes", report.files.len());
    if !report.unreadable.is_empty() {
        line += &format!("; {} cannot be read", report.unreadable.len());
    }
    if again > 0 {
        line += &format!("; {again} are copies of others and left out");
    }
    line
}

/// The data set's config but for its paths.
pub(super) fn data_set(report: &Report) -> Chosen<String> {
    let mut folders = BTreeMap::<&str, usize>::new();
    for file in &report.files {
        if let Some((folder, _)) = file.name.split_once('/') {
            *folders.entry(folder).or_default() += 1;
        }
    }
    folders.retain(|_, files| *files >= FILES_OF_A_GENRE);
    let tables = report.files.iter().any(|file| file.genre.is_some());
    let (genre_from, why) = if tables {
        (GenreFrom::Table, "genres: those of genre.tsv".to_owned())
    } else if folders.len() > 1 {
        let names: Vec<_> = folders.keys().copied().collect();
        let names = names.join(", ");
        (
            GenreFrom::Composer,
            format!("genres, by the outermost folders: {names}"),
        )
    } else {
        (
            GenreFrom::Table,
            "genres: none; name them in a genre.tsv or by folders to ask for them".to_owned(),
        )
    };
    let mut config = object(DATASET);
    config.insert("genre_from".to_owned(), json!(genre_from));
    config.insert("min_files_per_genre".to_owned(), json!(FILES_OF_A_GENRE));
    config.insert("drop_duplicates".to_owned(), json!("exact"));
    // Some songs to look at while learning, of however few.
    let share = (8.0 / report.files.len().max(1) as f64).clamp(0.05, 0.2);
    config.insert(
        "validation_fraction".to_owned(),
        json!((share * 100.0).round() / 100.0),
    );
    Chosen { config, why }
}

/// The context that the report of `analyze` in this file recommends for the data set's encoding.
pub(super) fn context(report: &Path) -> usize {
    let encoding = &object(DATASET)["encoder_type"];
    let text = std::fs::read_to_string(report).unwrap_or_default();
    let report: Value = serde_json::from_str(&text).unwrap_or_default();
    let context = encoding
        .as_str()
        .and_then(|name| report["tokens"][name]["context"].as_u64());
    context.map_or(CONTEXT, |context| {
        (context as usize).clamp(*CONTEXTS.start(), *CONTEXTS.end())
    })
}

/// The training config; `forecast` says how long one would take.
pub(super) fn training(
    ground: &Ground,
    forecast: impl Fn(&Config) -> Forecast,
) -> Result<Chosen<Vec<String>>, training::Error> {
    let tokens = ground.tokens as f64;
    let million = tokens / 1e6;
    let fits = |ahead: &Forecast| ahead.bytes <= ground.memory;
    let mut why = Vec::new();
    // The largest that the music can teach, and the smallest in any case.
    let mut size = SIZES
        .iter()
        .rposition(|size| tokens >= TOKENS_A_WEIGHT * size.weights())
        .unwrap_or(0);
    why.push(format!(
        "{million:.1} M tokens of music: a model of {} layers, d = {}",
        SIZES[size].layers, SIZES[size].d_model
    ));
    loop {
        let mut config = of_size(ground, &SIZES[size]);
        let mut parsed = read(&config)?;
        let mut ahead = forecast(&parsed);
        let wanted = parsed.micro_batch_tokens;
        while !fits(&ahead) && parsed.micro_batch_tokens > parsed.max_seq_length {
            let half = (parsed.micro_batch_tokens / 2).max(parsed.max_seq_length);
            config.insert("micro_batch_tokens".to_owned(), json!(half));
            parsed = read(&config)?;
            ahead = forecast(&parsed);
        }
        let too_slow = ahead.seconds > NIGHT && ground.epochs.is_none();
        if size > 0 && (!fits(&ahead) || too_slow) {
            let reason = match fits(&ahead) {
                false => format!("needs {:.1} GB of memory", ahead.bytes as f64 / 1e9),
                true => format!("would take {}", hours(ahead.seconds)),
            };
            size -= 1;
            why.push(format!(
                "that {reason} here: one of {} layers, d = {}",
                SIZES[size].layers, SIZES[size].d_model
            ));
            continue;
        }
        if parsed.micro_batch_tokens < wanted {
            why.push(format!(
                "little memory is free: a thread works on {} tokens at a time",
                parsed.micro_batch_tokens
            ));
        }
        // Whatever computes faster on this processor.
        let mut half = config.clone();
        half.insert("precision".to_owned(), json!(Precision::Bf16));
        let half_parsed = read(&half)?;
        let half_ahead = forecast(&half_parsed);
        if half_ahead.seconds < 0.9 * ahead.seconds {
            why.push("products in bfloat16, which this processor computes faster".to_owned());
            (config, parsed, ahead) = (half, half_parsed, half_ahead);
        }
        // Some forty looks at the validation split; a run that gets no better for eight of them ends.
        let every = (ahead.steps / 40).clamp(10, 500);
        config.insert("validation_every".to_owned(), json!(every));
        why.push(format!(
            "context: {} tokens; epochs: {}, {} steps; it ends sooner where it gets no better",
            parsed.max_seq_length, parsed.epochs, ahead.steps
        ));
        why.push(self::ahead(&ahead, ground.threads));
        if tokens < 3e5 {
            why.push(
                "that is little music: going on with a model that knows more (`train --from`) may play better"
                    .to_owned(),
            );
        }
        return Ok(Chosen { config, why });
    }
}

/// How long it will take, in a line.
pub(super) fn ahead(forecast: &Forecast, threads: usize) -> String {
    format!(
        "{:.1} M weights, {:.1} M tokens to see: about {} on {threads} threads as fast as now",
        forecast.parameters as f64 / 1e6,
        forecast.tokens / 1e6,
        hours(forecast.seconds)
    )
}

/// All fields of a config.
pub(super) fn fields(config: &Config) -> Map<String, Value> {
    match json!(config) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

impl Size {
    /// Weights of the blocks, without the vocabulary's.
    fn weights(&self) -> f64 {
        let d = self.d_model as f64;
        // Attention with two key/value heads, and a feed-forward network of 4 d.
        let head = d / self.heads as f64;
        self.layers as f64 * (2.0 * d * d + 2.0 * 2.0 * head * d + 8.0 * d * d)
    }
}

fn of_size(ground: &Ground, size: &Size) -> Map<String, Value> {
    let tokens = ground.tokens.max(1) as f64;
    let epochs = (SEEN_A_WEIGHT * size.weights() / tokens).round() as u64;
    let epochs = epochs.clamp(*EPOCHS.start(), *EPOCHS.end());
    let mut config = object(TRAINING);
    for (field, value) in [
        ("model_name", json!(ground.name)),
        ("max_seq_length", json!(ground.context)),
        (
            "micro_batch_tokens",
            json!(Config::default().micro_batch_tokens.max(ground.context)),
        ),
        ("num_layers", json!(size.layers)),
        ("d_model", json!(size.d_model)),
        ("num_heads", json!(size.heads)),
        ("kv_heads", json!(2)),
        ("d_ff", json!(4 * size.d_model)),
        ("dropout_rate", json!(if tokens < 1e6 { 0.2 } else { 0.1 })),
        ("epochs", json!(ground.epochs.unwrap_or(epochs))),
        ("warmup_ratio", json!(0.05)),
        (
            "batch_tokens",
            json!(if tokens < 1e6 { 4096 } else { 8192 }),
        ),
        ("early_stopping_patience", json!(8)),
    ] {
        config.insert(field.to_owned(), value);
    }
    config
}

fn read(config: &Map<String, Value>) -> Result<Config, training::Error> {
    let of = |source| training::Error::Json {
        path: "that is chosen here".to_owned(),
        source,
    };
    let config: Config = config::parse(&json!(config).to_string()).map_err(of)?;
    config.check()?;
    Ok(config)
}

/// A config that is compiled in.
fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

fn hours(seconds: f64) -> String {
    let minutes = (seconds / 60.0).ceil() as u64;
    match minutes {
        0..=1 => "a minute".to_owned(),
        2..100 => format!("{minutes} minutes"),
        _ => format!("{:.1} hours", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ground(tokens: u64) -> Ground {
        Ground {
            name: "mine".to_owned(),
            tokens,
            context: 1024,
            epochs: None,
            threads: 2,
            memory: 16 << 30,
        }
    }

    /// A machine that does so many operations a second.
    fn machine(operations: f64) -> impl Fn(&Config) -> Forecast {
        move |config| {
            let parameters = config.architecture(1000).parameters();
            let tokens = (config.epochs * 1_000_000) as f64;
            Forecast {
                parameters,
                steps: (tokens / 8192.0) as u64,
                tokens,
                bytes: (config.micro_batch_tokens * config.d_model * config.num_layers * 320)
                    as u64,
                seconds: tokens * parameters as f64 * 6.0 / operations,
            }
        }
    }

    fn chosen(ground: &Ground, operations: f64) -> Config {
        read(&training(ground, machine(operations)).unwrap().config).unwrap()
    }

    #[test]
    fn more_music_makes_larger_models_and_fewer_passes() {
        let mut before: Option<Config> = None;
        for tokens in [
            1_000,
            100_000,
            1_000_000,
            10_000_000,
            40_000_000,
            400_000_000,
        ] {
            let config = chosen(&ground(tokens), 1e18);
            assert!(EPOCHS.contains(&config.epochs));
            if let Some(before) = before {
                assert!(config.d_model >= before.d_model, "{tokens}");
                assert!(
                    config.d_model > before.d_model || config.epochs <= before.epochs,
                    "{tokens}"
                );
            }
            before = Some(config);
        }
        assert_eq!(before.unwrap().d_model, 512);
    }

    #[test]
    fn a_slow_machine_and_little_memory_make_smaller_ones() {
        let music = ground(40_000_000);
        let fast = chosen(&music, 1e18);
        let slow = chosen(&music, 1e9);
        assert!(slow.d_model < fast.d_model);
        // What is asked for is done, however long it takes.
        let asked = Ground {
            epochs: Some(7),
            ..ground(40_000_000)
        };
        let asked = chosen(&asked, 1e9);
        assert_eq!((asked.epochs, asked.d_model), (7, fast.d_model));
        // First the tokens that are worked on at a time, then the model.
        let narrow = |memory| {
            let ground = Ground {
                memory,
                context: 512,
                ..ground(400_000_000)
            };
            let config = chosen(&ground, 1e18);
            (config.micro_batch_tokens, config.d_model)
        };
        assert_eq!(narrow(u64::MAX), (2048, 512));
        assert_eq!(narrow(2048 * 512 * 8 * 200), (1024, 512));
        assert_eq!(narrow(512 * 512 * 8 * 200), (512, 384));
    }

    #[test]
    fn epochs_and_context_are_those_that_were_asked_for() {
        let ground = Ground {
            epochs: Some(2),
            context: 512,
            ..ground(5_000_000)
        };
        let config = chosen(&ground, 1e18);
        assert_eq!((config.epochs, config.max_seq_length), (2, 512));
        assert_eq!(config.model_name, "mine");
    }
}
