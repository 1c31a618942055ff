//! A run: how it begins or goes on, its steps, what it saves.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use famam_shared::encoding::Encoding;

use super::epoch::{Epoch, segments_of_step};
use super::log::Log;
use super::need::Need;
use super::prefetch::Prefetch;
use super::progress::Display;
use super::ranks::Ranks;
use super::rescue::Kept;
use super::start::Setting;
use super::workers::Workers;
use super::{End, Error, MOST_SKIPPED, minutes};
use crate::batches::{Draw, Music, Purpose, Segment};
use crate::checkpoint::{self, BEST, DataSet, LAST, Progress, Record, State};
use crate::config::training::{self, Config};
use crate::device::Machine;
use crate::pretrained::Pretrained;
use crate::{memory, schedule};

/// A run: its model, its optimizer and where it stands.
pub struct Run<'a> {
    state: State,
    folder: PathBuf,
    draw: Arc<Draw<'a>>,
    validation: Vec<Segment>,
    encoding: &'a dyn Encoding,
    workers: Workers,
    ranks: Ranks,
    /// Of the rank that writes.
    log: Option<Log>,
    steps: u64,
    /// What a step takes of this process, and its tokens.
    need: (Need, u64),
    validation_every: u64,
    sample_every: Option<u64>,
}

impl<'a> Run<'a> {
    /// Begins a run of one process, or goes on with the one in `folder`.
    pub fn open(
        config: Config,
        music: &'a Music,
        data_set: DataSet,
        from: Option<Pretrained>,
        folder: &Path,
        machine: impl Into<Machine>,
    ) -> Result<Self, Error> {
        Self::open_among(
            Ranks::alone(),
            config,
            music,
            data_set,
            from,
            folder,
            machine.into(),
        )
    }

    /// The same for a run of several processes, of which this is one; `config` is that of all together
    /// ([`Config::of_ranks`]).
    pub fn open_among(
        ranks: Ranks,
        config: Config,
        music: &'a Music,
        data_set: DataSet,
        from: Option<Pretrained>,
        folder: &Path,
        machine: Machine,
    ) -> Result<Self, Error> {
        let empty = |split| Error::Empty {
            path: data_set.path.clone(),
            split,
        };
        if music.train.is_empty() {
            return Err(empty("training"));
        }
        if music.validation.is_empty() {
            return Err(empty("validation"));
        }
        let segment_bars = config.segment_bars.or(music.reading.segment_bars);
        if let (Some(bars), Some(window)) = (segment_bars, music.encoding.window_bars())
            && bars < 2 * window
        {
            return Err(training::Error::Value {
                field: "segment_bars",
                value: bars.to_string(),
                expected: "two windows (window_bars of the data set) at least, so that one is learned after another".to_owned(),
            }
            .into());
        }
        std::fs::create_dir_all(folder).map_err(|source| Error::Folder {
            path: folder.display().to_string(),
            source,
        })?;

        let draw = Draw::new(&config, music, &music.train);
        let validation = Draw::new(&config, music, &music.validation).unshifted();
        for (draw, pieces, split) in [
            (&draw, &music.train, "training"),
            (&validation, &music.validation, "validation"),
        ] {
            if !draw.can_draw() {
                let sources: BTreeSet<&str> =
                    pieces.iter().map(|piece| piece.source.as_str()).collect();
                return Err(Error::Weightless {
                    split,
                    sources: Vec::from_iter(sources).join(", "),
                });
            }
        }
        let count = config.validation_segments;
        let validation = validation.segments(Purpose::Validation, |segments, _| segments >= count);
        let Epoch {
            steps: epoch,
            lost,
            tokens,
        } = Epoch::measure(&config, music, &draw);
        let tokens = tokens.div_ceil(ranks.count() as u64);
        if lost > 0.0 && ranks.leads() {
            eprintln!(
                "note: {:.1} % of the bars that segments were to have are left out at their ends, as they would be \
                 longer than max_seq_length, {} tokens",
                100.0 * lost,
                config.max_seq_length
            );
        }
        let need = Need::new(
            &config,
            &config.architecture(music.encoding.vocabulary_size()),
            machine.threads,
        );
        if machine.device == tch::Device::Cpu
            && let Some(free) = memory::available()
        {
            need.check(&config.clone().of_one_rank(ranks.count()), tokens, free)?;
        }
        let steps = config.steps.unwrap_or(config.epochs.saturating_mul(epoch));
        let validation_every = config.validation_every.unwrap_or(epoch);

        let setting = Setting {
            music,
            data_set,
            folder,
            machine,
        };
        let (state, workers) = match folder.join(LAST).exists() {
            true => {
                let (state, workers) = setting.resume(config, from)?;
                if ranks.leads() {
                    eprintln!("going on at step {} of {steps}", state.progress.step);
                }
                (state, workers)
            }
            false => setting.begin(config, from)?,
        };
        ranks.agree(&serde_json::json!([state, steps]).to_string())?;
        Ok(Self {
            log: ranks.leads().then(|| Log::open(&state, folder)),
            sample_every: state
                .config
                .sample_every_epochs
                .map(|epochs| epochs.saturating_mul(epoch)),
            state,
            folder: folder.to_owned(),
            draw: Arc::new(draw),
            validation,
            encoding: &*music.encoding,
            workers,
            ranks,
            steps,
            need: (need, tokens),
            validation_every,
        })
    }

