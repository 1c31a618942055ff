//! What the window sees of an instance ([`View`]) and what it can ask for ([`Commands`]).
//!
//! The worker writes a [`Snapshot`], the window takes copies of it; only these two threads (and the
//! host's main thread) come here, never the audio thread. Parameters do not pass here: the window
//! sets them through its host, and the worker sees that they changed.

use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::Sender;
use nih_plug_egui::RepaintNotifier;
use parking_lot::RwLock;

use crate::clip::Clip;
use crate::player::Playhead;
use crate::slot::Slot;
use crate::standalone;
use crate::worker::{Command, InstanceId};

/// What the engine does.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Activity {
    /// Nothing yet: no model is loaded.
    #[default]
    Waiting,
    /// A model is being loaded.
    Loading,
    /// A clip is being made.
    Generating {
        /// Bars that are done.
        done: u32,
        /// Bars that were asked for.
        bars: u32,
        /// Tokens a second of its own computing, once there are some.
        tokens_per_second: Option<f64>,
    },
    /// Nothing: the clip is there.
    Ready {
        /// Tokens a second of the last clip, where one was made.
        tokens_per_second: Option<f64>,
    },
    /// The last request came to nothing; what to say, and what to do.
    Failed(String),
}

/// A picture of an instance. Copies are cheap.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The name of the model in use; empty until one is known.
    pub model: String,
    /// The engine in use, with its version; empty until a model is loaded.
    pub engine: String,
    /// What the engine does.
    pub activity: Activity,
    /// Something that the user should know, though it stops nothing: the song's model is gone, the
    /// song was saved by a newer Famam, ONNX Runtime was not found.
    pub notice: Option<String>,
    /// The genres of the model by the index that the parameter `genre` has; the first is *any*.
    pub genres: Arc<Vec<String>>,
    /// The newest clip. It may still be growing ([`Clip::done`] bars are its own, the rest repeats
    /// them), and the player may still play the one before, up to the next bar line.
    pub clip: Option<Arc<Clip>>,
}

/// An instance as its window sees it.
#[derive(Clone)]
pub struct View {
    pub(crate) snapshot: Arc<RwLock<Snapshot>>,
    pub(crate) playhead: Arc<Playhead>,
    /// Paints the window, if there is one; told by the worker when the picture changes.
    pub(crate) repaint: RepaintNotifier,
    /// Play, Stop and the tempo of the standalone.
    pub standalone: Arc<standalone::Controls>,
}

impl View {
    /// The picture as it is now.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.read().clone()
    }

    /// Where the player is in the clip, in quarters from the clip's start; `None` while nothing
    /// plays. Changes with every block that the host processes.
    pub fn playhead(&self) -> Option<f64> {
        self.playhead.quarters()
    }
}

/// What a window, or the host's main thread, can ask an instance for. All return at once.
#[derive(Clone)]
pub struct Commands {
    pub(crate) instance: InstanceId,
    pub(crate) sender: Sender<(InstanceId, Command)>,
    pub(crate) slot: Arc<Slot>,
}

impl Commands {
    /// Ends the making of a clip. What plays goes on.
    pub fn cancel(&self) {
        self.send(Command::Cancel);
    }

    /// Uses the bundle `path` from now on, and makes a clip with it.
    pub fn load_bundle(&self, path: PathBuf) {
        self.send(Command::LoadBundle(Some(path)));
    }

    /// Uses the model that is compiled in from now on, and makes a clip with it.
    pub fn load_default_bundle(&self) {
        self.send(Command::LoadBundle(None));
    }

    /// Ends all that sounds.
    pub fn panic(&self) {
        self.slot.panic();
    }

    pub(crate) fn send(&self, command: Command) {
        // The worker outlives every instance; if it is gone the process is ending.
        let _ = self.sender.send((self.instance, command));
        self.slot.ask();
    }
}
