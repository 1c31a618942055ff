//! `pretrain-embeddings`: a data set to a file of embeddings.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::autoencoder::fresh_embedding;
use super::{About, Autoencoder, Embeddings, Sizes, VERSION};
use crate::batches::{Draw, Music, Purpose, Segment};
use crate::config::training::Config;
use crate::dataset::{self, Dataset};
use crate::parallel::each;

/// Between two lines of progress.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Windows of the validation split that are measured.
const MEASURED: usize = 512;
/// Windows of a segment: what it may be longer than they are, its last bar, is left out.
const WINDOWS_OF_A_SEGMENT: usize = 16;

/// Pre-trains embeddings by a variational autoencoder over the tokens of a data set, for models of any
/// backbone to start from (`embeddings` of a training config).
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The data set (HDF5, from `famam-trainer build`)
    pub dataset: PathBuf,
    /// The file to write (.safetensors)
    #[arg(short, long)]
    pub output: PathBuf,
    /// Goes on with the embeddings in this file, at its width and with its autoencoder
    #[arg(long, value_name = "FILE", conflicts_with_all = ["width", "window", "latent", "hidden", "hidden_layers"])]
    pub from: Option<PathBuf>,
    /// Numbers of an embedding: the d_model of the models that start from it
    #[arg(long, default_value_t = 512, value_parser = sizes(8192))]
    pub width: usize,
    /// Tokens that the autoencoder says again at once
    #[arg(long, default_value_t = 16, value_parser = sizes(1024))]
    pub window: usize,
    /// Numbers that it squeezes them into
    #[arg(long, default_value_t = 512, value_parser = sizes(8192))]
    pub latent: usize,
    /// Units of a hidden layer
    #[arg(long, default_value_t = 512, value_parser = sizes(8192))]
    pub hidden: usize,
    /// Hidden layers, before and behind what it squeezes them into
    #[arg(long, default_value_t = 4, value_parser = sizes(32))]
    pub hidden_layers: usize,
    /// Steps
    #[arg(long, default_value_t = 2000)]
    pub steps: u64,
    /// Windows of a step
    #[arg(long, default_value_t = 128, value_parser = sizes(65_536))]
    pub batch_size: usize,
    /// The learning rate at the start; it falls to 0 by half a cosine
    #[arg(long, default_value_t = 1e-3, value_parser = above_zero)]
    pub learning_rate: f64,
    /// The same seed gives the same embeddings
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
}

fn sizes(most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync {
    move |text| match text.parse() {
        Ok(size) if (1..=most).contains(&size) => Ok(size),
        _ => Err(format!("expected 1 to {most}")),
    }
}

fn above_zero(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(rate),
        _ => Err("expected a number above 0".to_owned()),
    }
}

/// Why there are no embeddings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data set.
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    /// The file.
    #[error(transparent)]
    Embeddings(#[from] super::Error),
    /// No music to learn from.
    #[error(
        "the data set {path} has no {split} piece of {window} tokens: build it from more songs, or take a \
         smaller --window"
    )]
    Short {
        /// The data set.
        path: String,
        /// The split.
        split: &'static str,
        /// Tokens of a window.
        window: usize,
    },
    /// It diverged.
    #[error("at step {step} the loss was no finite number: take a lower --learning-rate")]
    NotFinite {
        /// The step.
        step: u64,
    },
}

/// Runs `famam-trainer pretrain-embeddings`.
pub fn run(args: &Args) -> Result<(), Error> {
    let music = Music::read(&Dataset::open(&args.dataset)?)?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let handler = move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\nwriting what was learned; again to stop at once");
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        eprintln!("note: Ctrl+C will not save ({error})");
    }
    let learned = learn(args, &music, &stop)?;
    learned.write(&args.output)?;
    eprintln!("wrote {}", args.output.display());
    Ok(())
}

