//! What to build a data set from, and how: Famam's `MusicDatasetConfig` as JSON, with our own
//! fields beside its own.
//!
//! Famam's files load unchanged and mean the same. What they say of segments, transposition and
//! tempo is not applied by `build`: the data set keeps whole pieces, and training reads the
//! config from the file when it cuts them.

use std::ops::Range;
use std::path::Path;

use famam_shared::encoding::{Spec, grid, mmm};
use famam_shared::quantize;
use serde::{Deserialize, Serialize};

use super::JsonError;

mod check;
mod instruments;

pub use instruments::{ClassName, MergeClasses};

/// How a data set is built, and how training reads it. The fields up to `verbose` are Famam's,
/// with its defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The data set's name.
    pub name: String,
    /// What is searched for MIDI files: folders with all that is in them, glob patterns, lists of
    /// files (`.txt`, a path a line, seen from the list's folder), or files.
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
    /// Drops a piece's last segment where a larger share of it is missing, where segments are
    /// counted; training draws them from any bar on.
    pub max_padding_ratio: f64,
    /// Whether training transposes.
    pub enable_transposition: bool,
    /// By how many semitones, beside 0. Read by training.
    pub transposition_semitones: Vec<i32>,
    /// Whether training varies the tempo. Read by training.
    pub enable_tempo_variation: bool,
    /// Slowest and fastest factor.
    pub tempo_variation_range: (f64, f64),
    /// How many factors there are from slowest to fastest, both among them.
    pub tempo_variation_steps: u32,
    /// The encoding.
    pub encoder_type: EncoderType,
    /// Of no effect: the training config says how long segments are.
    pub max_seq_length: usize,
    /// Whether velocities are said; all are 64 where not.
    pub encode_velocity: bool,
    /// Grid positions in a 4/4 bar.
    pub positions_per_bar: u16,
    /// Reads only so many files: the first by path.
    pub max_samples: Option<usize>,
    /// Seed of the split and of the subset, 0 where nothing is said.
    pub random_seed: Option<u64>,
    /// Shows progress and a summary.
    pub verbose: bool,

    /// The longest note, in bars of 4/4.
    pub max_duration_bars: u16,
    /// The longest bar, in bars of 4/4.
    pub max_metre_bars: u16,
    /// Bins of the 128 velocities; with 0 none are said.
    pub velocity_bins: u16,
    /// Whether a stream's head may say the metre of its first bar, as a condition.
    pub metre_in_head: bool,
    /// Whether a stream's head may say the tempo of its first bar, as a condition.
    pub tempo_in_head: bool,
    /// Bars that `mmm` says together, track by track.
    pub window_bars: u16,
    /// Whether each bar says its chord.
    pub encode_chords: bool,
    /// Onsets that `grid` tells apart in a position; 1 has all music on the grid.
    pub offsets: u16,
    /// Whether a bar without music says that it rests.
    pub encode_rests: bool,
    /// Whether tempos are said; all music is at 120 where not.
    pub encode_tempo: bool,
    /// Whether metres are said. Where not, `time_signature` is that of all music: files with another
    /// are left out.
    pub encode_metre: bool,
    /// Share of the songs that go to validation.
    pub validation_fraction: f64,
    /// Share of the songs that go to test.
    pub test_fraction: f64,
    /// Where a file's genre is said where no table says it.
    pub genre_from: GenreFrom,
    /// Leaves out files of these genres.
    pub exclude_genres: Vec<String>,
    /// A genre with fewer files (of those that are read) is small.
    pub min_files_per_genre: usize,
    /// What happens to the files of a small genre.
    pub small_genres: SmallGenres,
    /// Ends the source of a file: what stands in its name before the first of these.
    pub source_separator: String,
    /// Reads only so many songs, drawn by `random_seed`: below 1 a share of them, from 1 on their
    /// number. Songs are those of tables and names.
    pub subset: Option<f64>,
    /// Leaves out files that lack one of these classes of instruments.
    pub required_classes: Vec<ClassName>,
    /// Leaves out the notes of all other classes, before any other filter.
    pub allowed_classes: Option<Vec<ClassName>>,
    /// Leaves out files with fewer quarters from their first note to the end of their last.
    pub min_beats: Option<f64>,
    /// Gives instruments the program of others, and so makes the vocabulary in use smaller.
    pub merge_classes: MergeClasses,
    /// Leaves out the empty bars before a piece's first note; none follow its last.
    pub trim_silence: bool,
    /// Which files are left out for an earlier one.
    pub drop_duplicates: DropDuplicates,
    /// Byte pairs that are learned from the training split and merged in front of a model; 0 is
    /// off.
    pub merges: usize,
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
    /// All tracks in one sequence, window by window and track by track.
    Mmm,
    /// All tracks in one sequence, cell by cell.
    Grid,
}

