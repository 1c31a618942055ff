//! The transport of the standalone, which has no host with one: Play, Stop and a tempo that the
//! window sets, and a song position that the audio thread counts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use famam_shared::generation::song::SongBar;
use famam_shared::score::{Metre, Tempo};

use crate::player::Transport;

/// What the window sets and the audio thread reads. Any thread may do either.
#[derive(Debug)]
pub struct Controls {
    in_use: AtomicBool,
    playing: AtomicBool,
    /// Quarters a minute, as bits.
    tempo: AtomicU64,
}

impl Default for Controls {
    fn default() -> Self {
        Self {
            in_use: AtomicBool::new(false),
            playing: AtomicBool::new(false),
            tempo: AtomicU64::new(120f64.to_bits()),
        }
    }
}

impl Controls {
    /// The slowest and the fastest tempo, in quarters a minute.
    pub const TEMPOS: std::ops::RangeInclusive<f64> = 20.0..=300.0;

    /// Whether this is a standalone; a plugin follows its host, and nothing here does anything.
    pub fn in_use(&self) -> bool {
        self.in_use.load(Ordering::Relaxed)
    }

    pub(crate) fn use_them(&self, in_use: bool) {
        self.in_use.store(in_use, Ordering::Relaxed);
    }

    /// Plays from the song's start, or stops.
    pub fn play(&self, playing: bool) {
        self.playing.store(playing, Ordering::Relaxed);
    }

    /// Whether it plays.
    pub fn is_playing(&self) -> bool {
        self.playing.load(Ordering::Relaxed)
    }

    /// Sets quarters a minute.
    pub fn set_tempo(&self, tempo: f64) {
        if tempo.is_finite() {
            let tempo = tempo.clamp(*Self::TEMPOS.start(), *Self::TEMPOS.end());
            self.tempo.store(tempo.to_bits(), Ordering::Relaxed);
        }
    }

    /// Quarters a minute.
    pub fn tempo(&self) -> f64 {
        f64::from_bits(self.tempo.load(Ordering::Relaxed))
    }
}

/// The song position, on the audio thread.
#[derive(Debug, Default)]
pub(crate) struct Position(f64);

impl Position {
    /// The transport for the next `frames` samples.
    pub fn advance(
        &mut self,
        controls: &Controls,
        frames: u32,
        sample_rate: f64,
    ) -> (Transport, SongBar) {
        let (playing, tempo) = (controls.is_playing(), controls.tempo());
        let position = if playing { self.0 } else { 0.0 };
        let quarters = f64::from(frames) / sample_rate * tempo / 60.0;
        self.0 = if playing { position + quarters } else { 0.0 };
        let transport = Transport {
            playing,
            position: Some(position),
            tempo: Some(tempo),
            sample_rate,
            ..Transport::default()
        };
        let micros_per_quarter = (f64::from(Tempo::DEFAULT_MICROS) * 120.0 / tempo).round() as u32;
        (
            transport,
            SongBar {
                metre: Metre::COMMON,
                micros_per_quarter,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_song_goes_on_while_it_plays_and_starts_over_after_a_stop() {
        let (controls, mut position) = (Controls::default(), Position::default());
        controls.set_tempo(60.0);
        let mut next = |playing| {
            controls.play(playing);
            let (transport, song) = position.advance(&controls, 48_000, 48_000.0);
            assert_eq!(song.micros_per_quarter, 1_000_000);
            (transport.playing, transport.position)
        };
        assert_eq!(next(true), (true, Some(0.0)));
        assert_eq!(next(true), (true, Some(1.0)));
        assert_eq!(next(false), (false, Some(0.0)));
        assert_eq!(next(true), (true, Some(0.0)));
    }
}