/// Embeddings that learned from `music`, fresh ones or those that `args` names, until all steps are
/// done or `stop`.
pub fn learn(args: &Args, music: &Music, stop: &AtomicBool) -> Result<Embeddings, Error> {
    let short = |split, window| Error::Short {
        path: args.dataset.display().to_string(),
        split,
        window,
    };
    let (mut embeddings, mut autoencoder) = begin(args, music)?;
    let window = autoencoder.sizes().window;
    let config = Config {
        random_seed: args.seed,
        max_seq_length: (WINDOWS_OF_A_SEGMENT * window).max(16),
        ..Config::default()
    };
    if music.train.is_empty() || music.validation.is_empty() {
        return Err(short("training or validation", window));
    }
    let draw = Draw::new(&config, music, &music.train);
    let validation = Draw::new(&config, music, &music.validation).unshifted();
    let windows = |autoencoder: &Autoencoder, draw: &Draw, purpose, count: usize| {
        // Pieces may be shorter than their share: what is drawn is bounded, not awaited.
        let enough =
            |segments: usize, tokens: usize| tokens >= 2 * count * window || segments >= 4 * count;
        let segments: Vec<Segment> = draw.segments(purpose, enough);
        let streams = segments.iter().map(|segment| &segment.tokens[..]);
        autoencoder.windows(streams, count)
    };
    let measured = windows(&autoencoder, &validation, Purpose::Validation, MEASURED)
        .ok_or_else(|| short("validation", window))?;
    let mut said = Instant::now();
    let mut done = 0;
    for number in 1..=args.steps {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let ids = windows(&autoencoder, &draw, Purpose::Step(number), args.batch_size);
        let ids = ids.ok_or_else(|| short("training", window))?;
        let course = std::f64::consts::PI * (number - 1) as f64 / args.steps as f64;
        let rate = args.learning_rate * 0.5 * (1.0 + course.cos());
        let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
        rng.set_stream(number);
        // On one thread: the same sums on every machine with this library.
        let loss = each(&mut [&mut autoencoder], vec![ids], |autoencoder, ids| {
            autoencoder.step(&ids, number, rate, &mut rng.clone())
        });
        let loss = loss.first().copied().unwrap_or(f64::NAN);
        if !loss.is_finite() {
            return Err(Error::NotFinite { step: number });
        }
        done = number;
        if said.elapsed() >= LINE_EVERY {
            said = Instant::now();
            eprintln!("step {number}/{}: loss {loss:.3} nats a token", args.steps);
        }
    }
    let found = autoencoder.measure(&measured);
    eprintln!(
        "after {done} steps: {:.3} nats a token, {:.1} % of the validation split's tokens said again right \
         (the most frequent token alone: {:.1} %)",
        found.loss,
        100.0 * found.accuracy,
        100.0 * found.chance
    );
    embeddings.about.steps += done;
    (embeddings.about.loss, embeddings.about.accuracy) = (found.loss, found.accuracy);
    embeddings.tensors = autoencoder.weights().collect();
    Ok(embeddings)
}

/// What learning begins with.
fn begin(args: &Args, music: &Music) -> Result<(Embeddings, Autoencoder), Error> {
    if let Some(path) = &args.from {
        let mut embeddings = Embeddings::read(path)?;
        embeddings.fit(path, &music.spec, &music.vocabulary, None)?;
        let missing = |name| super::Error::Damaged {
            path: path.display().to_string(),
            what: format!("{name} is missing or has another shape"),
        };
        let autoencoder = Autoencoder::from_tensors(&mut embeddings.tensors, &embeddings.table);
        return Ok((embeddings, autoencoder.map_err(missing)?));
    }
    let tokens = music.encoding.vocabulary_size();
    let table: Tensor = fresh_embedding(tokens, args.width, args.seed);
    let sizes = Sizes {
        window: args.window,
        layers: args.hidden_layers,
        hidden: args.hidden,
        latent: args.latent,
    };
    let autoencoder = Autoencoder::new(sizes, &table, args.seed);
    let embeddings = Embeddings {
        about: About {
            version: VERSION,
            encoding: music.spec.clone(),
            vocabulary: music.vocabulary.clone(),
            data_set: args.dataset.display().to_string(),
            steps: 0,
            loss: 0.0,
            accuracy: 0.0,
        },
        table,
        tensors: Default::default(),
    };
    Ok((embeddings, autoencoder))
}
