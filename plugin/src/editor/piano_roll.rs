//! The piano roll: a clip's bars across, its pitches upwards, the drums in a lane of their own
//! below. [`Layout`] says what is where; [`show`] paints it.

use std::ops::Range;

use egui::{
    Align, Align2, Color32, FontId, Painter, Pos2, Rangef, Rect, ScrollArea, Sense, Stroke, StrokeKind, Ui,
    pos2, vec2,
};
use famam_shared::score::Metre;

use super::{kit, palette};
use crate::clip::{Clip, ClipNote, DRUM_CHANNEL};

/// Width of the names of keys and drums.
const MARGIN: f32 = 62.0;
/// Height of the bar numbers.
const RULER: f32 = 20.0;
/// Between the pitches and the drums.
const GAP: f32 = 10.0;
/// The narrowest bar; a longer clip is scrolled.
const MIN_BAR: f32 = 44.0;
/// Heights of a drum's row, at most and at least.
const DRUM_ROW: Range<f32> = 5.0..13.0;
/// The fewest pitches shown: three octaves.
const MIN_PITCHES: u8 = 36;
/// The keys of an octave that are black.
const BLACK_KEYS: [u8; 5] = [1, 3, 6, 8, 10];

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
        let mut kit: Vec<u8> = clip.notes.iter().filter(is_drums).map(|note| note.pitch).collect();
        kit.sort_unstable();
        kit.dedup();
        let pitched = || clip.notes.iter().filter(|note| !is_drums(note)).map(|note| note.pitch);
        let pitches = match (pitched().min(), pitched().max()) {
            (Some(low), Some(high)) => around(low, high),
            _ => 0..0,
        };
        let (ruler, below) = area.split_top_bottom_at_y((area.top() + RULER).min(area.bottom()));
        let row = (below.height() * 0.4 / kit.len().max(1) as f32).clamp(DRUM_ROW.start, DRUM_ROW.end);
        let lane = match (kit.is_empty(), pitches.is_empty()) {
            (true, _) => 0.0,
            (false, true) => (row * kit.len() as f32).min(below.height()),
            (false, false) => (row * kit.len() as f32).min(below.height() - GAP).max(0.0),
        };
        let (upper, drums) = below.split_top_bottom_at_y(below.bottom() - lane);
        let gap = if lane > 0.0 { GAP.min(upper.height()) } else { 0.0 };
        let pitched = upper.with_max_y(upper.bottom() - gap);
        let quarters = clip.length().quarters();
        Self { ruler, pitched, drums, pitches, kit, quarters }
    }

    /// Where a position, in quarters from the clip's start, lies.
    pub fn x(&self, quarters: f64) -> f32 {
        let share = if self.quarters > 0.0 { quarters / self.quarters } else { 0.0 };
        self.ruler.left() + share as f32 * self.ruler.width()
    }

    /// The position, in quarters, at `x`.
    pub fn quarters(&self, x: f32) -> f64 {
        f64::from((x - self.ruler.left()) / self.ruler.width()) * self.quarters
    }

    /// The row of a pitch; `None` where it is not shown.
    pub fn pitch_row(&self, pitch: u8) -> Option<Rangef> {
        let index = self.pitches.contains(&pitch).then(|| pitch - self.pitches.start)?;
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
    fn note(&self, clip: &Clip, note: &ClipNote) -> Option<Rect> {
        let left = self.x(note.start.quarters());
        if is_drums(clip, note) {
            let row = self.drum_row(note.pitch)?;
            return Some(Rect::from_x_y_ranges(left..=left + row.span().clamp(3.0, 7.0), row).shrink2(vec2(0.0, 0.5)));
        }
        let row = self.pitch_row(note.pitch)?;
        let right = self.x((note.start + note.duration).quarters()).min(self.ruler.right());
        // A hair between notes that follow each other, but never nothing.
        Some(Rect::from_x_y_ranges(left..=(right - 1.0).max(left + 1.5), row))
    }

    /// The note at `at`; of several the latest.
    fn note_at<'a>(&self, clip: &'a Clip, at: Pos2) -> Option<&'a ClipNote> {
        self.pitch_at(at.y).or_else(|| self.drum_at(at.y))?;
        let hit = |note: &&ClipNote| {
            self.note(clip, note).is_some_and(|rect| rect.expand2(vec2(1.0, 0.5)).contains(at))
        };
        let last = clip.notes.partition_point(|note| note.start.quarters() <= self.quarters(at.x + 1.0));
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

fn is_drums(clip: &Clip, note: &ClipNote) -> bool {
    clip.parts.get(usize::from(note.part)).is_some_and(|part| part.channel == DRUM_CHANNEL)
}