    /// Where the run stands.
    pub fn progress(&self) -> &Progress {
        &self.state.progress
    }

    /// Trains until the end, `stop`, or `limit`.
    pub fn train(&mut self, stop: &AtomicBool, limit: Option<Duration>) -> Result<End, Error> {
        let (draw, config) = (self.draw.clone(), self.state.config.clone());
        let segments = |step| segments_of_step(&config, &draw, step);
        let first = self.state.progress.step + 1;
        let run = || Prefetch::during(first, segments, |ahead| self.go(ahead, stop, limit));
        let end = memory::guarded(run).unwrap_or_else(|memory::Exhausted| {
            let (need, tokens) = self.need;
            let step = self.state.progress.step + 1;
            let config = self.state.config.clone().of_one_rank(self.ranks.count());
            // The estimate was too low, or others took memory, too.
            let advice = need.advice(&config, tokens, need.of(tokens) / 2);
            Err(Error::Exhausted {
                step,
                advice,
                folder: self.folder.display().to_string(),
            })
        });
        if let Err(Error::Ranks(_)) = &end
            && let Some(step) = self.ranks.rescue().save()?
        {
            eprintln!("saved after step {step}");
        }
        end
    }

    /// Ends the processes of the run well, once all of them do.
    pub fn finish(self) {
        self.ranks.finish();
    }

    fn go(
        &mut self,
        ahead: &Prefetch<Vec<Segment>>,
        stop: &AtomicBool,
        limit: Option<Duration>,
    ) -> Result<End, Error> {
        let begin = Instant::now();
        let mut saved = Instant::now();
        let every = minutes(self.state.config.checkpoint_minutes);
        let mut display = Display::new(&self.state, self.steps, &self.ranks);
        let Progress { step, history, .. } = &self.state.progress;
        // What fine-tuning has to beat; and what was saved by a signal before it was validated.
        let due = match step {
            0 => self.state.from.is_some(),
            _ => self.is_validated(*step),
        };
        if due && history.last().is_none_or(|record| record.step != *step) {
            self.validate(&mut display)?;
        }
        let end = loop {
            let patience = self.state.config.early_stopping_patience.max(1);
            if self.state.config.use_early_stopping && self.state.progress.stale >= patience {
                break End::EarlyStop;
            }
            if self.state.progress.step >= self.steps {
                break End::Steps;
            }
            let enough = limit.is_some_and(|limit| begin.elapsed() >= limit);
            if self.ranks.any(enough || stop.load(Ordering::Relaxed))? {
                break End::Interrupted;
            }
            self.step(ahead.next(), &mut display)?;
            let step = self.state.progress.step;
            if self
                .sample_every
                .is_some_and(|every| step.is_multiple_of(every))
                && let Some(log) = &self.log
            {
                log.sample(&self.state, &self.workers.model().merged());
            }
            // A step that was skipped changed nothing: what is validated is the last good model.
            if self.is_validated(step) {
                self.validate(&mut display)?;
                saved = Instant::now();
            } else if saved.elapsed() >= every && self.state.progress.skipped_in_a_row == 0 {
                self.save(LAST)?;
                saved = Instant::now();
            }
        };
        self.save(LAST)?;
        display.finish();
        Ok(end)
    }

