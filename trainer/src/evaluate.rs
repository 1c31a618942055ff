//! `evaluate`: how well a model foretells music that it was not trained on, in bits a note.
//!
//! Whole files, nothing filtered and nothing cut: -log2 of the probability of every token that is
//! not given, EOS counted, over the notes of the files as they were read. *Free*: nothing is given.
//! *Conditioned*: genre and set of instruments are given. The grammar counts as part of the bits; the
//! figure without it stands beside. Loss, perplexity and the share of tokens that were foretold are
//! without it, as in training. The intervals are over songs, by bootstrap.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use famam_shared::bundle::Bundle;
use famam_shared::encoding::{self, Conditioning, Encoding, SettingsError};
use famam_shared::engine::{self, Choice, EngineError};
use famam_shared::manifest::Context;
use famam_shared::say::say;
use famam_shared::vocabulary::Vocabulary;
use famam_shared::write_file;
use indicatif::{ProgressBar, ProgressStyle};

use crate::checkpoint;
use crate::dataset::{self, Dataset, Piece, Split};
use crate::scoring::{self, Nats, Scorer, Window};
use crate::{build, bundle, musical, parallel, stop};

mod infilling;
mod midi;
mod report;

pub use infilling::Infilling;
pub use report::{Figures, Measures, Part, Report};

/// Says how well a model foretells music: loss, perplexity, bits a note and the share of right guesses, by kind
/// of token, source and genre. With --musical, how far music that it generates is like real music.
///
///   famam-trainer evaluate MODEL --dataset FILE.h5
///   famam-trainer evaluate MODEL DIR...
///   famam-trainer evaluate MODEL DIR... --musical --training DIR
///
/// MODEL is a bundle (.onnx), a checkpoint (.safetensors) or the folder of a run. Of a data set
/// the test split is taken, or the validation split where that is empty. Folders of MIDI files are
/// taken whole; their genre.tsv and song.tsv are read where there are any.
#[derive(Clone, Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// A bundle, a checkpoint, or the folder of a run
    pub model: PathBuf,
    /// Folders of MIDI files
    #[arg(
        value_name = "DIR",
        conflicts_with = "dataset",
        required_unless_present = "dataset"
    )]
    pub music: Vec<PathBuf>,
    /// A data set in place of folders
    #[arg(long, value_name = "FILE.h5")]
    pub dataset: Option<PathBuf>,
    /// A split of the data set
    #[arg(long, requires = "dataset")]
    pub split: Option<SplitName>,
    /// Genres of the files (path, tab, genre) where their folders have no genre.tsv
    #[arg(long, value_name = "FILE.tsv")]
    pub genres: Option<PathBuf>,
    /// Takes so many pieces, spread evenly, in place of all
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Says how well so many cells between others are foretold, too, by a model that can fill them in (1000 give a
    /// good figure)
    #[arg(long, value_name = "CELLS", default_value_t = 0)]
    pub infilling: usize,
    /// Runs a bundle in this engine
    #[arg(long, default_value = "auto")]
    pub engine: EngineName,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Writes all figures as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Musical figures in place of those of prediction.
    #[command(flatten)]
    pub musical: musical::Options,
}

/// A split by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SplitName {
    /// Learned from.
    Train,
    /// Looked at while learning.
    Validation,
    /// Never seen.
    Test,
}

/// An engine by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineName {
    /// The fastest that runs the model: native, ort where it is found, otherwise rten.
    Auto,
    /// Famam's own, for Transformers on x86-64.
    Native,
    /// ONNX Runtime.
    Ort,
    /// rten.
    Rten,
}

