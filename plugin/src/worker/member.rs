//! An instance as the dispatcher knows it: what it has, wants and is being made.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use famam_shared::generation::song::{Song, SongBar};
use famam_shared::instrument::Instrument;
use famam_shared::score::Note;
use parking_lot::RwLock;
use rtrb::{Consumer, Producer};

use super::inference::Job;
use super::{Command, InstanceId};
use crate::clip::Clip;
use crate::model::Source;
use crate::params::{FamamParams, MAX_SEED, Shape};
use crate::slot::Slot;
use crate::snapshot::{Activity, Snapshot, View};
use crate::state::{Kept, Restored, StateError};

mod reports;

/// How long parameters must rest before a clip is made for them.
const REST: Duration = Duration::from_millis(150);

/// A clip that is being made.
struct Making {
    id: u64,
    cancel: Arc<AtomicBool>,
    song: Song,
    bars: Vec<Vec<(Instrument, Note)>>,
}

/// An instance, as the dispatcher knows it.
pub struct Member {
    id: InstanceId,
    params: Arc<FamamParams>,
    slot: Arc<Slot>,
    kept: Arc<RwLock<Kept>>,
    view: View,
    /// What the window was last told of: the picture, and whether the playhead moves.
    shown: (Snapshot, bool),
    clips: Producer<Arc<Clip>>,
    returned: Consumer<Arc<Clip>>,
    /// A clip that the player's queue had no room for.
    waiting: Option<Arc<Clip>>,
    /// Whether a host has activated it.
    started: bool,
    /// [`Slot::asked`] and [`Slot::generates`] as far as they were looked at.
    asked: u64,
    generates: u32,
    /// What the newest clip was made for, or the parameters when it was restored.
    shape: Option<Shape>,
    /// When the parameters will have rested.
    due: Option<Instant>,
    making: Option<Making>,
    /// Whether the newest clip was made unasked, before the host had said anything of its song.
    guessed: bool,
    /// A bundle that the user chose, until it is loaded.
    candidate: Option<Source>,
    /// Clips so far.
    count: u64,
    /// Hash of the bundle that the song was saved with, until that bundle was loaded.
    expected_hash: String,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.cancel();
        // An offline render must not wait for a worker that is gone.
        self.slot.serve(u64::MAX);
    }
}

impl Member {
    pub(super) fn new(
        params: Arc<FamamParams>,
        slot: Arc<Slot>,
        kept: Arc<RwLock<Kept>>,
        view: View,
        clips: Producer<Arc<Clip>>,
        returned: Consumer<Arc<Clip>>,
    ) -> Self {
        Self {
            id: 0,
            params,
            slot,
            kept,
            view,
            shown: Default::default(),
            clips,
            returned,
            waiting: None,
            started: false,
            asked: 0,
            generates: 0,
            shape: None,
            due: None,
            making: None,
            guessed: false,
            candidate: None,
            count: 0,
            expected_hash: String::new(),
        }
    }

    /// The service knows it by `id`.
    pub(super) fn join(&mut self, id: InstanceId) {
        self.id = id;
    }

    /// Looks at what was asked; starts what is due.
    pub(super) fn look(
        &mut self,
        now: Instant,
        commands: &Receiver<(InstanceId, Command)>,
        jobs: &Sender<Job>,
    ) {
        while self.returned.pop().is_ok() {}
        self.send();
        let asked = self.slot.asked();
        // Whoever commands sends first and asks then: what was asked for is in the channel, or done.
        let obeyed = commands.is_empty();
        if asked != self.asked {
            self.asked = asked;
            self.note_wishes(now);
        }
        if self
            .due
            .is_some_and(|due| due <= now || self.slot.is_awaited())
        {
            self.make(false, jobs);
        }
        let busy = self.making.is_some()
            || self.due.is_some()
            || self.candidate.is_some()
            || self.waiting.is_some();
        if obeyed && !busy {
            self.slot.serve(asked);
        }
        self.show();
    }

    /// Has the window painted when there is something new to see; a window at rest costs nothing.
    fn show(&mut self) {
        let moves = self.view.playhead().is_some();
        let snapshot = self.view.snapshot.read();
        if (&*snapshot, moves) != (&self.shown.0, self.shown.1) {
            self.shown = (snapshot.clone(), moves);
            self.view.repaint.request_repaint();
        }
    }

    /// Something was asked: a clip, or one for new parameters or for a song that was not known.
    fn note_wishes(&mut self, now: Instant) {
        let generates = self.slot.generates();
        if std::mem::replace(&mut self.generates, generates) != generates {
            self.started = true;
            self.due = Some(now);
        }
        if !self.started || self.due == Some(now) {
            return;
        }
        if self.guessed
            && let Some(song) = self.slot.song()
        {
            self.guessed = false;
            if song != SongBar::default() {
                self.due = Some(now);
            }
        }
        if self.shape.is_some_and(|shape| shape != self.params.shape()) {
            self.due = Some(now + REST);
        }
    }

