//! MIDI files to evaluate on: nothing filtered, and no grid but the model's.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use famam_shared::encoding;
use famam_shared::score::TICKS_PER_QUARTER;

use super::Error;
use crate::build;
use crate::config::dataset::{Config, EncoderType, SmallGenres};
use crate::dataset::Dataset;

/// Folders of MIDI files as a data set in the model's encoding.
pub(super) fn data_set(
    input_dirs: Vec<String>,
    genres: Option<&Path>,
    spec: &encoding::Spec,
    threads: usize,
) -> Result<Dataset, Error> {
    let folder = tempfile::tempdir().map_err(Error::Scratch)?;
    let path = folder.path().join("music.h5");
    let settings = spec.settings();
    let config = Config {
        input_dirs,
        output_path: path.display().to_string(),
        genre_tsv_path: genres.map(|path| path.display().to_string()),
        max_tracks: usize::MAX,
        // Each tick: no grid but the model's.
        resolution: TICKS_PER_QUARTER,
        encoder_type: EncoderType::of(spec),
        positions_per_bar: settings.positions_per_bar,
        max_duration_bars: settings.max_duration_bars,
        max_metre_bars: settings.max_metre_bars,
        velocity_bins: settings.velocity_bins,
        metre_in_head: settings.metre_in_head,
        tempo_in_head: settings.tempo_in_head,
        window_bars: match spec.base() {
            encoding::Spec::Mmm(settings) => settings.window_bars,
            _ => Config::default().window_bars,
        },
        encode_chords: settings.chords,
        offsets: settings.offsets,
        encode_rests: settings.rests,
        encode_tempo: settings.tempos,
        encode_metre: settings.time_signature.is_none(),
        time_signature: settings.time_signature.unwrap_or((4, 4)),
        small_genres: SmallGenres::Any,
        min_files_per_genre: 1,
        ..Config::default()
    };
    let summary = build::build(&config, threads, &AtomicBool::new(false))?;
    eprintln!("{summary}\n");
    Ok(Dataset::open(&path)?)
}

#[cfg(test)]
mod tests {
    use famam_shared::encoding::multitrack::Settings;
    use famam_shared::instrument::Instrument;
    use famam_shared::midi;
    use famam_shared::quantize::quantize;
    use famam_shared::score::{Note, Score, Ticks, Track};

    use super::*;

    /// 256 positions a bar are 15 ticks apart: the 40 ticks of 24 a quarter are no multiple.
    #[test]
    fn files_meet_no_grid_but_the_models() {
        let settings = Settings {
            positions_per_bar: 256,
            ..Settings::default()
        };
        let note = |start| Note {
            start: Ticks(start),
            pitch: 60,
            duration: Ticks(15 * 7),
            velocity: 80,
        };
        let notes: Vec<Note> = (0..60).map(|i| note(15 * 11 * i)).collect();
        let score = Score {
            end: notes[59].end(),
            tracks: vec![Track {
                instrument: Instrument::new(0).unwrap(),
                name: "piano".to_owned(),
                notes,
            }],
            ..Score::default()
        };
        let folder = tempfile::tempdir().unwrap();
        midi::write_file(folder.path().join("a.mid"), &score).unwrap();
        let spec = encoding::Spec::Multitrack(settings.clone());
        let folder = vec![folder.path().display().to_string()];
        let piece = data_set(folder, None, &spec, 1).unwrap().piece(0).unwrap();
        let (quantized, losses) = quantize(&score, &settings);
        assert_eq!(losses.moved, 0);
        let encoding = spec.build(1).unwrap();
        assert_eq!(piece.body, encoding.encode(&quantized).remove(0));
    }
}