impl EngineName {
    fn choice(self) -> Choice {
        match self {
            EngineName::Auto => Choice::Auto,
            EngineName::Native => Choice::Native,
            EngineName::Ort => Choice::Ort,
            EngineName::Rten => Choice::Rten,
        }
    }
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The encoding.
    #[error("the model's encoding: {0}")]
    Encoding(#[from] SettingsError),
    /// Cells between others of a model that has none, or in music that has none.
    #[error(
        "no cells to fill in between others: take a model whose encoding is grid, and pieces of three bars or more"
    )]
    NoCells,
    /// What the model sees at once.
    #[error(transparent)]
    Context(#[from] scoring::TooNarrow),
    /// The data set.
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    /// The MIDI files.
    #[error(transparent)]
    Build(#[from] build::Error),
    /// No room for the files' tokens.
    #[error("making a folder for the music's tokens: {0}")]
    Scratch(std::io::Error),
    /// The data set is in another encoding.
    #[error(
        "the data set {path} was built with other settings of the encoding than the model: evaluate on the MIDI files themselves"
    )]
    Another {
        /// The data set.
        path: String,
    },
    /// Nothing to look at.
    #[error("{path} has no pieces to evaluate on")]
    Empty {
        /// The data set or the folders.
        path: String,
    },
    /// The music that was generated.
    #[error(transparent)]
    Musical(#[from] musical::Error),
    /// The figures cannot be written.
    #[error(transparent)]
    Write(#[from] write_file::WriteError),
}

/// A model that can be asked.
pub struct Subject {
    /// One for each thread.
    pub scorers: Vec<Scorer>,
    /// Its encoding.
    pub spec: encoding::Spec,
    /// Its genres.
    pub vocabulary: Vocabulary,
    /// What it sees at once.
    pub context: Context,
    /// What runs it.
    pub engine: String,
}

impl Subject {
    /// Opens a bundle (by its ending, `.onnx`) or a checkpoint.
    pub fn open(path: &Path, engine: EngineName, threads: usize) -> Result<Self, Error> {
        if path.extension().is_some_and(|ending| ending == "onnx") {
            return Self::of_bundle(&bundle::read(path)?, engine, threads);
        }
        let (state, model) = checkpoint::open(path)?;
        Ok(Self {
            scorers: Scorer::torch(&model, threads),
            context: state.context(),
            spec: state.encoding,
            vocabulary: state.vocabulary,
            engine: "libtorch".to_owned(),
        })
    }

    /// A bundle in an engine.
    pub fn of_bundle(bundle: &Bundle, engine: EngineName, threads: usize) -> Result<Self, Error> {
        let choice = engine.choice();
        let mut scorers = Vec::new();
        let mut name = String::new();
        // An engine runs one sequence at a time: one for each thread.
        for _ in 0..threads.max(1) {
            let engine = engine::load(bundle, 1, choice)?;
            name = engine.name();
            scorers.push(Scorer::engine(&engine)?);
        }
        let manifest = &bundle.manifest;
        Ok(Self {
            scorers,
            spec: manifest.encoding.clone(),
            vocabulary: manifest.vocabulary.clone(),
            context: manifest.context,
            engine: name,
        })
    }
}

/// Runs `famam-trainer evaluate`.
pub fn run(args: &Args) -> Result<(), Error> {
    let threads = args.threads.unwrap_or_else(parallel::cores).max(1);
    if args.musical.musical {
        let report = play(args, threads)?;
        say(&report);
        return write(args, &serde_json::json!(report));
    }
    let mut subject = Subject::open(&args.model, args.engine, threads)?;
    let (vocabulary, pieces) = pieces(args, &subject.spec, threads)?;
    let report = evaluate(&mut subject, &vocabulary, &pieces, args.infilling)?;
    say(&report);
    write(args, &serde_json::json!(report))
}

/// Writes the figures where they are wanted.
fn write(args: &Args, report: &serde_json::Value) -> Result<(), Error> {
    match &args.json {
        Some(path) => Ok(write_file::write(path, format!("{report:#}\n").as_bytes())?),
        None => Ok(()),
    }
}

/// The musical figures of what a bundle plays.
fn play(args: &Args, threads: usize) -> Result<musical::Report, Error> {
    if args.model.extension().is_none_or(|ending| ending != "onnx") {
        let path = args.model.display().to_string();
        return Err(musical::Error::NoBundle { path }.into());
    }
    let bundle = bundle::read(&args.model)?;
    let spec = &bundle.manifest.encoding;
    let encoding = spec.build(bundle.manifest.vocabulary.genres.len())?;
    let (vocabulary, pieces) = pieces(args, spec, threads)?;
    let mut engines = Vec::new();
    for _ in 0..threads {
        engines.push(engine::load(&bundle, 1, args.engine.choice())?);
    }
    let flag = Arc::<AtomicBool>::default();
    let _stop = stop::on_signal_with(flag.clone(), || {
        eprintln!("\nstopping in order; again to stop at once");
    });
    let options = &args.musical;
    Ok(musical::compare(
        &mut engines,
        &*encoding,
        &vocabulary,
        &pieces,
        options,
        &flag,
    )?)
}

/// The pieces that are asked for, in the base of an encoding, and the genres that they are of.
fn pieces(
    args: &Args,
    spec: &encoding::Spec,
    threads: usize,
) -> Result<(Vocabulary, Vec<Piece>), Error> {
    let (data_set, path) = match &args.dataset {
        Some(path) => (Dataset::open(path)?, path.display().to_string()),
        None => {
            let folders: Vec<String> = args
                .music
                .iter()
                .map(|folder| folder.display().to_string())
                .collect();
            let path = folders.join(", ");
            (
                midi::data_set(folders, args.genres.as_deref(), spec, threads)?,
                path,
            )
        }
    };
    // Pieces are kept with nothing merged, and are merged as the model is used to.
    if !data_set.encoding().says_as(spec) {
        return Err(Error::Another { path });
    }
    let split = |split| data_set.pieces(split);
    let mut pieces = match args.split {
        Some(SplitName::Train) => split(Split::Train),
        Some(SplitName::Validation) => split(Split::Validation),
        Some(SplitName::Test) => split(Split::Test),
        None if args.dataset.is_none() => (0..data_set.len()).collect(),
        None => match split(Split::Test) {
            test if test.is_empty() => split(Split::Validation),
            test => test,
        },
    };
    if let Some(limit) = args.limit.filter(|&limit| limit < pieces.len()) {
        pieces = (0..limit)
            .map(|i| pieces[i * pieces.len() / limit])
            .collect();
    }
    if pieces.is_empty() {
        return Err(Error::Empty { path });
    }
    let pieces = pieces.into_iter().map(|i| data_set.piece(i));
    let pieces = pieces.collect::<Result<_, _>>()?;
    Ok((data_set.vocabulary().clone(), pieces))
}

/// The figures of a model on `pieces`, whose genres are those of `vocabulary`; with so many `cells` between others,
/// where there are to be any.
pub fn evaluate(
    subject: &mut Subject,
    vocabulary: &Vocabulary,
    pieces: &[Piece],
    cells: usize,
) -> Result<Report, Error> {
    let encoding = subject.spec.build(subject.vocabulary.genres.len())?;
    let nothing = |_: &Piece| Conditioning::default();
    let given = |piece: &Piece| {
        let genre = vocabulary.genres.get(usize::from(piece.genre));
        Conditioning {
            genre: genre
                .and_then(|genre| subject.vocabulary.genre(genre))
                .unwrap_or(0),
            instruments: Some(piece.body.instruments),
            ..Conditioning::default()
        }
    };
    let all = |conditioning: &dyn Fn(&Piece) -> Conditioning| {
        let mut all: Vec<Window> = Vec::new();
        for (i, piece) in pieces.iter().enumerate() {
            let (body, given) = (&piece.body, conditioning(piece));
            let windows = scoring::windows(i, body, &*encoding, &given, subject.context);
            all.extend(windows?);
        }
        Ok::<_, scoring::TooNarrow>(all)
    };
    let (free, conditioned) = (all(&nothing)?, all(&given)?);
    let bar = progress((free.len() + conditioned.len()) as u64);
    let mut scores = |windows: &[Window]| -> Result<Scores, Error> {
        let mut scores = Scores(vec![BTreeMap::new(); pieces.len()]);
        let done = |windows| bar.inc(windows as u64);
        scoring::score(
            &mut subject.scorers,
            &*encoding,
            windows,
            done,
            |window, i, nats| {
                scores.add(window.piece, encoding.kind(window.tokens[i]), nats);
            },
        )?;
        Ok(scores)
    };
    let (free, conditioned) = (scores(&free)?, scores(&conditioned)?);
    bar.finish_and_clear();
    let kept = pieces.iter().map(|piece| notes(&*encoding, piece)).sum();
    let infilling = match cells {
        0 => None,
        _ => {
            let overall = infilling::overall(&conditioned.0, kept);
            let drawn = match encoding.fills() {
                true => infilling::cells(cells, pieces, &*encoding, subject.context, &given),
                false => Vec::new(),
            };
            let bits = cell_bits(&mut subject.scorers, &*encoding, &drawn)?;
            Some(Infilling::new(pieces, &drawn, &bits, overall))
        }
    };
    let report = Report::new(
        &subject.engine,
        vocabulary,
        pieces,
        kept,
        &free,
        &conditioned,
    );
    Ok(Report {
        infilling,
        ..report
    })
}

/// The bits of each cell, with what stands before it and with both sides.
fn cell_bits(
    scorers: &mut [Scorer],
    encoding: &dyn Encoding,
    cells: &[infilling::Cell],
) -> Result<Vec<[f64; 2]>, Error> {
    if cells.is_empty() {
        return Err(Error::NoCells);
    }
    let bar = progress(2 * cells.len() as u64);
    let mut bits = vec![[0.0; 2]; cells.len()];
    for side in 0..2 {
        let window = |(i, cell): (usize, &infilling::Cell)| Window {
            piece: i,
            ..[&cell.left, &cell.both][side].clone()
        };
        let windows: Vec<Window> = cells.iter().enumerate().map(window).collect();
        let done = |windows| bar.inc(windows as u64);
        scoring::score(scorers, encoding, &windows, done, |window, _, nats| {
            bits[window.piece][side] += nats.in_grammar / std::f64::consts::LN_2;
        })?;
    }
    bar.finish_and_clear();
    Ok(bits)
}

/// What the tokens of each piece cost, by their kind.
struct Scores(Vec<BTreeMap<&'static str, Sum>>);

/// What some tokens cost.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    tokens: u64,
    /// Those that the model held for the likeliest.
    right: u64,
    free: f64,
    in_grammar: f64,
}

impl Scores {
    fn add(&mut self, piece: usize, kind: &'static str, nats: Nats) {
        *self.0[piece].entry(kind).or_default() += Sum {
            tokens: 1,
            right: u64::from(nats.right),
            free: nats.free,
            in_grammar: nats.in_grammar,
        };
    }
}

impl std::ops::AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.tokens += other.tokens;
        self.right += other.right;
        self.free += other.free;
        self.in_grammar += other.in_grammar;
    }
}

/// Notes that a piece still has after quantization.
fn notes(encoding: &dyn Encoding, piece: &Piece) -> u64 {
    let score = piece.score(encoding);
    score.map_or(0, |score| score.note_count() as u64)
}

fn progress(windows: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{pos}/{len} windows {wide_bar} {eta} left");
    ProgressBar::new(windows).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