    fn is_validated(&self, step: u64) -> bool {
        step.is_multiple_of(self.validation_every) || step == self.steps
    }

    fn step(&mut self, segments: Vec<Segment>, display: &mut Display) -> Result<(), Error> {
        let begin = Instant::now();
        let State {
            config, progress, ..
        } = &mut self.state;
        let number = progress.step + 1;
        let rate = schedule::learning_rate(config, number, self.steps);
        let tokens: usize = segments.iter().map(|segment| segment.tokens.len()).sum();
        let gradients = self
            .workers
            .gradients(config, &segments, number, &self.ranks)?;
        let rescue = self.ranks.rescue().clone();
        let mut kept = rescue.hold();
        let loss = gradients.map(|gradients| {
            let loss = gradients.loss;
            self.workers.update(config, number, rate, gradients);
            self.workers.go_on(config, &segments, number);
            loss
        });
        progress.step = number;
        progress.tokens += tokens as u64;
        progress.seconds += begin.elapsed().as_secs_f64();
        match loss {
            Some(loss) => {
                progress.loss_sum += loss;
                progress.loss_count += 1;
                progress.skipped_in_a_row = 0;
                let speed = tokens as f64 / begin.elapsed().as_secs_f64().max(1e-9);
                if let Some(log) = &mut self.log {
                    log.step(number, loss, rate, speed);
                }
            }
            None => {
                progress.skipped += 1;
                progress.skipped_in_a_row += 1;
                if progress.skipped_in_a_row >= MOST_SKIPPED {
                    let folder = self.folder.display().to_string();
                    return Err(Error::NotFinite {
                        step: number,
                        folder,
                    });
                }
            }
        }
        display.step(progress, loss, tokens, begin.elapsed());
        if loss.is_some() {
            *kept = self.kept();
        }
        Ok(())
    }

    fn validate(&mut self, display: &mut Display) -> Result<(), Error> {
        let begin = Instant::now();
        let evaluation = self.workers.evaluate(
            &self.state.config,
            &self.validation,
            self.encoding,
            &self.ranks,
        )?;
        if !evaluation.loss.is_finite() {
            let folder = self.folder.display().to_string();
            return Err(Error::NotFinite {
                step: self.state.progress.step,
                folder,
            });
        }
        let State {
            config, progress, ..
        } = &mut self.state;
        progress.seconds += begin.elapsed().as_secs_f64();
        let record = Record {
            step: progress.step,
            tokens: progress.tokens,
            seconds: progress.seconds,
            learning_rate: schedule::learning_rate(config, progress.step, self.steps),
            training_loss: match progress.loss_count {
                0 => evaluation.loss,
                count => progress.loss_sum / count as f64,
            },
            validation_loss: evaluation.loss,
            accuracy: evaluation.accuracy,
        };
        (progress.loss_sum, progress.loss_count) = (0.0, 0);
        let best = progress.judge(evaluation.loss, config.early_stopping_min_delta);
        display.validation(&record, best);
        progress.history.push(record);
        if let Some(log) = &mut self.log {
            log.validation(&progress.history);
        }
        *self.ranks.rescue().hold() = self.kept();
        if best {
            self.save(BEST)?;
        }
        self.save(LAST)
    }

    /// What a signal saves: of one process nothing, as it goes on to the end of its step; of several
    /// ranks the same by the first two, as one of them may be the one that died.
    fn kept(&self) -> Option<Kept> {
        (self.ranks.count() > 1 && self.ranks.rank() < 2).then(|| Kept {
            path: self.folder.join(LAST),
            state: self.state.clone(),
            tensors: self.workers.tensors(),
        })
    }

    fn save(&self, name: &str) -> Result<(), Error> {
        if !self.ranks.leads() {
            return Ok(());
        }
        Ok(checkpoint::write(
            &self.folder.join(name),
            &self.state,
            &self.workers.tensors(),
        )?)
    }
}