impl EncoderType {
    /// That of an encoding.
    pub fn of(spec: &Spec) -> Self {
        match spec {
            Spec::Multitrack(_) => Self::Multitrack,
            Spec::Remi(_) => Self::Remi,
            Spec::Event(_) => Self::Event,
            Spec::Merged { base, .. } => Self::of(base),
            Spec::Mmm(_) => Self::Mmm,
            Spec::Grid(_) => Self::Grid,
        }
    }
}

/// Where a file's genre is said where no table says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GenreFrom {
    /// Nowhere: such a file is of *any* genre.
    Table,
    /// By the name of the folder that the file lies in.
    Folder,
    /// By the name of the outermost folder below the input folder, as in `Bach/Organ/1.mid`; where
    /// the file lies in the input folder itself, by that folder's name.
    Composer,
    /// By what stands in the file's name before the first `source_separator`; where there is none,
    /// nowhere.
    Prefix,
}

/// What happens to the files of a genre that has few.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmallGenres {
    /// They stay, as *any*.
    Any,
    /// They are left out.
    Drop,
    /// They are pooled as the genre [`OTHER`].
    Other,
}

/// The genre that small ones are pooled as.
pub const OTHER: &str = "OTHER";

/// Which files are left out for an earlier one, by input and path. Those that stay are one song
/// all the same, so that they are in one split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropDuplicates {
    /// None.
    None,
    /// Those of the same tokens.
    Exact,
    /// Those of the same music, too, as [`crate::build::songs`] tells it.
    Near,
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
            metre_in_head: false,
            tempo_in_head: false,
            window_bars: 4,
            encode_chords: false,
            offsets: 1,
            encode_rests: false,
            encode_tempo: true,
            encode_metre: true,
            validation_fraction: 0.05,
            test_fraction: 0.0,
            genre_from: GenreFrom::Table,
            exclude_genres: Vec::new(),
            min_files_per_genre: 1,
            small_genres: SmallGenres::Any,
            source_separator: "-".to_owned(),
            subset: None,
            required_classes: Vec::new(),
            allowed_classes: None,
            min_beats: None,
            merge_classes: MergeClasses::All(false),
            trim_silence: false,
            drop_duplicates: DropDuplicates::None,
            merges: 0,
        }
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
        source: JsonError,
    },
    /// A field has a value that it cannot have.
    #[error("{field} is {value}: {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
}

