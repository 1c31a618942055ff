//! What a run leaves beside its checkpoints, to be looked at: `history.json`, a picture of the curves,
//! TensorBoard's event files, samples.
//!
//! Nothing of it is read again: where it cannot be written, training goes on and says so once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use famam_shared::bundle::Bundle;
use famam_shared::engine::{self, Choice};
use famam_shared::generation::song::{Song, SongBar, compose};
use famam_shared::{midi, write_file};

use super::curves;
use super::tensorboard::EventFile;
use crate::checkpoint::{Record, State};
use crate::config;
use crate::export;
use crate::model::Model;

/// Bars of a sample.
const SAMPLE_BARS: u32 = 8;

/// Where a run is written down.
pub(super) struct Log {
    folder: PathBuf,
    events: Option<EventFile>,
    history: bool,
}

impl Log {
    /// Of a run whose checkpoints are in `folder`.
    pub(super) fn open(state: &State, folder: &Path) -> Self {
        let config = &state.config;
        let mut log = Self {
            folder: folder.to_owned(),
            events: None,
            history: config.save_history,
        };
        if config.use_tensorboard {
            let events = config::expand(&config.tensorboard_log_dir)
                .map_err(|error| error.to_string())
                .and_then(|logs| {
                    let logs = folder.join(logs);
                    EventFile::create(&logs, state.progress.step)
                        .map_err(|error| format!("{}: {error}", logs.display()))
                });
            match events {
                Ok(events) => log.events = Some(events),
                Err(why) => eprintln!("note: no log for TensorBoard: {why}"),
            }
        }
        log
    }

    /// After a step that was done.
    pub(super) fn step(
        &mut self,
        step: u64,
        loss: f64,
        learning_rate: f64,
        tokens_per_second: f64,
    ) {
        self.scalars(
            step,
            &[
                ("loss/training", loss),
                ("learning_rate", learning_rate),
                ("tokens_per_second", tokens_per_second),
            ],
        );
    }

    /// After a validation, the last of `history`.
    pub(super) fn validation(&mut self, history: &[Record]) {
        let Some(record) = history.last() else {
            return;
        };
        let mut scalars = vec![("loss/validation".to_owned(), record.validation_loss)];
        for (kind, share) in &record.accuracy {
            scalars.push((format!("accuracy/{kind}"), *share));
        }
        let scalars: Vec<(&str, f64)> = scalars
            .iter()
            .map(|(tag, value)| (&tag[..], *value))
            .collect();
        self.scalars(record.step, &scalars);
        if let Some(events) = &mut self.events
            && let Err(error) = events.flush()
        {
            self.give_up(&error);
        }
        if self.history {
            let text = format!("{:#}\n", serde_json::json!(history));
            for (name, text) in [
                ("history.json", text),
                ("curves.svg", curves::picture(history)),
            ] {
                if let Err(error) = write_file::write(self.folder.join(name), text.as_bytes()) {
                    eprintln!("note: {error}; no more is written of the curves");
                    self.history = false;
                    break;
                }
            }
        }
    }

    /// Writes what the model plays by now to `samples/`.
    pub(super) fn sample(&self, state: &State, model: &Model) {
        let step = state.progress.step;
        let path = self
            .folder
            .join("samples")
            .join(format!("step-{step:07}.mid"));
        if let Err(why) = sample(state, model, &path) {
            eprintln!("note: no sample at step {step}: {why}");
        }
    }

    fn scalars(&mut self, step: u64, scalars: &[(&str, f64)]) {
        if let Some(events) = &mut self.events
            && let Err(error) = events.scalars(step, scalars.iter().copied())
        {
            self.give_up(&error);
        }
    }

    fn give_up(&mut self, error: &std::io::Error) {
        eprintln!("note: no more is logged for TensorBoard: {error}");
        self.events = None;
    }
}

/// Eight bars of anything, by the way that a user's bars are made.
fn sample(state: &State, model: &Model, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let bundle = Bundle::read(&export::unchecked(state, model)?)?;
    let engine = engine::load(&bundle, 1, Choice::Rten)?;
    let bar = SongBar::default().nearest(bundle.manifest.encoding.settings());
    let song = Song {
        seed: state.config.random_seed,
        ..Song::new(SAMPLE_BARS, bar)
    };
    let score = compose(&*engine, song, Arc::new(AtomicBool::new(false)))?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    Ok(write_file::write(path, &midi::write(&score))?)
}