/// Shows `clip` in all the room that `ui` has; `playhead` is in quarters from the clip's start.
pub fn show(ui: &mut Ui, clip: &Clip, playhead: Option<f64>) {
    let room = ui.available_rect_before_wrap();
    let (margin, body) = room.split_left_right_at_x(room.left() + MARGIN);
    ui.painter().rect_filled(room, 6.0, palette::GROUND);
    let names = ui.painter().with_clip_rect(margin);
    let mut content = ui.new_child(egui::UiBuilder::new().max_rect(body));
    ScrollArea::horizontal().id_salt("piano roll").auto_shrink(false).show_viewport(&mut content, |ui, visible| {
        let width = body.width().max(MIN_BAR * clip.bars as f32);
        // What scrolls sideways needs room for its bar below.
        let scrolls = if width > body.width() { ui.spacing().scroll.allocated_width() + 6.0 } else { 4.0 };
        let (area, response) = ui.allocate_exact_size(vec2(width, body.height() - scrolls), Sense::hover());
        let layout = Layout::new(area.with_max_x(area.right() - 6.0), clip);
        paint_grid(ui, &layout, clip);
        paint_notes(ui, &layout, clip);
        if let Some(quarters) = playhead {
            paint_playhead(ui, &layout, quarters, visible);
        }
        paint_names(&names, margin, &layout);
        let hovered = response.hover_pos().and_then(|at| layout.note_at(clip, at));
        if let Some(note) = hovered {
            response.on_hover_text_at_pointer(words(clip, note));
        }
    });
}

/// What a note is, in words.
fn words(clip: &Clip, note: &ClipNote) -> String {
    let part = clip.parts.get(usize::from(note.part));
    let instrument = part.map_or("", |part| part.instrument.name());
    let pitch = if is_drums(clip, note) { kit::name(note.pitch).to_owned() } else { pitch_name(note.pitch) };
    let bar = note.start.0 / clip.metre.bar().0.max(1) + 1;
    format!("{instrument}\n{pitch}, velocity {}, bar {bar}", note.velocity)
}

/// A pitch's name; 60 is C4.
fn pitch_name(pitch: u8) -> String {
    const NAMES: [&str; 12] =
        ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"];
    format!("{}{}", NAMES[usize::from(pitch % 12)], i32::from(pitch / 12) - 1)
}

fn paint_grid(ui: &Ui, layout: &Layout, clip: &Clip) {
    let painter = ui.painter();
    let (across, music) = (layout.ruler.x_range(), layout.pitched.union(layout.drums).y_range());
    for pitch in layout.pitches.clone() {
        let Some(row) = layout.pitch_row(pitch) else { continue };
        if BLACK_KEYS.contains(&(pitch % 12)) {
            let band = Rect::from_x_y_ranges(across, row);
            painter.rect_filled(band, 0.0, Color32::from_black_alpha(60));
        } else if pitch % 12 == 0 {
            painter.hline(across, row.max, Stroke::new(1.0, palette::LINE.gamma_multiply(0.7)));
        }
    }
    if layout.drums.height() > 0.0 {
        painter.rect_filled(layout.drums, 0.0, palette::PANEL.gamma_multiply(0.6));
    }
    let Metre { numerator, denominator, .. } = clip.metre;
    let bar = clip.metre.bar().quarters();
    let beat = 4.0 / f64::from(denominator.max(1));
    let beat_lines = layout.x(beat) - layout.x(0.0) >= 9.0;
    let font = FontId::proportional(11.0);
    for index in 0..clip.bars {
        let start = f64::from(index) * bar;
        let cell = Rect::from_x_y_ranges(layout.x(start)..=layout.x(start + bar), music);
        if index == clip.done {
            painter.rect_filled(cell, 0.0, palette::ACCENT.gamma_multiply(0.16));
        }
        for beat_in_bar in (1..numerator).filter(|_| beat_lines) {
            let x = layout.x(start + f64::from(beat_in_bar) * beat);
            painter.vline(x, music, Stroke::new(1.0, palette::LINE.gamma_multiply(0.4)));
        }
        painter.vline(cell.left(), layout.ruler.top() + 5.0..=music.max, Stroke::new(1.0, palette::LINE));
        let color = if index < clip.done { palette::QUIET } else { palette::LINE };
        let at = pos2(cell.left() + 5.0, layout.ruler.center().y);
        painter.text(at, Align2::LEFT_CENTER, index + 1, font.clone(), color);
    }
    painter.vline(layout.x(f64::from(clip.bars) * bar), music, Stroke::new(1.0, palette::LINE));
}

fn paint_notes(ui: &Ui, layout: &Layout, clip: &Clip) {
    let painter = ui.painter();
    let colors = palette::of_parts(&clip.parts);
    let grown = clip.done * clip.metre.bar().0;
    let seen = painter.clip_rect().x_range();
    for note in &clip.notes {
        let Some(rect) = layout.note(clip, note).filter(|rect| rect.x_range().intersects(seen)) else { continue };
        let Some(&part) = colors.get(usize::from(note.part)) else { continue };
        let color = palette::of_note(part, note.velocity);
        // What is not made yet sounds as a repetition of what is.
        let color = if note.start.0 < grown { color } else { color.gamma_multiply(0.16) };
        painter.rect_filled(rect, 1.5, color);
        if rect.height() >= 7.0 && rect.width() >= 4.0 {
            let edge = Stroke::new(1.0, Color32::from_black_alpha(70));
            painter.rect_stroke(rect, 1.5, edge, StrokeKind::Inside);
        }
    }
}

