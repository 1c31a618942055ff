//! The piano roll: a clip's bars across, its pitches upwards, the drums in a lane of their own
//! below. [`Layout`] says what is where; [`show`] paints it.

use egui::emath::GuiRounding;
use egui::{
    Align, Align2, Color32, FontId, Mesh, Painter, Rect, ScrollArea, Sense, Stroke, Ui, pos2, vec2,
};
use famam_shared::score::Metre;

use super::{kit, palette};
use crate::clip::{Clip, ClipNote};

mod layout;

use layout::{Layout, is_drums};

/// Width of the names of keys and drums.
const MARGIN: f32 = 70.0;
/// The narrowest bar; a longer clip is scrolled.
const MIN_BAR: f32 = 44.0;
/// The keys of an octave that are black.
const BLACK_KEYS: [u8; 5] = [1, 3, 6, 8, 10];

/// Shows `clip` in all the room that `ui` has; `grows` says that its next bar is
/// being made, `playhead` is in quarters from the clip's start.
pub fn show(ui: &mut Ui, clip: &Clip, grows: bool, playhead: Option<f64>) {
    let room = ui.available_rect_before_wrap();
    let (margin, body) = room.split_left_right_at_x(room.left() + MARGIN);
    ui.painter().rect_filled(room, 6.0, palette::GROUND);
    let names = ui.painter().with_clip_rect(margin);
    let mut content = ui.new_child(egui::UiBuilder::new().max_rect(body));
    ScrollArea::horizontal()
        .id_salt("piano roll")
        .auto_shrink(false)
        .show_viewport(&mut content, |ui, visible| {
            let width = body.width().max(MIN_BAR * clip.bars as f32);
            // What scrolls sideways needs room for its bar below.
            let scrolls = if width > body.width() {
                ui.spacing().scroll.allocated_width() + 6.0
            } else {
                4.0
            };
            let (area, response) =
                ui.allocate_exact_size(vec2(width, body.height() - scrolls), Sense::hover());
            let layout = Layout::new(area.with_max_x(area.right() - 6.0), clip);
            paint_grid(ui, &layout, clip, grows);
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
    let pitch = if is_drums(clip, note) {
        kit::name(note.pitch).to_owned()
    } else {
        pitch_name(note.pitch)
    };
    let bar = note.start.0 / clip.metre.bar().0.max(1) + 1;
    format!(
        "{instrument}\n{pitch}, velocity {}, bar {bar}",
        note.velocity
    )
}

/// A pitch's name; 60 is C4.
fn pitch_name(pitch: u8) -> String {
    const NAMES: [&str; 12] = [
        "C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B",
    ];
    format!(
        "{}{}",
        NAMES[usize::from(pitch % 12)],
        i32::from(pitch / 12) - 1
    )
}

fn paint_grid(ui: &Ui, layout: &Layout, clip: &Clip, grows: bool) {
    let painter = ui.painter();
    let (across, music) = (
        layout.ruler.x_range(),
        layout.pitched.union(layout.drums).y_range(),
    );
    for pitch in layout.pitches.clone() {
        let Some(row) = layout.pitch_row(pitch) else {
            continue;
        };
        if BLACK_KEYS.contains(&(pitch % 12)) {
            let band = Rect::from_x_y_ranges(across, row);
            painter.rect_filled(band, 0.0, Color32::from_black_alpha(60));
        } else if pitch % 12 == 0 {
            painter.hline(
                across,
                row.max,
                Stroke::new(1.0, palette::LINE.gamma_multiply(0.7)),
            );
        }
    }
    if layout.drums.height() > 0.0 {
        painter.rect_filled(layout.drums, 0.0, palette::PANEL.gamma_multiply(0.6));
    }
    let Metre {
        numerator,
        denominator,
        ..
    } = clip.metre;
    let bar = clip.metre.bar().quarters();
    let beat = 4.0 / f64::from(denominator.max(1));
    let beat_lines = layout.x(beat) - layout.x(0.0) >= 9.0;
    let font = FontId::proportional(11.0);
    for index in 0..clip.bars {
        let start = f64::from(index) * bar;
        let cell = Rect::from_x_y_ranges(layout.x(start)..=layout.x(start + bar), music);
        if grows && index == clip.done {
            painter.rect_filled(cell, 0.0, palette::ACCENT.gamma_multiply(0.16));
        }
        for beat_in_bar in (1..numerator).filter(|_| beat_lines) {
            let x = layout.x(start + f64::from(beat_in_bar) * beat);
            painter.vline(
                x,
                music,
                Stroke::new(1.0, palette::LINE.gamma_multiply(0.4)),
            );
        }
        painter.vline(
            cell.left(),
            layout.ruler.top() + 5.0..=music.max,
            Stroke::new(1.0, palette::LINE),
        );
        let color = if index < clip.done {
            palette::QUIET
        } else {
            palette::LINE
        };
        let at = pos2(cell.left() + 5.0, layout.ruler.center().y);
        painter.text(at, Align2::LEFT_CENTER, index + 1, font.clone(), color);
    }
    painter.vline(
        layout.x(f64::from(clip.bars) * bar),
        music,
        Stroke::new(1.0, palette::LINE),
    );
}

fn paint_notes(ui: &Ui, layout: &Layout, clip: &Clip) {
    let painter = ui.painter();
    let colors = palette::of_parts(&clip.parts);
    let grown = clip.done * clip.metre.bar().0;
    let seen = painter.clip_rect().x_range();
    // One mesh: thousands of shapes would take longer than a frame.
    let mut mesh = Mesh::default();
    for note in &clip.notes {
        let rect = layout.note(clip, note);
        let rect = rect.filter(|rect| rect.x_range().intersects(seen));
        let (Some(rect), Some(&part)) = (rect, colors.get(usize::from(note.part))) else {
            continue;
        };
        let rect = rect.round_to_pixels(painter.pixels_per_point());
        let mut color = palette::of_note(part, note.velocity);
        if note.start.0 >= grown {
            // What is not made yet sounds as a repetition of what is.
            color = palette::GROUND.lerp_to_gamma(color, 0.2);
        }
        if rect.height() >= 6.0 && rect.width() >= 4.0 {
            mesh.add_colored_rect(rect, palette::GROUND.lerp_to_gamma(color, 0.6));
            mesh.add_colored_rect(rect.shrink(1.0), color);
        } else {
            mesh.add_colored_rect(rect, color);
        }
    }
    painter.add(mesh);
}

/// The playhead; where it leaves what is `visible` of the roll, the roll turns the page.
fn paint_playhead(ui: &Ui, layout: &Layout, quarters: f64, visible: Rect) {
    let x = layout.x(quarters);
    let y = layout.ruler.top()..=layout.drums.bottom().max(layout.pitched.bottom());
    ui.painter().vline(x, y, Stroke::new(1.5, Color32::WHITE));
    let top = pos2(x, layout.ruler.top() + 7.0);
    let flag = vec![top, top + vec2(-4.5, -7.0), top + vec2(4.5, -7.0)];
    ui.painter().add(egui::Shape::convex_polygon(
        flag,
        Color32::WHITE,
        Stroke::NONE,
    ));
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
            painter.text(
                pos2(right, row.center()),
                Align2::RIGHT_CENTER,
                pitch_name(pitch),
                font(11.0),
                palette::QUIET,
            );
        }
    }
    for &drum in &layout.kit {
        if let Some(row) = layout.drum_row(drum).filter(|row| row.span() >= 8.0) {
            painter.text(
                pos2(right, row.center()),
                Align2::RIGHT_CENTER,
                kit::name(drum),
                font(row.span()),
                palette::QUIET,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::pitch_name;

    #[test]
    fn sixty_is_the_fourth_c() {
        assert_eq!([0, 60, 61, 127].map(pitch_name), ["C-1", "C4", "C#4", "G9"]);
    }
}
