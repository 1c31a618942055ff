//! What becomes of a member's jobs: models, bars, clips.

use std::sync::Arc;

use crossbeam_channel::Sender;
use famam_shared::generation::song::SongBar;

use super::Member;
use crate::clip::{Clip, Origin};
use crate::model::Source;
use crate::snapshot::Activity;
use crate::worker::inference::{Job, Model, News};

impl Member {
    /// Takes what the inference thread tells.
    pub(in crate::worker) fn hear(&mut self, news: News, jobs: &Sender<Job>) {
        match news {
            News::Loaded { source, model } => {
                let chosen = self.candidate.as_ref() == Some(&source);
                if chosen {
                    self.candidate = None;
                    self.expected_hash.clear();
                    self.kept.write().source = source.clone();
                }
                if self.kept.read().source == source {
                    self.loaded(model);
                }
                if chosen {
                    self.started = true;
                    self.make(false, jobs);
                }
            }
            News::LoadFailed { source, why } => self.not_loaded(source, why),
            News::Bar {
                id,
                bar,
                tokens_per_second,
            } => {
                if let Some(making) = self.making.as_mut().filter(|making| making.id == id) {
                    // The model's own metre, where it lacks the host's.
                    making.song.bars[0].metre = bar.metre;
                    making.bars.push(bar.notes);
                    let (done, bars) = (making.bars.len() as u32, making.song.length);
                    let tokens_per_second = Some(tokens_per_second);
                    let activity = Activity::Generating {
                        done,
                        bars,
                        tokens_per_second,
                    };
                    let clip = self.clip(bars);
                    clip.into_iter()
                        .for_each(|clip| self.publish(clip, activity.clone(), false));
                }
            }
            News::Done { id } => {
                if let Some(making) = self.making.as_ref().filter(|making| making.id == id) {
                    // A clip is complete with the bars that it has, should they be fewer.
                    let clip = self.clip(making.bars.len() as u32);
                    self.making = None;
                    let tokens_per_second = match self.view.snapshot.read().activity {
                        Activity::Generating {
                            tokens_per_second, ..
                        } => tokens_per_second,
                        _ => None,
                    };
                    let activity = Activity::Ready { tokens_per_second };
                    self.view.snapshot.write().activity = activity.clone();
                    clip.into_iter()
                        .for_each(|clip| self.publish(clip, activity.clone(), true));
                }
            }
            News::Failed { id, why } => {
                if self.making.as_ref().is_some_and(|making| making.id == id) {
                    self.making = None;
                    self.view.snapshot.write().activity = Activity::Failed(why);
                }
            }
        }
    }

    /// The model that was in use stays in use.
    fn not_loaded(&mut self, source: Source, why: String) {
        if self.candidate.as_ref() == Some(&source) {
            self.candidate = None;
            if self.making.is_none() {
                self.view.snapshot.write().activity = Activity::Failed(why);
            } else {
                self.view.snapshot.write().notice = Some(why);
            }
        } else if self.kept.read().source == source {
            let name = self.kept.read().model.clone();
            let mut snapshot = self.view.snapshot.write();
            snapshot.notice = Some(format!(
                "the model \"{name}\" of this song is gone: {why}; the clip plays on"
            ));
            if self.making.is_none() {
                snapshot.activity = Activity::Ready {
                    tokens_per_second: None,
                };
            }
        }
    }

    fn loaded(&mut self, model: Model) {
        let Model {
            name,
            hash,
            genres,
            engine,
            fallback,
        } = model;
        let foreign = !self.expected_hash.is_empty() && self.expected_hash != hash;
        self.expected_hash.clear();
        let mut kept = self.kept.write();
        (kept.model, kept.hash, kept.genres) = (name.clone(), hash, genres.clone());
        let mut snapshot = self.view.snapshot.write();
        if snapshot.activity == Activity::Loading {
            snapshot.activity = Activity::Ready {
                tokens_per_second: None,
            };
        }
        if foreign {
            snapshot.notice = Some(format!(
                "this song's clip was made by another version of the model than \"{name}\": it \
                 plays as it was, new clips will differ"
            ));
        } else if snapshot.notice.is_none() {
            snapshot.notice = fallback;
        }
        (snapshot.model, snapshot.engine, snapshot.genres) = (name, engine, genres);
    }

    /// The clip of the bars that were made, `bars` long. `None` while there is none.
    fn clip(&self, bars: u32) -> Option<Arc<Clip>> {
        let making = self
            .making
            .as_ref()
            .filter(|making| !making.bars.is_empty())?;
        let (song, kept) = (&making.song, self.kept.read());
        let SongBar {
            metre,
            micros_per_quarter,
        } = song.bars.first().copied().unwrap_or_default();
        let genre = kept.genres.get(usize::from(song.genre));
        let origin = Origin {
            model: kept.model.clone(),
            hash: kept.hash.clone(),
            genre: genre.cloned().unwrap_or_else(|| "any".to_owned()),
            seed: song.seed,
        };
        let clip = Clip::from_bars(
            making.id,
            bars,
            metre,
            micros_per_quarter,
            origin,
            &making.bars,
        );
        Some(Arc::new(clip))
    }

    /// Gives a clip to the player and the window, and to the state once it is whole.
    pub(super) fn publish(&mut self, clip: Arc<Clip>, activity: Activity, keep: bool) {
        if keep {
            self.kept.write().clip = Some(clip.clone());
        }
        {
            let mut snapshot = self.view.snapshot.write();
            snapshot.clip = Some(clip.clone());
            snapshot.activity = activity;
        }
        self.waiting = Some(clip);
        self.send();
    }

    /// Sends the clip that waits, as soon as the player's queue has room.
    pub(super) fn send(&mut self) {
        if let Some(clip) = self.waiting.take()
            && let Err(rtrb::PushError::Full(clip)) = self.clips.push(clip)
        {
            self.waiting = Some(clip);
        }
    }
}
