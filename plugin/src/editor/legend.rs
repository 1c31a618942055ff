//! The instruments of a clip in their colours.

use egui::{Color32, FontId, Rect, RichText, Sense, Ui, vec2};

use super::palette;
use crate::clip::{Clip, Part};

/// Width of the mark before a name, and the room after it.
const MARK: f32 = 15.0;

/// Shows them, in as many lines as they take.
pub fn show(ui: &mut Ui, clip: &Clip) {
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(14.0, 4.0);
        for (i, (part, color)) in (0..).zip(clip.parts.iter().zip(palette::of_parts(&clip.parts))) {
            let notes = || clip.notes.iter().filter(|note| note.part == i).count();
            let entry = entry(ui, part, color);
            entry.on_hover_ui(|ui| {
                ui.label(format!("Channel {}, {} notes", part.channel + 1, notes()));
            });
        }
        if clip.merged_parts() > 0 {
            let text = format!("{} parts share channel 16", clip.merged_parts() + 1);
            ui.label(RichText::new(text).small().color(palette::WARNING))
                .on_hover_text("MIDI has 15 channels besides the drums'.");
        }
    });
}

/// One piece, so that no line breaks inside it.
fn entry(ui: &mut Ui, part: &Part, color: Color32) -> egui::Response {
    let (name, font) = (
        part.instrument.name().to_owned(),
        FontId::proportional(12.0),
    );
    let name = ui.painter().layout_no_wrap(name, font, palette::TEXT);
    let size = vec2(MARK + name.size().x, name.size().y.max(16.0));
    let (area, response) = ui.allocate_exact_size(size, Sense::hover());
    let mark = Rect::from_center_size(area.left_center() + vec2(5.0, 0.0), vec2(10.0, 10.0));
    ui.painter().rect_filled(mark, 3.0, color);
    let at = area.left_center() + vec2(MARK, -name.size().y / 2.0);
    ui.painter().galley(at, name, palette::TEXT);
    response
}