    /// Does what the window, the host or a song wants.
    pub(super) fn obey(&mut self, command: Command, jobs: &Sender<Job>) {
        match command {
            Command::Start => {
                if !std::mem::replace(&mut self.started, true) {
                    self.generates = self.slot.generates();
                    if self.kept.read().clip.is_none() && self.making.is_none() {
                        self.make(true, jobs);
                    }
                }
            }
            Command::Cancel => self.give_up(),
            Command::LoadBundle(path) => {
                let source = path.map_or(Source::BuiltIn, Source::File);
                self.candidate = Some(source.clone());
                self.load(source, jobs);
            }
            Command::Restore(state) => self.restore(state, jobs),
            Command::Join(_) | Command::Leave | Command::Stop => {}
        }
    }

    fn load(&mut self, source: Source, jobs: &Sender<Job>) {
        let mut snapshot = self.view.snapshot.write();
        snapshot.activity = Activity::Loading;
        snapshot.notice = None;
        let _ = jobs.send(Job::Load {
            instance: self.id,
            source,
        });
    }

    fn restore(&mut self, state: Result<Box<Restored>, StateError>, jobs: &Sender<Job>) {
        // The state's parameters are no wish for another clip.
        self.shape = Some(self.params.shape());
        self.generates = self.slot.generates();
        let restored = match state {
            Ok(restored) => *restored,
            Err(error) => {
                self.view.snapshot.write().notice = Some(error.to_string());
                return;
            }
        };
        self.due = None;
        self.candidate = None;
        self.cancel();
        self.guessed = false;
        {
            let mut kept = self.kept.write();
            kept.source = restored.source.clone();
            kept.model = restored.model;
            kept.hash = restored.hash.clone();
            kept.genres = Arc::default();
            let named = !restored.genre.is_empty();
            kept.genre = named.then(|| (self.params.shape().genre, restored.genre));
        }
        self.expected_hash = restored.hash;
        match restored.clip {
            Some(mut clip) => {
                self.count += 1;
                clip.id = self.count;
                self.publish(
                    Arc::new(clip),
                    Activity::Ready {
                        tokens_per_second: None,
                    },
                    true,
                );
                self.load(restored.source, jobs);
            }
            None if self.started => self.make(true, jobs),
            None => self.kept.write().clip = None,
        }
    }

    /// Orders a clip for the present parameters. `unasked` says that nobody asked for it.
    fn make(&mut self, unasked: bool, jobs: &Sender<Job>) {
        self.cancel();
        self.due = None;
        let shape = self.params.shape();
        self.shape = Some(shape);
        let song = self.slot.song();
        self.guessed = unasked && song.is_none();
        let song = Song {
            genre: shape.genre,
            seed: match shape.seed {
                0 => RandomState::new().hash_one(self.id) % u64::from(MAX_SEED) + 1,
                seed => u64::from(seed),
            },
            sampling: self.params.sampling(),
            ..Song::new(shape.bars, song.unwrap_or_default())
        };
        self.count += 1;
        let (instance, id, source) = (self.id, self.count, self.kept.read().source.clone());
        let cancel = Arc::new(AtomicBool::new(false));
        let making = Making {
            id,
            cancel: cancel.clone(),
            song: song.clone(),
            bars: Vec::new(),
        };
        self.making = Some(making);
        self.view.snapshot.write().activity = Activity::Generating {
            done: 0,
            bars: shape.bars,
            tokens_per_second: None,
        };
        if jobs
            .send(Job::Generate {
                instance,
                id,
                source,
                song: Box::new(song),
                groups: shape.groups,
                cancel,
            })
            .is_err()
        {
            self.making = None;
            let why = "the system gave Famam no thread to make music on; close other programs";
            self.view.snapshot.write().activity = Activity::Failed(why.to_owned());
        }
    }

    fn cancel(&mut self) {
        if let Some(making) = self.making.take() {
            making.cancel.store(true, Ordering::Relaxed);
        }
    }

    /// Ends the making; what the player has by now is what there is.
    fn give_up(&mut self) {
        // What is cancelled is not made when something else is asked.
        self.due = None;
        self.guessed = false;
        self.shape = Some(self.params.shape());
        let begun = self
            .making
            .as_ref()
            .is_some_and(|making| !making.bars.is_empty());
        self.cancel();
        let clip = self.view.snapshot.read().clip.clone();
        if begun {
            self.kept.write().clip = clip.clone();
        }
        self.view.snapshot.write().activity = match self.candidate {
            Some(_) => Activity::Loading,
            None => Activity::Ready {
                tokens_per_second: None,
            },
        };
    }
}
