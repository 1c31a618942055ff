//! A host's song: the transport that it states for each block, with exact positions.
//!
//! At a constant tempo a position is computed from where that tempo began, never added up, as
//! hosts that count samples do.

use crate::host::Transport;

/// A song that plays, stops, seeks and loops.
#[derive(Clone, Debug)]
pub struct Song {
    sample_rate: f64,
    playing: bool,
    tempo: f64,
    metre: (u16, u16),
    /// A bar line from which the others are counted.
    bar_origin: f64,
    loop_range: Option<(f64, f64)>,
    /// Where the present tempo, or the present run, began.
    origin: f64,
    /// Samples since then.
    samples: u64,
}

impl Song {
    /// A song in 4/4 that stands at its start.
    pub fn new(sample_rate: f64, tempo: f64) -> Song {
        Song {
            sample_rate,
            playing: false,
            tempo,
            metre: (4, 4),
            bar_origin: 0.0,
            loop_range: None,
            origin: 0.0,
            samples: 0,
        }
    }

    /// The position in quarters.
    pub fn quarters(&self) -> f64 {
        self.origin + self.samples as f64 / self.samples_per_quarter()
    }

    /// Samples in a quarter at the present tempo.
    pub fn samples_per_quarter(&self) -> f64 {
        self.sample_rate * 60.0 / self.tempo
    }

    /// Whether it runs.
    pub fn is_playing(&self) -> bool {
        self.playing
    }

    /// Samples a second.
    pub fn sample_rate(&self) -> f64 {
        self.sample_rate
    }

    /// The loop's start and end in quarters.
    pub fn loop_range(&self) -> Option<(f64, f64)> {
        self.loop_range
    }

    /// Starts or stops.
    pub fn play(&mut self, playing: bool) {
        self.playing = playing;
    }

    /// Goes to a position.
    pub fn seek(&mut self, quarters: f64) {
        (self.origin, self.samples) = (quarters, 0);
    }

    /// Sets quarters a minute from here on.
    pub fn set_tempo(&mut self, tempo: f64) {
        self.seek(self.quarters());
        self.tempo = tempo;
    }

    /// Sets samples a second from here on.
    pub fn set_sample_rate(&mut self, sample_rate: f64) {
        self.seek(self.quarters());
        self.sample_rate = sample_rate;
    }

    /// Sets the metre from the present bar's line on.
    pub fn set_metre(&mut self, metre: (u16, u16)) {
        self.bar_origin = self.bar_start();
        self.metre = metre;
    }

    /// Sets or clears the loop.
    pub fn set_loop(&mut self, range: Option<(f64, f64)>) {
        self.loop_range = range;
    }

    fn bar_length(&self) -> f64 {
        f64::from(self.metre.0) * 4.0 / f64::from(self.metre.1)
    }

    fn bars_passed(&self) -> f64 {
        // A position that rounding has put a hair before a bar line is on it.
        ((self.quarters() - self.bar_origin) / self.bar_length() + 1e-9).floor()
    }

    fn bar_start(&self) -> f64 {
        self.bar_origin + self.bars_passed() * self.bar_length()
    }

    /// What the host states for a block of `frames` samples; then the song is at its end.
    pub fn advance(&mut self, frames: u32) -> Transport {
        let transport = Transport {
            playing: self.playing,
            quarters: self.quarters(),
            tempo: self.tempo,
            metre: self.metre,
            bar_start: self.bar_start(),
            bar: self.bars_passed() as i32,
            loop_range: self.loop_range,
        };
        if self.playing {
            let before = transport.quarters;
            self.samples += u64::from(frames);
            if let Some((start, end)) = self.loop_range
                && before < end
            {
                while self.quarters() >= end {
                    self.origin -= end - start;
                }
            }
        }
        transport
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_comes_round_with_the_fraction_of_a_sample() {
        let mut song = Song::new(44_100.0, 120.0);
        song.set_loop(Some((1.0, 3.0)));
        song.play(true);
        for _ in 0..1000 {
            song.advance(777);
        }
        let unfolded = 777_000.0 / 22_050.0;
        let folded = 1.0 + (unfolded - 1.0) % 2.0;
        assert!((song.quarters() - folded).abs() < 1e-9);
    }

    #[test]
    fn bar_lines_follow_the_metre() {
        let mut song = Song::new(48_000.0, 120.0);
        song.seek(5.0);
        song.set_metre((7, 8));
        song.seek(8.0);
        let transport = song.advance(1);
        assert_eq!((transport.bar_start, transport.metre), (7.5, (7, 8)));
    }
}
