//! The inference thread: engines, generators, one bar for each job in turn.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use famam_shared::engine::{self, Choice, Engine};
use famam_shared::generation::song::{Composer, Song};
use famam_shared::generation::{GeneratedBar, GenerationError};
use famam_shared::manifest::Manifest;

use super::InstanceId;
use crate::band;
use crate::model::Source;

/// Instruments of a genre's own band, where no group is on.
const OWN: usize = 5;

/// What the dispatcher orders.
pub(super) enum Job {
    /// Load this model for an instance, even if it has it.
    Load {
        instance: InstanceId,
        source: Source,
    },
    /// Make a clip. Its genre is any where the model has no genre of this index, its metre the nearest
    /// that the model has; its tracks are the model's band of `groups`,
    /// or the genre's own.
    Generate {
        instance: InstanceId,
        id: u64,
        source: Source,
        song: Box<Song>,
        groups: [bool; 6],
        cancel: Arc<AtomicBool>,
    },
    /// The instance needs nothing any more.
    Leave(InstanceId),
}

/// What becomes of it.
pub(super) struct Report {
    pub instance: InstanceId,
    pub news: News,
}

/// What there is to tell of an instance.
pub(super) enum News {
    /// A model is there.
    Loaded { source: Source, model: Model },
    /// A model is not.
    LoadFailed { source: Source, why: String },
    /// The next bar of a clip, and the speed of its bars so far.
    Bar {
        id: u64,
        bar: GeneratedBar,
        tokens_per_second: f64,
    },
    /// All bars of a clip are done.
    Done { id: u64 },
    /// A clip will not be finished.
    Failed { id: u64, why: String },
}

/// What there is to know of a model.
pub(super) struct Model {
    pub name: String,
    pub hash: String,
    pub genres: Arc<Vec<String>>,
    pub engine: String,
    /// Why the engine is not ONNX Runtime.
    pub fallback: Option<String>,
}

/// A clip that is being made.
struct Running {
    instance: InstanceId,
    id: u64,
    composer: Composer,
    /// Time that its bars took, without those of others.
    busy: Duration,
}

/// Engines in use: each instance holds its own, and instances with one model share it.
#[derive(Default)]
struct Engines {
    held: HashMap<InstanceId, (Source, Arc<dyn Engine>)>,
    by_hash: HashMap<String, Weak<dyn Engine>>,
}

impl Engines {
    fn get(&mut self, instance: InstanceId, source: &Source) -> Option<Arc<dyn Engine>> {
        let (held, engine) = self.held.get(&instance)?;
        (held == source).then(|| engine.clone())
    }

    fn load(&mut self, instance: InstanceId, source: &Source) -> Result<Arc<dyn Engine>, String> {
        let bundle = source.open().map_err(|error| error.to_string())?;
        let hash = bundle.manifest.hash.clone();
        let engine = match self.by_hash.get(&hash).and_then(Weak::upgrade) {
            Some(engine) => engine,
            None => engine::load(&bundle, threads(), Choice::Auto)
                .map_err(|error| format!("the model cannot be started: {error}"))?,
        };
        self.by_hash.retain(|_, engine| engine.strong_count() > 0);
        self.by_hash.insert(hash, Arc::downgrade(&engine));
        self.held.insert(instance, (source.clone(), engine.clone()));
        Ok(engine)
    }
}

/// More threads gain little at these sizes, and the host needs its cores for sound.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(2))
}

/// Runs until the dispatcher is gone.
pub(super) fn run(jobs: Receiver<Job>, reports: Sender<Report>) {
    let mut engines = Engines::default();
    let mut queue: VecDeque<Running> = VecDeque::new();
    loop {
        if queue.is_empty() {
            match jobs.recv() {
                Ok(job) => take(job, &mut engines, &mut queue, &reports),
                Err(_) => return,
            }
        }
        while let Ok(job) = jobs.try_recv() {
            take(job, &mut engines, &mut queue, &reports);
        }
        if let Some(running) = queue.pop_front()
            && let Some(running) = one_bar(running, &reports)
        {
            queue.push_back(running);
        }
    }
}