impl Config {
    /// Reads a config; [`Config::check`] judges it.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let name = || path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
            path: name(),
            source,
        })?;
        Self::parse(&text, &name())
    }

    /// The config in `text`, which is called `name` in errors.
    pub fn parse(text: &str, name: &str) -> Result<Self, Error> {
        super::parse(text).map_err(|source| Error::Json {
            path: name.to_owned(),
            source,
        })
    }

    /// The encoding that the config asks for; what it merges is learned when it is built.
    pub fn encoding(&self) -> Spec {
        let velocity_bins = match self.encode_velocity {
            true => self.velocity_bins,
            false => 0,
        };
        let settings = quantize::Settings {
            positions_per_bar: self.positions_per_bar,
            max_duration_bars: self.max_duration_bars,
            max_metre_bars: self.max_metre_bars,
            velocity_bins,
            chords: self.encode_chords,
            rests: self.encode_rests,
            tempos: self.encode_tempo,
            time_signature: (!self.encode_metre).then_some(self.time_signature),
            metre_in_head: self.metre_in_head,
            tempo_in_head: self.tempo_in_head,
            coarse_durations: false,
            offsets: self.offsets,
        };
        match self.encoder_type {
            EncoderType::Multitrack => Spec::Multitrack(settings),
            EncoderType::Remi => Spec::Remi(settings),
            EncoderType::Event => Spec::Event(settings),
            EncoderType::Mmm => Spec::Mmm(mmm::Settings {
                music: settings,
                window_bars: self.window_bars,
            }),
            EncoderType::Grid => Spec::Grid(grid::Settings::new(settings)),
        }
    }

    /// What a data set keeps of it: not where things lie and how a build talks, so that the same
    /// input gives the same bytes wherever it is and goes.
    pub fn without_places(&self) -> Self {
        Self {
            input_dirs: Vec::new(),
            output_path: String::new(),
            genre_tsv_path: None,
            verbose: true,
            ..self.clone()
        }
    }

    /// What it asks of training that a run with segments of `max_seq_length` tokens does not do.
    pub fn without_effect(&self, max_seq_length: usize) -> Vec<&'static str> {
        let default = Self::default();
        let own_length = [default.max_seq_length, max_seq_length];
        // With 1 all that there is of a piece is taken, as training does.
        let own_padding = [default.max_padding_ratio, 1.0];
        let notes = [
            (
                !own_length.contains(&self.max_seq_length),
                "max_seq_length has no effect: the training config's says how long segments are",
            ),
            (
                !own_padding.contains(&self.max_padding_ratio),
                "max_padding_ratio has no effect: segments are drawn from any bar on, whatever is left",
            ),
        ];
        let asked = notes.into_iter().filter(|(asked, _)| *asked);
        asked.map(|(_, note)| note).collect()
    }

    /// The shifts by which training transposes, in semitones: ascending, 0 among them.
    pub fn shifts(&self) -> Vec<i32> {
        let mut shifts = vec![0];
        if self.enable_transposition {
            shifts.extend(&self.transposition_semitones);
            shifts.sort_unstable();
            shifts.dedup();
        }
        shifts
    }

    /// The factors by which training varies tempos: evenly from slowest to fastest, and 1.
    pub fn tempo_factors(&self) -> Vec<f64> {
        if !self.enable_tempo_variation {
            return vec![1.0];
        }
        let (slowest, fastest) = self.tempo_variation_range;
        let last = f64::from(self.tempo_variation_steps.saturating_sub(1).max(1));
        let steps = 0..self.tempo_variation_steps;
        let factor = |step| slowest + (fastest - slowest) * f64::from(step) / last;
        let mut factors: Vec<f64> = steps.map(factor).chain([1.0]).collect();
        factors.sort_by(f64::total_cmp);
        factors.dedup();
        factors
    }

    /// Ticks of `resolution` in a bar of `time_signature`, at least 1.
    fn bar_ticks(&self) -> u64 {
        let (numerator, denominator) = self.time_signature;
        let whole = 4 * u64::from(self.resolution);
        (whole * u64::from(numerator) / u64::from(denominator).max(1)).max(1)
    }

    /// Bars of a segment; `None` where pieces stay whole.
    pub fn bars_per_segment(&self) -> Option<usize> {
        let by_ticks = self
            .segment_length
            .map(|ticks| (u64::from(ticks) / self.bar_ticks()) as usize);
        self.segment_bars.or(by_ticks)
    }

    /// The segments of a piece of `bars` bars. Where the last one lacks more than
    /// `max_padding_ratio` of its bars, it is left out.
    pub fn segments(&self, bars: usize) -> Vec<Range<usize>> {
        let length = self.bars_per_segment().unwrap_or(bars).max(1);
        let mut segments: Vec<_> = (0..bars)
            .step_by(length)
            .map(|start| start..bars.min(start + length))
            .collect();
        let missing = |segment: &Range<usize>| (length - segment.len()) as f64 / length as f64;
        segments.pop_if(|last| missing(last) > self.max_padding_ratio);
        segments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Famam's `MusicDatasetConfig()` as it writes itself.
    const FAMAMS_DEFAULTS: &str = r#"{
        "name": "music_dataset", "input_dirs": [], "output_path": "", "genre_tsv_path": null,
        "allowed_genres": null, "min_tracks": 1, "max_tracks": 16, "min_notes_per_track": 1,
        "min_duration_seconds": null, "max_duration_seconds": null, "resolution": 24,
        "time_signature": [4, 4], "quantize": true, "quantize_grid": 1,
        "remove_empty_tracks": true, "segment_bars": null, "segment_length": null,
        "max_padding_ratio": 0.3, "enable_transposition": false,
        "transposition_semitones": [-5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6],
        "enable_tempo_variation": false, "tempo_variation_range": [0.9, 1.1],
        "tempo_variation_steps": 3, "encoder_type": "remi", "max_seq_length": 2048,
        "encode_velocity": true, "positions_per_bar": 32, "max_samples": null,
        "random_seed": null, "verbose": true
    }"#;

    #[test]
    fn famams_defaults_are_ours() {
        let written = Config::parse(FAMAMS_DEFAULTS, "famam").unwrap();
        assert_eq!(written, Config::parse("{}", "empty").unwrap());
        assert_eq!(written, Config::default());
    }

    #[test]
    fn shipped_configs_can_be_built() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/music_dataset");
        let mut count = 0;
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            let mut config = Config::read(&path).unwrap();
            if config.input_dirs.is_empty() {
                // Folders come from the command line.
                config.input_dirs.push("midi".to_owned());
            }
            config
                .check()
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            config.encoding().build(9).unwrap();
            count += 1;
        }
        assert!(count >= 3);
    }

    #[test]
    fn what_training_does_not_do_is_named_where_it_is_asked_for() {
        let fields = |config: &Config| -> Vec<&str> {
            let notes = config.without_effect(512).into_iter();
            notes
                .map(|note| note.split(' ').next().unwrap_or(note))
                .collect()
        };
        let mut config = Config::default();
        assert!(fields(&config).is_empty());
        (config.max_seq_length, config.max_padding_ratio) = (512, 1.0);
        assert!(fields(&config).is_empty());
        (config.max_seq_length, config.max_padding_ratio) = (1024, 0.5);
        assert_eq!(fields(&config), ["max_seq_length", "max_padding_ratio"]);
    }

    #[test]
    fn tempo_factors_go_from_slowest_to_fastest_and_hold_one() {
        let factors = |range, steps| {
            let config = Config {
                enable_tempo_variation: true,
                tempo_variation_range: range,
                tempo_variation_steps: steps,
                ..Config::default()
            };
            config.tempo_factors()
        };
        assert_eq!(factors((0.9, 1.1), 3), [0.9, 1.0, 1.1]);
        assert_eq!(factors((0.5, 2.0), 2), [0.5, 1.0, 2.0]);
        assert_eq!(factors((0.5, 2.0), 1), [0.5, 1.0]);
        assert_eq!(Config::default().tempo_factors(), [1.0]);
    }

    #[test]
    fn segments_are_cut_at_bars_and_the_last_one_may_go() {
        let cut = |config: Config, bars| {
            let segments = config.segments(bars);
            segments
                .iter()
                .map(|segment| (segment.start, segment.end))
                .collect::<Vec<_>>()
        };
        let bars = |bars| Config {
            segment_bars: Some(bars),
            ..Config::default()
        };
        assert_eq!(cut(Config::default(), 5), [(0, 5)]);
        assert_eq!(cut(bars(4), 8), [(0, 4), (4, 8)]);
        assert_eq!(cut(bars(4), 7), [(0, 4), (4, 7)]);
        assert_eq!(cut(bars(4), 6), [(0, 4)], "half of the last one is missing");
        assert_eq!(
            cut(
                Config {
                    max_padding_ratio: 1.0,
                    ..bars(4)
                },
                5
            ),
            [(0, 4), (4, 5)]
        );
        assert_eq!(cut(bars(4), 0), []);
        // 96 ticks are a 4/4 bar of 24 a quarter, 72 one of 3/4.
        let ticks = |segment_length| Config {
            segment_length,
            ..Config::default()
        };
        assert_eq!(ticks(Some(192)).bars_per_segment(), Some(2));
        let waltz = Config {
            time_signature: (3, 4),
            ..ticks(Some(144))
        };
        assert_eq!(waltz.bars_per_segment(), Some(2));
        assert_eq!(
            Config {
                segment_bars: Some(3),
                ..waltz
            }
            .bars_per_segment(),
            Some(3)
        );
    }
}
