//! What to build a data set from, and how: Famam's `MusicDatasetConfig` as JSON, with our own
//! fields beside its own.
//!
//! Famam's files load unchanged and mean the same. What they say of segments, transposition and
//! tempo is not applied by `build`: the data set keeps whole pieces, and training reads the
//! config from the file when it cuts them.

use std::path::Path;

use famam_shared::encoding::{self, multitrack};
use serde::{Deserialize, Serialize};

/// How a data set is built, and how training reads it. The fields up to `verbose` are Famam's,
/// with its defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The data set's name.
    pub name: String,
    /// Folders that are searched for MIDI files, with all that is in them.
    pub input_dirs: Vec<String>,
    /// The file to write.
    pub output_path: String,
    /// Genres of files, where they are not in a `genre.tsv` in an input folder.
    pub genre_tsv_path: Option<String>,
    /// Leaves out files of other genres, and those of none.
    pub allowed_genres: Option<Vec<String>>,
    /// Leaves out files with fewer tracks.
    pub min_tracks: usize,
    /// Leaves out files with more tracks.
    pub max_tracks: usize,
    /// Leaves out files in which a track has fewer notes.
    pub min_notes_per_track: usize,
    /// Leaves out shorter files.
    pub min_duration_seconds: Option<f64>,
    /// Leaves out longer files.
    pub max_duration_seconds: Option<f64>,
    /// Ticks a quarter: the unit of `quantize_grid` and `segment_length`.
    pub resolution: u32,
    /// The metre of files that state none.
    pub time_signature: (u8, u8),
    /// Rounds to `quantize_grid` before the encoding's own grid.
    pub quantize: bool,
    /// A grid in ticks of `resolution`, for note starts and durations.
    pub quantize_grid: u32,
    /// Always done: a track without notes has no tokens.
    pub remove_empty_tracks: bool,
    /// Bars of a segment; overrides `segment_length`. Read by training.
    pub segment_bars: Option<usize>,
    /// Length of a segment in ticks of `resolution`: whole bars. Read by training.
    pub segment_length: Option<u32>,
    /// Drops a piece's last segment where a larger share of it is missing. Read by training.
    pub max_padding_ratio: f64,
    /// Whether training transposes.
    pub enable_transposition: bool,
    /// By how many semitones, beside 0. Read by training.
    pub transposition_semitones: Vec<i32>,
    /// Whether training varies the tempo.
    pub enable_tempo_variation: bool,
    /// Slowest and fastest factor. Read by training.
    pub tempo_variation_range: (f64, f64),
    /// Factors from slowest to fastest. Read by training.
    pub tempo_variation_steps: u32,
    /// The encoding.
    pub encoder_type: EncoderType,
    /// The longest segment in tokens. Read by training.
    pub max_seq_length: usize,
    /// Whether the `event` and `remi` encodings say velocities; `multitrack` always does.
    pub encode_velocity: bool,
    /// Grid positions in a 4/4 bar.
    pub positions_per_bar: u16,
    /// Reads only so many files: the first by path.
    pub max_samples: Option<usize>,
    /// Seed of the split (0 where nothing is said) and of training's draws.
    pub random_seed: Option<u64>,
    /// Shows progress and a summary.
    pub verbose: bool,

    /// The longest note, in bars of 4/4.
    pub max_duration_bars: u16,
    /// The longest bar, in bars of 4/4.
    pub max_metre_bars: u16,
    /// Bins of the 128 velocities.
    pub velocity_bins: u16,
    /// Share of the songs that go to validation.
    pub validation_fraction: f64,
    /// Share of the songs that go to test.
    pub test_fraction: f64,
    /// Where a file's genre is said where no table says it.
    pub genre_from: GenreFrom,
    /// Leaves out files of these genres.
    pub exclude_genres: Vec<String>,
    /// A genre with fewer files (as found) is small.
    pub min_files_per_genre: usize,
    /// What happens to the files of a small genre.
    pub small_genres: SmallGenres,
    /// Ends the source of a file: what stands in its name before the first of these.
    pub source_separator: String,
}

/// An encoding, by Famam's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncoderType {
    /// One track a sequence, by bar and position. Famam's default.
    Remi,
    /// One track a sequence, by note-on, note-off and time shift.
    Event,
    /// All tracks in one sequence.
    Multitrack,
}

/// Where a file's genre is said where no table says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GenreFrom {
    /// Nowhere: such a file is of *any* genre.
    Table,
    /// By the name of the folder that the file lies in.
    Folder,
}

/// What happens to the files of a genre that has few.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmallGenres {
    /// They stay, as *any*.
    Any,
    /// They are left out.
    Drop,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "music_dataset".to_owned(),
            input_dirs: Vec::new(),
            output_path: String::new(),
            genre_tsv_path: None,
            allowed_genres: None,
            min_tracks: 1,
            max_tracks: 16,
            min_notes_per_track: 1,
            min_duration_seconds: None,
            max_duration_seconds: None,
            resolution: 24,
            time_signature: (4, 4),
            quantize: true,
            quantize_grid: 1,
            remove_empty_tracks: true,
            segment_bars: None,
            segment_length: None,
            max_padding_ratio: 0.3,
            enable_transposition: false,
            transposition_semitones: vec![-5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6],
            enable_tempo_variation: false,
            tempo_variation_range: (0.9, 1.1),
            tempo_variation_steps: 3,
            encoder_type: EncoderType::Remi,
            max_seq_length: 2048,
            encode_velocity: true,
            positions_per_bar: 32,
            max_samples: None,
            random_seed: None,
            verbose: true,
            max_duration_bars: 4,
            max_metre_bars: 2,
            velocity_bins: 32,
            validation_fraction: 0.05,
            test_fraction: 0.0,
            genre_from: GenreFrom::Table,
            exclude_genres: Vec::new(),
            min_files_per_genre: 1,
            small_genres: SmallGenres::Any,
            source_separator: "-".to_owned(),
        }
    }
}

impl Config {
    /// The encoding that the config asks for; `None` where it is not implemented yet.
    pub fn encoding(&self) -> Option<encoding::Spec> {
        match self.encoder_type {
            EncoderType::Multitrack => Some(encoding::Spec::Multitrack(multitrack::Settings {
                positions_per_bar: self.positions_per_bar,
                max_duration_bars: self.max_duration_bars,
                max_metre_bars: self.max_metre_bars,
                velocity_bins: self.velocity_bins,
            })),
            EncoderType::Remi | EncoderType::Event => None,
        }
    }

    /// The bars of a segment; `None` where pieces are not cut.
    pub fn bars_per_segment(&self) -> Option<usize> {
        let (numerator, denominator) = self.time_signature;
        let bar = 4 * self.resolution * u32::from(numerator) / u32::from(denominator).max(1);
        self.segment_bars
            .or_else(|| self.segment_length.map(|ticks| (ticks / bar.max(1)) as usize))
    }
}

/// Why a config cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("reading the config {path}: {source}")]
    Read {
        /// The config.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not JSON, or has fields that a config has not.
    #[error("the config {path}: {source}")]
    Json {
        /// The config.
        path: String,
        /// What is wrong where.
        source: serde_json::Error,
    },
}

impl Config {
    /// Reads a config.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let name = || path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Read { path: name(), source })?;
        serde_json::from_str(&text).map_err(|source| Error::Json { path: name(), source })
    }
}
