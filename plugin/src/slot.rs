//! The [`Slot`]: atomics between the audio thread and the worker, which reads them every few
//! milliseconds. Nothing here waits or wakes anybody, so any thread may write.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use famam_shared::generation::song::SongBar;
use famam_shared::score::{Metre, Ticks};

/// See the module.
#[derive(Debug, Default)]
pub struct Slot {
    asked: AtomicU64,
    served: AtomicU64,
    awaited: AtomicBool,
    generate: AtomicU32,
    panic: AtomicU32,
    /// A [`SongBar`], packed; 0 is unknown.
    song: AtomicU64,
}

impl Slot {
    /// Something happened that the worker must look at: a parameter, a command, a new metre.
    pub fn ask(&self) {
        self.asked.fetch_add(1, Ordering::Release);
    }

    /// A clip was asked for, whatever the parameters are.
    pub fn generate(&self) {
        self.generate.fetch_add(1, Ordering::Release);
        self.ask();
    }

    /// All that sounds is to end.
    pub fn panic(&self) {
        self.panic.fetch_add(1, Ordering::Release);
    }

    /// How often [`Slot::ask`] was called.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Acquire)
    }

    /// How often [`Slot::generate`] was called.
    pub fn generates(&self) -> u32 {
        self.generate.load(Ordering::Acquire)
    }

    /// How often [`Slot::panic`] was called.
    pub fn panics(&self) -> u32 {
        self.panic.load(Ordering::Acquire)
    }

    /// All that was asked up to `asked` has been done, and its clip is on its way to the player.
    pub fn serve(&self, asked: u64) {
        self.served.fetch_max(asked, Ordering::Release);
    }

    /// Whether nothing that was asked is still to be done.
    pub fn is_settled(&self) -> bool {
        self.served.load(Ordering::Acquire) >= self.asked()
    }

    /// Says whether an offline render waits until [`Slot::is_settled`].
    pub fn set_awaited(&self, awaited: bool) {
        self.awaited.store(awaited, Ordering::Relaxed);
    }

    /// Whether an offline render waits.
    pub fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Relaxed)
    }

    /// Tells what the host says of its song's metre and tempo; asks where its metre, or the first thing that it says,
    /// is news.
    pub fn set_song(&self, song: SongBar) {
        let new = pack(song);
        let old = self.song.swap(new, Ordering::AcqRel);
        if old >> 32 != new >> 32 {
            self.ask();
        }
    }

    /// What the host said last.
    pub fn song(&self) -> Option<SongBar> {
        unpack(self.song.load(Ordering::Acquire))
    }
}

fn pack(
    SongBar {
        metre,
        micros_per_quarter,
    }: SongBar,
) -> u64 {
    let metre = u64::from(metre.numerator) << 8 | u64::from(metre.denominator);
    metre << 32 | u64::from(micros_per_quarter)
}

fn unpack(packed: u64) -> Option<SongBar> {
    let (numerator, denominator) = ((packed >> 40) as u8, (packed >> 32) as u8);
    let metre = Metre {
        at: Ticks(0),
        numerator,
        denominator,
    };
    (packed != 0).then_some(SongBar {
        metre,
        micros_per_quarter: packed as u32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_song_comes_back_and_only_a_new_metre_asks() {
        let slot = Slot::default();
        assert_eq!(slot.song(), None);
        let song = SongBar {
            metre: Metre {
                numerator: 7,
                denominator: 8,
                ..Metre::COMMON
            },
            micros_per_quarter: 431_000,
        };
        slot.set_song(song);
        slot.set_song(SongBar {
            micros_per_quarter: 500_000,
            ..song
        });
        assert_eq!(
            slot.song(),
            Some(SongBar {
                micros_per_quarter: 500_000,
                ..song
            })
        );
        assert_eq!(slot.asked(), 1);
        assert!(!slot.is_settled());
        slot.serve(1);
        assert!(slot.is_settled());
    }
}
