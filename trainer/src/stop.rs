//! Ctrl+C, or a request to terminate: long work ends in order, and another one ends the program at once. Where
//! nothing is being done that has to end in order, the first one does.

use std::io::IsTerminal;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

/// The work that is being done.
static WORK: Mutex<Option<Work>> = Mutex::new(None);
/// Puts the handler in its place.
static HANDLER: Once = Once::new();
/// What a process that a signal ended says, as shells do: 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// Work that ends in order.
struct Work {
    flag: Arc<AtomicBool>,
    /// Says that it will.
    told: Box<dyn Fn() + Send>,
}

/// A flag that Ctrl+C sets while it lives.
pub struct Stop(Arc<AtomicBool>);

impl Deref for Stop {
    type Target = AtomicBool;

    fn deref(&self) -> &AtomicBool {
        &self.0
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        *work() = None;
    }
}

/// From now on, until what is returned is dropped, Ctrl+C asks the work to end.
pub fn on_signal() -> Stop {
    on_signal_with(Arc::default(), || {
        eprintln!("\nstopping in order; again to stop at once");
    })
}

/// The same with a flag that is there, and `told` called once it is set.
pub fn on_signal_with(flag: Arc<AtomicBool>, told: impl Fn() + Send + 'static) -> Stop {
    *work() = Some(Work {
        flag: flag.clone(),
        told: Box::new(told),
    });
    watch();
    Stop(flag)
}

/// From now on Ctrl+C leaves the terminal as it was, where it ends the program.
pub fn watch() {
    HANDLER.call_once(|| {
        let handler = || match &*work() {
            Some(work) if !work.flag.swap(true, Ordering::Relaxed) => (work.told)(),
            _ => {
                if std::io::stderr().is_terminal() {
                    // A prompt hides the cursor.
                    eprint!("\x1b[?25h");
                }
                std::process::exit(INTERRUPTED);
            }
        };
        if let Err(error) = ctrlc::set_handler(handler) {
            eprintln!("note: Ctrl+C will stop at once, without saving ({error})");
        }
    });
}

fn work() -> MutexGuard<'static, Option<Work>> {
    WORK.lock().unwrap_or_else(PoisonError::into_inner)
}
