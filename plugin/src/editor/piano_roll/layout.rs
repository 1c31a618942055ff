//! Where a clip's notes lie in the piano roll, and what lies where the pointer is.

use std::ops::Range;

use egui::{Pos2, Rangef, Rect, vec2};

use crate::clip::{Clip, ClipNote, DRUM_CHANNEL};

/// Height of the bar numbers.
const RULER: f32 = 20.0;
/// Between the pitches and the drums.
const GAP: f32 = 10.0;
/// The highest row of a drum.
const DRUM_ROW: f32 = 13.0;
/// The share of the height that the drums may take from the pitches.
const DRUM_SHARE: f32 = 0.4;
/// The fewest pitches shown: three octaves.
const MIN_PITCHES: u8 = 36;

/// Where a clip's notes lie in a rectangle.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The bar numbers.
    pub ruler: Rect,
    /// The pitched parts; without height where there are none.
    pub pitched: Rect,
    /// The drums; without height where there are none.
    pub drums: Rect,
    /// The pitches shown, the last excluded.
    pub pitches: Range<u8>,
    /// The drums that play, upwards.
    pub kit: Vec<u8>,
    /// The clip's length.
    quarters: f64,
}

impl Layout {
    /// Lays `clip` out in `area`.
    pub fn new(area: Rect, clip: &Clip) -> Self {
        let is_drums = |note: &&ClipNote| is_drums(clip, note);
        let mut kit: Vec<u8> = clip
            .notes
            .iter()
            .filter(is_drums)
            .map(|note| note.pitch)
            .collect();
        kit.sort_unstable();
        kit.dedup();
        let pitched = || {
            clip.notes
                .iter()
                .filter(|note| !is_drums(note))
                .map(|note| note.pitch)
        };
        let pitches = match (pitched().min(), pitched().max()) {
            (Some(low), Some(high)) => around(low, high),
            _ => 0..0,
        };
        let (ruler, below) = area.split_top_bottom_at_y((area.top() + RULER).min(area.bottom()));
        let row = (below.height() * DRUM_SHARE / kit.len().max(1) as f32).min(DRUM_ROW);
        let lane = row * kit.len() as f32;
        let (upper, drums) = below.split_top_bottom_at_y(below.bottom() - lane);
        let gap = if lane > 0.0 {
            GAP.min(upper.height())
        } else {
            0.0
        };
        let pitched = upper.with_max_y(upper.bottom() - gap);
        let quarters = clip.length().quarters();
        Self {
            ruler,
            pitched,
            drums,
            pitches,
            kit,
            quarters,
        }
    }

    /// Where a position, in quarters from the clip's start, lies.
    pub fn x(&self, quarters: f64) -> f32 {
        let share = if self.quarters > 0.0 {
            quarters / self.quarters
        } else {
            0.0
        };
        self.ruler.left() + share as f32 * self.ruler.width()
    }

    /// The position, in quarters, at `x`.
    pub fn quarters(&self, x: f32) -> f64 {
        f64::from((x - self.ruler.left()) / self.ruler.width()) * self.quarters
    }

    /// The row of a pitch; `None` where it is not shown.
    pub fn pitch_row(&self, pitch: u8) -> Option<Rangef> {
        let index = self
            .pitches
            .contains(&pitch)
            .then(|| pitch - self.pitches.start)?;
        Some(row(self.pitched, usize::from(index), self.pitches.len()))
    }

    /// The pitch whose row is at `y`.
    pub fn pitch_at(&self, y: f32) -> Option<u8> {
        let index = row_at(self.pitched, y, self.pitches.len())?;
        Some(self.pitches.start + index as u8)
    }

    /// The row of a drum; `None` where it does not play.
    pub fn drum_row(&self, pitch: u8) -> Option<Rangef> {
        let index = self.kit.binary_search(&pitch).ok()?;
        Some(row(self.drums, index, self.kit.len()))
    }

    /// The drum whose row is at `y`.
    pub fn drum_at(&self, y: f32) -> Option<u8> {
        row_at(self.drums, y, self.kit.len()).and_then(|index| self.kit.get(index).copied())
    }

    /// Where a note lies. A drum's stroke is as long as it is high: it has no duration.
    pub fn note(&self, clip: &Clip, note: &ClipNote) -> Option<Rect> {
        let left = self.x(note.start.quarters());
        if is_drums(clip, note) {
            let row = self.drum_row(note.pitch)?;
            return Some(
                Rect::from_x_y_ranges(left..=left + row.span().clamp(3.0, 7.0), row)
                    .shrink2(vec2(0.0, 0.5)),
            );
        }
        let row = self.pitch_row(note.pitch)?;
        let right = self
            .x((note.start + note.duration).quarters())
            .min(self.ruler.right());
        // A hair between notes that follow each other, but never nothing.
        Some(Rect::from_x_y_ranges(
            left..=(right - 1.0).max(left + 1.5),
            row,
        ))
    }

