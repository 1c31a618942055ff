//! `info`: what a file of ours is, in words.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};

use famam_shared::architecture::{Architecture, Positions, Transformer};
use famam_shared::bundle::Bundle;
use famam_shared::encoding;
use famam_shared::instrument::Instrument;
use famam_shared::manifest::{Context, Precision};
use famam_shared::say::say;
use famam_shared::vocabulary::Vocabulary;
use serde_json::json;

use crate::bundle;
use crate::checkpoint::{self, Checkpoint};
use crate::config::{self, training};
use crate::dataset::{self, Dataset};
use crate::embeddings::{self, Embeddings};
use crate::words::listed;

/// Instruments that are named.
const MOST_INSTRUMENTS: usize = 24;

/// Says what a file is: a data set, a checkpoint (or the folder of a run), embeddings, a bundle, or a config.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The file
    pub file: PathBuf,
}

/// Why nothing can be said of a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("reading {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file of the Python Famam.
    #[error(
        "{path} is {what} of the Python Famam, whose weights only TensorFlow reads. Train the same here: \
         `famam-trainer build` with the music_dataset config and `famam-trainer train` with the model_training \
         config that it was made with; both load unchanged"
    )]
    PythonFamam {
        /// The file.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// Something else.
    #[error("{path} is no data set (.h5), checkpoint (.safetensors) or bundle (.onnx) of Famam")]
    Unknown {
        /// The file.
        path: String,
    },
    /// A config of a training, or a file of JSON that is none.
    #[error(transparent)]
    Training(#[from] training::Error),
    /// A config of a data set.
    #[error(transparent)]
    DataSetConfig(#[from] config::dataset::Error),
    /// The data set.
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// The embeddings.
    #[error(transparent)]
    Embeddings(#[from] embeddings::Error),
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
}

/// Runs `famam-trainer info`.
pub fn run(args: &Args) -> Result<(), Error> {
    say(describe(&args.file)?);
    Ok(())
}

/// What a file is, judged by what it holds, not by its name.
pub fn describe(path: &Path) -> Result<String, Error> {
    let python = |what| {
        Err(Error::PythonFamam {
            path: path.display().to_string(),
            what,
        })
    };
    if path.join("saved_model.pb").is_file() {
        return python("a SavedModel");
    }
    let path = &checkpoint::find(path);
    let name = || path.display().to_string();
    let io = |source| Error::Io {
        path: name(),
        source,
    };
    let mut head = Vec::new();
    let file = std::fs::File::open(path).map_err(io)?;
    file.take(1 << 20).read_to_end(&mut head).map_err(io)?;
    let holds = |text: &[u8]| head.windows(text.len()).any(|window| window == text);
    match head[..] {
        [b'{', ..] if path.extension().is_some_and(|ending| ending == "json") => {
            config_of(path, &head)
        }
        [b'{', ..] => Ok(data_set(&Dataset::open(path)?)?),
        [0x89, b'H', b'D', b'F', ..] if holds(b"keras_model_path") => python("a bundle"),
        [0x89, b'H', b'D', b'F', ..] if holds(b"muspy") => python("a data set"),
        [b'P', b'K', 3, 4, ..] if holds(b"config.json") => python("a Keras model"),
        [_, _, _, _, _, 0, 0, 0, b'{', ..] if holds(b"famam.embeddings") => {
            Ok(embeddings_of(&Embeddings::read(path)?))
        }
        // A safetensors file begins with the length of its header, a JSON object.
        [_, _, _, _, _, 0, 0, 0, b'{', ..] => Ok(run_of(&checkpoint::read(path)?)),
        _ if holds(b"famam.transformer")
            || holds(b"famam.lstm")
            || holds(b"famam.rwkv")
            || path.extension().is_some_and(|e| e == "onnx") =>
        {
            Ok(bundle_of(&bundle::read(path)?))
        }
        _ => Err(Error::Unknown { path: name() }),
    }
}

/// Of a config, the fields that are not the default. It is of the kind that more of its fields belong to.
fn config_of(path: &Path, text: &[u8]) -> Result<String, Error> {
    let training = json!(training::Config::default());
    let data_set = json!(config::dataset::Config::default());
    let fields: serde_json::Value = serde_json::from_slice(text).unwrap_or_default();
    let known = |default: &serde_json::Value| {
        let names = fields.as_object().into_iter().flatten();
        names
            .filter(|(name, _)| default.get(name).is_some())
            .count()
    };
    let (title, config, default) = match known(&data_set) > known(&training) {
        true => (
            "a config of a data set",
            json!(config::dataset::Config::read(path)?),
            data_set,
        ),
        false => (
            "a training config",
            json!(training::Config::load(path)?),
            training,
        ),
    };
    let mut page = Page::new(title);
    for (field, value) in config.as_object().into_iter().flatten() {
        if default[field] != *value {
            page.line(&format!("{field} "), value);
        }
    }
    Ok(page.0)
}

/// Lines of a name and what it is.
struct Page(String);

impl Page {
    fn new(title: &str) -> Self {
        Self(title.to_owned())
    }

    fn line(&mut self, name: &str, what: impl std::fmt::Display) {
        // A String takes everything.
        let _ = write!(self.0, "\n{name:<12}{what}");
    }
}

fn data_set(data_set: &Dataset) -> Result<String, dataset::Error> {
    let mut page = Page::new("a data set");
    page.line("name", &data_set.config().name);
    page.line("encoding", encoding_of(data_set.encoding()));
    let mut genres = BTreeMap::<u16, usize>::new();
    let mut instruments = vec![0usize; Instrument::COUNT];
    let mut songs = [(); 3].map(|()| std::collections::BTreeSet::new());
    let (mut pieces, mut bars, mut notes, mut tokens) = ([0; 3], 0, 0u64, 0);
    let encoding = data_set.encoder()?;
    let mut merged = 0;
    for i in 0..data_set.len() {
        let piece = data_set.piece(i)?;
        *genres.entry(piece.genre).or_default() += 1;
        pieces[piece.split as usize] += 1;
        songs[piece.split as usize].insert(piece.song);
        for instrument in piece.body.instruments.iter() {
            instruments[usize::from(instrument.index())] += 1;
        }
        bars += piece.body.bars.len();
        notes += u64::from(piece.notes);
        tokens += piece.body.tokens.len();
        merged += encoding.merge(&piece.body.tokens).len();
    }
    let splits = |counts: [usize; 3]| {
        let [train, validation, test] = counts;
        format!("{train} train, {validation} validation, {test} test")
    };
    page.line("songs", splits(songs.map(|songs| songs.len())));
    page.line("pieces", splits(pieces));
    page.line("bars", bars);
    page.line("notes", notes);
    page.line(
        "tokens",
        format!(
            "{tokens}, {:.2} a note",
            tokens as f64 / notes.max(1) as f64
        ),
    );
    if encoding.merges().is_some() {
        let a_note = merged as f64 / notes.max(1) as f64;
        page.line("merged", format!("{merged}, {a_note:.2} a note"));
    }
    let names = &data_set.vocabulary().genres;
    let genres: Vec<_> = genres.into_iter().collect();
    page.line(
        "genres",
        listed(&genres, |&(genre, pieces)| {
            format!("{} {pieces}", names[usize::from(genre)])
        }),
    );
    let mut instruments: Vec<_> = std::iter::zip(Instrument::all(), instruments).collect();
    instruments.retain(|(_, pieces)| *pieces > 0);
    instruments.sort_by_key(|(_, pieces)| std::cmp::Reverse(*pieces));
    let most = &instruments[..instruments.len().min(MOST_INSTRUMENTS)];
    page.line(
        "instruments",
        listed(most, |(instrument, pieces)| {
            format!("{instrument} {pieces}")
        }),
    );
    page.line("hash", data_set.hash());
    Ok(page.0)
}

fn embeddings_of(embeddings: &Embeddings) -> String {
    let about = &embeddings.about;
    let mut page = Page::new("embeddings");
    page.line("width", embeddings.table.size()[1]);
    page.line("encoding", about.encoding.name());
    vocabulary(&mut page, &about.vocabulary);
    page.line("trained on", &about.data_set);
    page.line("so far", format!("{} steps", about.steps));
    let said = format!(
        "{:.4} nats a token, {:.1} % said again right",
        about.loss,
        100.0 * about.accuracy
    );
    page.line("loss", said);
    page.0
}

fn run_of(checkpoint: &Checkpoint) -> String {
    let state = &checkpoint.state;
    let mut page = Page::new("a checkpoint");
    page.line("name", &state.config.model_name);
    model(
        &mut page,
        &state.architecture,
        &state.encoding,
        state.context(),
    );
    vocabulary(&mut page, &state.vocabulary);
    if let Some(lora) = &state.config.lora {
        let matrices = lora.matrices.join(", ");
        page.line(
            "adapters",
            format!("of rank {}, beside {matrices}", lora.rank),
        );
    }
    page.line("trained on", &state.data_set.path);
    let progress = &state.progress;
    let million = progress.tokens as f64 / 1e6;
    page.line(
        "so far",
        format!(
            "{} steps, {million:.1} M tokens, {:.1} h",
            progress.step,
            progress.seconds / 3600.0
        ),
    );
    if let Some(record) = progress.history.last() {
        page.line(
            "loss",
            format!(
                "training {:.4}, validation {:.4}, at best {:.4} nats a token",
                record.training_loss,
                record.validation_loss,
                progress.best.unwrap_or(record.validation_loss)
            ),
        );
    }
    page.0
}

fn bundle_of(bundle: &Bundle) -> String {
    let manifest = &bundle.manifest;
    let mut page = Page::new("a bundle");
    page.line("name", &manifest.name);
    let precision = match manifest.precision {
        Precision::Fp32 => "32-bit floats",
        Precision::Int8 => "8-bit integers",
    };
    page.line(
        "weights",
        format!("{precision}, {:.1} MB", bundle.model.len() as f64 / 1e6),
    );
    model(
        &mut page,
        &manifest.architecture,
        &manifest.encoding,
        manifest.context,
    );
    vocabulary(&mut page, &manifest.vocabulary);
    let from = &manifest.provenance;
    page.line("trained on", &from.data_set);
    let million = from.tokens as f64 / 1e6;
    page.line(
        "for",
        format!("{} steps, {million:.1} M tokens", from.steps),
    );
    if let Some(loss) = from.validation_loss {
        page.line("loss", format!("validation {loss:.4} nats a token"));
    }
    page.line("licence", &from.licence);
    page.line("hash", &manifest.hash);
    page.0
}

fn model(
    page: &mut Page,
    architecture: &Architecture,
    encoding: &encoding::Spec,
    context: Context,
) {
    let backbone = match architecture {
        Architecture::Transformer(t) => transformer(t),
        Architecture::Lstm(l) => {
            let attention = l.attention_window.map_or(String::new(), |window| {
                format!(", attention over {window} outputs")
            });
            format!("LSTM of {:?} units, d = {}{attention}", l.units, l.d_model)
        }
        Architecture::Rwkv(r) => format!("RWKV, {} layers, d = {}", r.layers, r.d_model),
    };
    let million = architecture.parameters() as f64 / 1e6;
    page.line("model", format!("{backbone}: {million:.2} M parameters"));
    page.line("encoding", encoding_of(encoding));
    page.line(
        "context",
        format!("{} tokens, {} bars", context.tokens, context.bars),
    );
}

fn transformer(t: &Transformer) -> String {
    let positions = match t.positions {
        Positions::Relative { max_distance } => format!("relative positions up to {max_distance}"),
        Positions::Rotary { .. } => "rotary positions".to_owned(),
        Positions::Sinusoidal => "sinusoidal positions".to_owned(),
        Positions::Learned { length } => format!("{length} learned positions"),
    };
    format!(
        "Transformer of {} layers, d = {}, {} heads ({} key/value), {positions}",
        t.layers, t.d_model, t.heads, t.kv_heads
    )
}

fn vocabulary(page: &mut Page, vocabulary: &Vocabulary) {
    page.line("genres", listed(&vocabulary.genres, Clone::clone));
}

fn encoding_of(spec: &encoding::Spec) -> String {
    let (name, settings) = (spec.name(), spec.settings());
    let velocities = match settings.velocity_bins {
        0 => "no".to_owned(),
        bins => bins.to_string(),
    };
    let mut beside = String::new();
    if let encoding::Spec::Mmm(settings) = spec.base() {
        beside += &format!(", windows of {} bars", settings.window_bars);
    }
    if settings.coarse_durations {
        beside += ", coarse durations";
    }
    if settings.offsets > 1 {
        beside += &format!(", {} onsets a position", settings.offsets);
    }
    let options = [
        (settings.chords, ", chords"),
        (settings.rests, ", rests"),
        (!settings.tempos, ", no tempos"),
    ];
    beside.extend(
        options
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, words)| *words),
    );
    if let Some((numerator, denominator)) = settings.time_signature {
        beside += &format!(", all in {numerator}/{denominator}");
    }
    let merges = match spec.merges().len() {
        0 => String::new(),
        pairs => format!(", {pairs} byte pairs merged"),
    };
    format!(
        "{name}: {} positions a 4/4 bar, durations up to {} bars, {velocities} velocities{beside}{merges}",
        settings.positions_per_bar, settings.max_duration_bars
    )
}