fn take(job: Job, engines: &mut Engines, queue: &mut VecDeque<Running>, reports: &Sender<Report>) {
    match job {
        Job::Leave(instance) => {
            queue.retain(|running| running.instance != instance);
            engines.held.remove(&instance);
        }
        Job::Load { instance, source } => {
            if let Err(why) = load(engines, instance, &source, reports) {
                tell(reports, instance, News::LoadFailed { source, why });
            }
        }
        Job::Generate {
            instance,
            id,
            source,
            song,
            groups,
            cancel,
        } => {
            queue.retain(|running| running.instance != instance);
            let engine = match engines.get(instance, &source) {
                Some(engine) => Ok(engine),
                None => load(engines, instance, &source, reports),
            };
            let composer = engine.and_then(|engine| {
                let song = fit(*song, groups, engine.manifest());
                let composer = guarded(|| Composer::new(&*engine, song, cancel, None))?;
                composer.map_err(|error| error.to_string())
            });
            match composer {
                Ok(composer) => queue.push_back(Running {
                    instance,
                    id,
                    composer,
                    busy: Duration::ZERO,
                }),
                Err(why) => tell(reports, instance, News::Failed { id, why }),
            }
        }
    }
}

/// The song as a model can be asked for it.
fn fit(mut song: Song, groups: [bool; 6], manifest: &Manifest) -> Song {
    if usize::from(song.genre) >= manifest.vocabulary.genres.len() {
        song.genre = 0;
    }
    for bar in &mut song.bars {
        *bar = bar.nearest(manifest.encoding.settings());
    }
    let genre = song.genre;
    let band = band::of_groups(groups, &manifest.bands, genre);
    song.band(band.unwrap_or_else(|| manifest.bands.top(genre, OWN)))
}

fn tell(reports: &Sender<Report>, instance: InstanceId, news: News) {
    // Where nobody listens any more the process is ending.
    let _ = reports.send(Report { instance, news });
}

fn load(
    engines: &mut Engines,
    instance: InstanceId,
    source: &Source,
    reports: &Sender<Report>,
) -> Result<Arc<dyn Engine>, String> {
    let engine = guarded(|| engines.load(instance, source))??;
    let manifest = engine.manifest();
    let model = Model {
        name: manifest.name.clone(),
        hash: manifest.hash.clone(),
        genres: Arc::new(manifest.vocabulary.genres.clone()),
        engine: engine.name(),
        fallback: engine.fallback().map(str::to_owned),
    };
    let source = source.clone();
    tell(reports, instance, News::Loaded { source, model });
    Ok(engine)
}

/// Makes the next bar; gives the job back if there are more.
fn one_bar(mut running: Running, reports: &Sender<Report>) -> Option<Running> {
    let (instance, id) = (running.instance, running.id);
    let began = Instant::now();
    let bar = guarded(|| running.composer.next());
    running.busy += began.elapsed();
    let news = match bar {
        Ok(Some(Ok(bar))) => {
            let tokens = running.composer.tokens_drawn() as f64;
            let tokens_per_second = tokens / running.busy.as_secs_f64().max(1e-9);
            let news = News::Bar {
                id,
                bar,
                tokens_per_second,
            };
            tell(reports, instance, news);
            return Some(running);
        }
        Ok(None) => News::Done { id },
        Ok(Some(Err(GenerationError::Cancelled))) => return None,
        Ok(Some(Err(error))) => News::Failed {
            id,
            why: error.to_string(),
        },
        Err(why) => News::Failed { id, why },
    };
    tell(reports, instance, news);
    None
}

/// A fault in an engine must not take the host with it.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no reason");
        format!("a fault in Famam ({words}); please report it")
    })
}