/// The playhead; where it leaves what is `visible` of the roll, the roll turns the page.
fn paint_playhead(ui: &Ui, layout: &Layout, quarters: f64, visible: Rect) {
    let x = layout.x(quarters);
    let y = layout.ruler.top()..=layout.drums.bottom().max(layout.pitched.bottom());
    ui.painter().vline(x, y, Stroke::new(1.5, Color32::WHITE));
    let top = pos2(x, layout.ruler.top() + 7.0);
    let flag = vec![top, top + vec2(-4.5, -7.0), top + vec2(4.5, -7.0)];
    ui.painter().add(egui::Shape::convex_polygon(flag, Color32::WHITE, Stroke::NONE));
    let offset = x - layout.ruler.left();
    if !visible.x_range().contains(offset) {
        let page = Rect::from_x_y_ranges(x..=x + visible.width(), layout.ruler.y_range());
        ui.scroll_to_rect_animation(page, Some(Align::Min), egui::style::ScrollAnimation::none());
    }
}

/// The names of octaves and drums, left of the roll.
fn paint_names(painter: &Painter, margin: Rect, layout: &Layout) {
    let right = margin.right() - 8.0;
    let font = |height: f32| FontId::proportional(height.clamp(7.5, 11.0));
    for pitch in layout.pitches.clone().filter(|pitch| pitch % 12 == 0) {
        if let Some(row) = layout.pitch_row(pitch) {
            painter.text(pos2(right, row.center()), Align2::RIGHT_CENTER, pitch_name(pitch), font(11.0), palette::QUIET);
        }
    }
    for &drum in &layout.kit {
        if let Some(row) = layout.drum_row(drum).filter(|row| row.span() >= 8.0) {
            painter.text(pos2(right, row.center()), Align2::RIGHT_CENTER, kit::name(drum), font(row.span()), palette::QUIET);
        }
    }
}

#[cfg(test)]
mod tests {
    use famam_shared::instrument::Instrument;
    use famam_shared::score::{Note, Ticks};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::clip::Origin;

    fn clip(rng: &mut ChaCha8Rng) -> Clip {
        let bars = rng.random_range(1..=64);
        let metre = Metre { numerator: rng.random_range(1..=12), denominator: 4 << rng.random_range(0..2), ..Metre::COMMON };
        let music = (0..rng.random_range(0..=bars)).map(|_| {
            let notes = 0..rng.random_range(0..40);
            notes.map(|_| {
                let instrument = Instrument::new(rng.random_range(0..=128)).unwrap();
                let start = Ticks(rng.random_range(0..metre.bar().0));
                let duration = Ticks(rng.random_range(1..8000));
                (instrument, Note { start, duration, pitch: rng.random_range(0..128), velocity: rng.random_range(1..128) })
            }).collect()
        }).collect::<Vec<_>>();
        Clip::from_bars(1, bars, metre, 500_000, Origin::default(), &music)
    }

    fn area(rng: &mut ChaCha8Rng) -> Rect {
        let at = pos2(rng.random_range(-500.0..500.0), rng.random_range(0.0..500.0));
        Rect::from_min_size(at, vec2(rng.random_range(50.0..4000.0), rng.random_range(200.0..1500.0)))
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
                assert!((back - quarters).abs() < 0.01, "{quarters} came back as {back}");
            }
            for pitch in layout.pitches.clone() {
                let row = layout.pitch_row(pitch).unwrap();
                assert_eq!(layout.pitch_at(row.center()), Some(pitch));
            }
            for &drum in &layout.kit {
                assert_eq!(layout.drum_at(layout.drum_row(drum).unwrap().center()), Some(drum));
            }
        }
    }

    #[test]
    fn every_note_lies_inside_and_where_the_pointer_finds_one() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        for _ in 0..300 {
            let (clip, area) = (clip(&mut rng), area(&mut rng));
            let layout = Layout::new(area, &clip);
            assert!(!layout.pitched.intersects(layout.drums) || layout.pitched.height() == 0.0);
            for note in &clip.notes {
                let rect = layout.note(&clip, note).unwrap();
                assert!(area.expand(8.0).contains_rect(rect), "{rect} is outside {area}");
                let found = layout.note_at(&clip, pos2(rect.left() + 0.5, rect.center().y)).unwrap();
                assert_eq!(found.pitch, note.pitch);
            }
        }
    }

    #[test]
    fn at_least_three_octaves_are_shown() {
        for (low, high) in (0..128).flat_map(|low| (low..128).map(move |high| (low, high))) {
            let shown = around(low, high);
            assert!(shown.contains(&low) && shown.contains(&high) && shown.len() >= 36 && shown.end <= 128);
        }
        assert_eq!((pitch_name(60), pitch_name(0), pitch_name(127)), ("C4".into(), "C-1".into(), "G9".into()));
    }
}