    /// The note at `at`; of several the latest.
    pub fn note_at<'a>(&self, clip: &'a Clip, at: Pos2) -> Option<&'a ClipNote> {
        self.pitch_at(at.y).or_else(|| self.drum_at(at.y))?;
        let hit = |note: &&ClipNote| {
            self.note(clip, note)
                .is_some_and(|rect| rect.expand2(vec2(1.0, 0.5)).contains(at))
        };
        let last = clip
            .notes
            .partition_point(|note| note.start.quarters() <= self.quarters(at.x + 1.0));
        clip.notes[..last].iter().rev().find(hit)
    }
}

/// The pitches from `low` to `high` with some air, [`MIN_PITCHES`] at least.
fn around(low: u8, high: u8) -> Range<u8> {
    let missing = MIN_PITCHES.saturating_sub(high - low + 1).max(4);
    let low = low.saturating_sub(missing / 2).min(128 - MIN_PITCHES);
    low..(high + 1 + missing.div_ceil(2)).clamp(low + MIN_PITCHES, 128)
}

/// The row `index`, from below, of `count` in `area`.
fn row(area: Rect, index: usize, count: usize) -> Rangef {
    let height = area.height() / count as f32;
    let bottom = area.bottom() - height * index as f32;
    Rangef::new(bottom - height, bottom)
}

/// The row at `y`, from below, of `count` in `area`.
fn row_at(area: Rect, y: f32, count: usize) -> Option<usize> {
    let inside = area.y_range().contains(y) && area.height() > 0.0 && count > 0;
    let index = ((area.bottom() - y) / area.height() * count as f32) as usize;
    inside.then(|| index.min(count - 1))
}

/// Whether the drum kit plays `note`.
pub fn is_drums(clip: &Clip, note: &ClipNote) -> bool {
    clip.parts
        .get(usize::from(note.part))
        .is_some_and(|part| part.channel == DRUM_CHANNEL)
}

#[cfg(test)]
mod tests {
    use egui::pos2;
    use famam_shared::instrument::Instrument;
    use famam_shared::score::{Metre, Note, Ticks};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::clip::Origin;

    fn clip(rng: &mut ChaCha8Rng) -> Clip {
        let bars = rng.random_range(1..=64);
        let metre = Metre {
            numerator: rng.random_range(1..=12),
            denominator: 4 << rng.random_range(0..2),
            ..Metre::COMMON
        };
        let music = (0..rng.random_range(0..=bars))
            .map(|_| {
                let notes = 0..rng.random_range(0..40);
                notes
                    .map(|_| {
                        let instrument = Instrument::new(rng.random_range(0..=128)).unwrap();
                        let start = Ticks(rng.random_range(0..metre.bar().0));
                        let duration = Ticks(rng.random_range(1..8000));
                        (
                            instrument,
                            Note {
                                start,
                                duration,
                                pitch: rng.random_range(0..128),
                                velocity: rng.random_range(1..128),
                            },
                        )
                    })
                    .collect()
            })
            .collect::<Vec<_>>();
        Clip::from_bars(1, bars, metre, 500_000, Origin::default(), &music)
    }

    fn area(rng: &mut ChaCha8Rng) -> Rect {
        let at = pos2(
            rng.random_range(-500.0..500.0),
            rng.random_range(0.0..500.0),
        );
        Rect::from_min_size(
            at,
            vec2(
                rng.random_range(50.0..4000.0),
                rng.random_range(200.0..1500.0),
            ),
        )
    }

    #[test]
    fn positions_and_pitches_map_there_and_back() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for _ in 0..300 {
            let clip = clip(&mut rng);
            let layout = Layout::new(area(&mut rng), &clip);
            for _ in 0..50 {
                let quarters = rng.random_range(0.0..clip.length().quarters());
                let back = layout.quarters(layout.x(quarters));
                assert!(
                    (back - quarters).abs() < 0.01,
                    "{quarters} came back as {back}"
                );
            }
            for pitch in layout.pitches.clone() {
                let row = layout.pitch_row(pitch).unwrap();
                assert_eq!(layout.pitch_at(row.center()), Some(pitch));
            }
            for &drum in &layout.kit {
                assert_eq!(
                    layout.drum_at(layout.drum_row(drum).unwrap().center()),
                    Some(drum)
                );
            }
        }
    }

    #[test]
    fn every_note_lies_inside_and_where_the_pointer_finds_one() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        for _ in 0..300 {
            let (clip, area) = (clip(&mut rng), area(&mut rng));
            let layout = Layout::new(area, &clip);
            assert!(layout.pitched.bottom() <= layout.drums.top());
            for note in &clip.notes {
                let rect = layout.note(&clip, note).unwrap();
                assert!(
                    area.expand(8.0).contains_rect(rect),
                    "{rect} is outside {area}"
                );
                let found = layout
                    .note_at(&clip, pos2(rect.left() + 0.5, rect.center().y))
                    .unwrap();
                assert_eq!(found.pitch, note.pitch);
            }
        }
    }

    #[test]
    fn at_least_three_octaves_are_shown() {
        for (low, high) in (0..128).flat_map(|low| (low..128).map(move |high| (low, high))) {
            let shown = around(low, high);
            assert!(
                shown.contains(&low)
                    && shown.contains(&high)
                    && shown.len() >= 36
                    && shown.end <= 128
            );
        }
    }
}
