//! The worker: one inference service for all instances of the process.
//!
//! Two threads, started with the first instance and joined when the last one goes:
//!
//! - the *dispatcher* ([`dispatcher`]) takes commands, looks at every instance's [`Slot`] each few
//!   milliseconds, decides what is to be made, turns bars into clips and sends them to the player;
//! - *inference* ([`inference`]) owns the engines and the running generators and makes one bar for
//!   each in turn, so that no instance waits for another's whole clip.
//!
//! So a newer request cancels an older one between two tokens, however long a bar takes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

use crossbeam_channel::Sender;
use nih_plug_egui::RepaintNotifier;
use parking_lot::{Mutex, RwLock};

use crate::clip::Clip;
use crate::params::FamamParams;
use crate::player::{Player, Playhead};
use crate::slot::Slot;
use crate::snapshot::{Commands, Snapshot, View};
use crate::state::{Kept, Restored, Session, StateError};

mod dispatcher;
mod inference;
mod member;

use member::Member;

/// Clips on their way to a player: more than the bars that are made while a host suspends it.
const CLIPS: usize = 128;

/// Names an instance within the process.
pub type InstanceId = u64;

/// What an instance's other threads ask of the worker.
pub enum Command {
    /// An instance is there.
    Join(Box<Member>),
    /// It may generate: a host has activated it.
    Start,
    /// End the making of a clip.
    Cancel,
    /// Use this bundle; `None` is the one that is compiled in.
    LoadBundle(Option<std::path::PathBuf>),
    /// A song was opened.
    Restore(Result<Box<Restored>, StateError>),
    /// The instance goes.
    Leave,
    /// The last instance went.
    Stop,
}

/// An instance's end of the service.
pub struct Instance {
    service: Arc<Service>,
    /// What its window sees.
    pub view: View,
    /// What it can be asked for.
    pub commands: Commands,
    /// Its parameters.
    pub params: Arc<FamamParams>,
    /// What its audio thread and the worker share.
    pub slot: Arc<Slot>,
}

struct Service {
    sender: Sender<(InstanceId, Command)>,
    threads: Vec<JoinHandle<()>>,
    next: AtomicU64,
}

impl Service {
    /// The process's service; starts it if there is none.
    fn get() -> Arc<Self> {
        static SERVICE: Mutex<Weak<Service>> = Mutex::new(Weak::new());
        let mut service = SERVICE.lock();
        if let Some(service) = service.upgrade() {
            return service;
        }
        crate::pin::pin();
        let (sender, commands) = crossbeam_channel::unbounded();
        let (jobs, queue) = crossbeam_channel::unbounded();
        let (reporter, reports) = crossbeam_channel::unbounded();
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.to_owned()).spawn(run).ok()
        };
        let threads = [
            spawn(
                "famam",
                Box::new(move || dispatcher::run(commands, reports, jobs)),
            ),
            spawn(
                "famam inference",
                Box::new(move || inference::run(queue, reporter)),
            ),
        ];
        let threads = threads.into_iter().flatten().collect();
        let started = Arc::new(Self {
            sender,
            threads,
            next: AtomicU64::new(0),
        });
        *service = Arc::downgrade(&started);
        started
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // A host may unload the plugin after this: no thread may be left in its code.
        let _ = self.sender.send((0, Command::Stop));
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Instance {
    /// A new instance and the player that gets its clips.
    pub fn new() -> (Self, Player) {
        let service = Service::get();
        let id = service.next.fetch_add(1, Ordering::Relaxed);
        let slot = Arc::new(Slot::default());
        let playhead = Arc::new(Playhead::default());
        let (clips, incoming) = rtrb::RingBuffer::<Arc<Clip>>::new(CLIPS);
        let (outgoing, returned) = rtrb::RingBuffer::new(2 * CLIPS);
        let commands = Commands {
            instance: id,
            sender: service.sender.clone(),
            slot: slot.clone(),
        };
        let kept = Arc::new(RwLock::new(Kept::default()));
        let session = Session::new(kept.clone(), commands.clone());
        let params = Arc::new(FamamParams::new(&slot, session));
        let snapshot = Arc::new(RwLock::new(Snapshot::default()));
        let view = View {
            snapshot,
            playhead: playhead.clone(),
            repaint: RepaintNotifier::new(),
            standalone: Arc::default(),
        };
        let member = Member::new(
            params.clone(),
            slot.clone(),
            kept,
            view.clone(),
            clips,
            returned,
        );
        commands.send(Command::Join(Box::new(member)));
        let player = Player::new(incoming, outgoing, playhead);
        (
            Self {
                service,
                view,
                commands,
                params,
                slot,
            },
            player,
        )
    }

    /// A host has activated the instance: if it has no clip, it makes one.
    pub fn start(&self) {
        self.commands.send(Command::Start);
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self
            .service
            .sender
            .send((self.commands.instance, Command::Leave));
    }
}
