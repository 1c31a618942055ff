//! The controls, left of the music: what to play, how freely, and where it goes.

use std::hash::{BuildHasher, RandomState};

use egui::{
    Align2, Button, Color32, ComboBox, CornerRadius, FontId, Grid, Rect, RichText, Sense, Stroke,
    StrokeKind, Ui, vec2,
};
use famam_shared::instrument::Group;
use nih_plug::prelude::{BoolParam, ParamSetter};

use super::icon::Icon;
use super::{palette, parameter};
use crate::params::{Controls, MAX_SEED, OutputMode};
use crate::snapshot::{Activity, Commands, Snapshot};

/// Lengths, in bars, that take one click.
const LENGTHS: [i32; 6] = [1, 2, 4, 8, 16, 32];

/// Shows all of them.
pub fn show(
    ui: &mut Ui,
    controls: &Controls,
    setter: &ParamSetter,
    snapshot: &Snapshot,
    commands: &Commands,
) {
    genre(ui, controls, setter, snapshot);
    generate(ui, controls, setter, &snapshot.activity, commands);
    ui.add_space(6.0);
    parameter::slider(
        ui,
        setter,
        &controls.temperature,
        "How freely it plays: low repeats what is likely, high surprises, above 1.2 it gets wild.",
    );
    length(ui, controls, setter);
    seed(ui, controls, setter, snapshot);
    ui.add_space(4.0);
    instruments(ui, controls, setter);
    ui.add_space(4.0);
    ui.collapsing("Sampling", |ui| sampling(ui, controls, setter));
    ui.collapsing("Output", |ui| output(ui, controls, setter, snapshot));
}

/// What must always be at hand: an end to all that sounds, and silence.
pub fn safety(ui: &mut Ui, controls: &Controls, setter: &ParamSetter, commands: &Commands) {
    ui.columns(2, |columns| {
        let [left, right] = columns else { return };
        if wide(left, Button::new("Panic"))
            .on_hover_text("Ends every note that sounds.")
            .clicked()
        {
            commands.panic();
        }
        let bypass = &controls.bypass;
        let button = Button::selectable(bypass.value(), "Bypass").frame_when_inactive(true);
        if wide(right, button)
            .on_hover_text("Sends nothing while it is on.")
            .clicked()
        {
            parameter::toggle(setter, bypass);
        }
    });
}

fn wide(ui: &mut Ui, button: Button) -> egui::Response {
    ui.add_sized(
        vec2(ui.available_width(), ui.spacing().interact_size.y),
        button,
    )
}

fn genre(ui: &mut Ui, controls: &Controls, setter: &ParamSetter, snapshot: &Snapshot) {
    ui.label("Genre");
    let current = controls.genre.value();
    ComboBox::from_id_salt("genre")
        .width(ui.available_width())
        .height(420.0)
        .selected_text(RichText::new(controls.genre.to_string()).size(15.0))
        .show_ui(ui, |ui| {
            if snapshot.genres.is_empty() {
                ui.weak("The model is not loaded yet.");
            }
            for (index, name) in (0..).zip(snapshot.genres.iter()) {
                if ui.selectable_label(index == current, name).clicked() && index != current {
                    parameter::set(setter, &controls.genre, index);
                }
            }
        })
        .response
        .on_hover_text("The style that new bars are in; \"any\" leaves it to the model.");
    ui.add_space(2.0);
}

/// Generate; while bars are made it fills with them, and cancels.
fn generate(
    ui: &mut Ui,
    controls: &Controls,
    setter: &ParamSetter,
    activity: &Activity,
    commands: &Commands,
) {
    let (text, share, tip) = match activity {
        Activity::Generating { done, bars, .. } => {
            let share = *done as f32 / (*bars).max(1) as f32;
            (
                "Cancel",
                share,
                "Stops writing. The bars that are done stay and repeat.",
            )
        }
        _ => (
            "Generate",
            1.0,
            "Writes a new clip; it replaces the one that plays at the next bar line.",
        ),
    };
    let size = vec2(ui.available_width(), 38.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, text));
    let round = CornerRadius::same(6);
    ui.painter()
        .rect_filled(rect, round, palette::ACCENT.gamma_multiply(0.35));
    let filled = rect.with_max_x(rect.left() + rect.width() * share);
    ui.painter()
        .with_clip_rect(filled)
        .rect_filled(rect, round, palette::ACCENT);
    if response.hovered() || response.has_focus() {
        let edge = Stroke::new(1.0, Color32::from_white_alpha(150));
        ui.painter()
            .rect_stroke(rect, round, edge, StrokeKind::Inside);
    }
    let font = FontId::proportional(16.0);
    ui.painter().text(
        rect.center(),
        Align2::CENTER_CENTER,
        text,
        font,
        Color32::WHITE,
    );
    let clicked = response.on_hover_text(tip).clicked();
    let cancels = matches!(activity, Activity::Generating { .. });
    if clicked && cancels {
        commands.cancel();
        // The bars that are done are the song's clip from now on.
        parameter::touch(setter, &controls.generate);
    }
    parameter::trigger(ui, setter, &controls.generate, clicked && !cancels);
}

fn length(ui: &mut Ui, controls: &Controls, setter: &ParamSetter) {
    let bars = &controls.bars;
    parameter::header(
        ui,
        setter,
        bars,
        "How long a clip is before it repeats, in bars.",
    );
    ui.columns(LENGTHS.len(), |columns| {
        columns
            .iter_mut()
            .for_each(|ui| ui.spacing_mut().button_padding.x = 2.0);
        for (ui, length) in columns.iter_mut().zip(LENGTHS) {
            let button = Button::selectable(bars.value() == length, length.to_string());
            if wide(ui, button.frame_when_inactive(true)).clicked() {
                parameter::set(setter, bars, length);
            }
        }
    });
    ui.add_space(2.0);
}

/// The seed: another one for each clip, or one that is kept and gives the same clip again.
fn seed(ui: &mut Ui, controls: &Controls, setter: &ParamSetter, snapshot: &Snapshot) {
    let seed = &controls.seed;
    ui.horizontal(|ui| {
        ui.label("Seed")
            .on_hover_text("The same seed and settings give the same clip again.");
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if Icon::Die
                .button(ui, "", 0.0)
                .on_hover_text("Rolls another seed and keeps it.")
                .clicked()
            {
                let rolled = RandomState::new().hash_one(()) % u64::from(MAX_SEED) + 1;
                parameter::set(setter, seed, rolled as i32);
            }
            if seed.value() != 0 {
                parameter::field(ui, setter, seed);
            }
            let mut keep = seed.value() != 0;
            let tip = "Off: every clip is another one. On: this clip's seed is kept.";
            if ui.checkbox(&mut keep, "keep").on_hover_text(tip).changed() {
                let shown = snapshot.clip.as_ref().map_or(1, |clip| clip.origin.seed);
                let kept = shown.clamp(1, u64::from(MAX_SEED)) as i32;
                parameter::set(setter, seed, if keep { kept } else { 0 });
            }
        });
    });
}

/// The switches of the groups, in their colours.
fn instruments(ui: &mut Ui, controls: &Controls, setter: &ParamSetter) {
    ui.label("Instruments")
        .on_hover_text("Who plays. With none chosen the model decides.");
    let switches = [
        &controls.drums,
        &controls.bass,
        &controls.guitar,
        &controls.keys,
        &controls.strings,
        &controls.lead,
    ];
    let width = (ui.available_width() - 6.0) / 2.0;
    Grid::new("instruments")
        .num_columns(2)
        .spacing(vec2(6.0, 6.0))
        .show(ui, |ui| {
            for (i, (group, switch)) in Group::ALL.into_iter().zip(switches).enumerate() {
                group_switch(ui, setter, group, switch, width);
                if i % 2 == 1 {
                    ui.end_row();
                }
            }
        });
}

fn group_switch(ui: &mut Ui, setter: &ParamSetter, group: Group, switch: &BoolParam, width: f32) {
    use nih_plug::prelude::Param;
    let on = switch.value();
    let color = palette::of_group(group);
    let (rect, response) = ui.allocate_exact_size(vec2(width, 28.0), Sense::click());
    response
        .widget_info(|| egui::WidgetInfo::selected(egui::Role::CheckBox, true, on, switch.name()));
    let fill = if on {
        palette::PANEL.lerp_to_gamma(color, 0.22)
    } else {
        palette::RAISED.gamma_multiply(0.5)
    };
    let lit = response.hovered() || response.has_focus();
    let edge = if on { color } else { palette::LINE };
    let edge = if lit {
        edge.lerp_to_gamma(Color32::WHITE, 0.4)
    } else {
        edge
    };
    ui.painter()
        .rect(rect, 5.0, fill, Stroke::new(1.0, edge), StrokeKind::Inside);
    // A full or an empty mark says it without colour, too.
    let mark = Rect::from_center_size(rect.left_center() + vec2(14.0, 0.0), vec2(9.0, 9.0));
    if on {
        ui.painter().rect_filled(mark, 2.0, color);
    } else {
        ui.painter().rect_stroke(
            mark,
            2.0,
            Stroke::new(1.0, color.gamma_multiply(0.7)),
            StrokeKind::Inside,
        );
    }
    let at = mark.right_center() + vec2(7.0, 0.0);
    let text = if on { palette::TEXT } else { palette::QUIET };
    let name = match group {
        Group::StringsAndPads => "Strings, pads",
        _ => switch.name(),
    };
    ui.painter().with_clip_rect(rect).text(
        at,
        Align2::LEFT_CENTER,
        name,
        FontId::proportional(12.5),
        text,
    );
    if response
        .on_hover_text(format!(
            "New clips are written with {} or without.",
            group.name()
        ))
        .clicked()
    {
        parameter::toggle(setter, switch);
    }
}

fn sampling(ui: &mut Ui, controls: &Controls, setter: &ParamSetter) {
    parameter::slider(
        ui,
        setter,
        &controls.top_k,
        "Only the k likeliest choices count at each step; a few make it plain. 0 is off.",
    );
    parameter::slider(
        ui,
        setter,
        &controls.top_p,
        "Only the likeliest choices that make up this share count: lower is safer. 1 is off.",
    );
}

fn output(ui: &mut Ui, controls: &Controls, setter: &ParamSetter, snapshot: &Snapshot) {
    let mode = controls.output.value();
    for (choice, name, tip) in [
        (
            OutputMode::AllParts,
            "All parts by channel",
            "Every part on its own MIDI channel, drums on 10.",
        ),
        (
            OutputMode::OnePart,
            "One part only",
            "One part on channel 1: for a track with one instrument behind it.",
        ),
    ] {
        if ui.radio(mode == choice, name).on_hover_text(tip).clicked() && mode != choice {
            parameter::set(setter, &controls.output, choice);
        }
    }
    if mode == OutputMode::OnePart {
        let part = &controls.part;
        let parts = snapshot.clip.as_ref().map_or(&[][..], |clip| &clip.parts);
        let named = |channel: i32| {
            let part = parts
                .iter()
                .find(|part| i32::from(part.channel) + 1 == channel);
            format!(
                "{channel}  {}",
                part.map_or("nothing in this clip", |part| part.instrument.name())
            )
        };
        ComboBox::from_id_salt("part")
            .width(ui.available_width())
            .selected_text(named(part.value()))
            .show_ui(ui, |ui| {
                for choice in parts.iter().map(|part| i32::from(part.channel) + 1) {
                    if ui
                        .selectable_label(part.value() == choice, named(choice))
                        .clicked()
                    {
                        parameter::set(setter, part, choice);
                    }
                }
            })
            .response
            .on_hover_text("The part that goes out, by its channel.");
    }
    let programs = &controls.program_changes;
    let mut on = programs.value();
    let tip =
        "Sends each part's General MIDI sound before it plays. Off where you choose the sounds.";
    if ui
        .checkbox(&mut on, "Send program changes")
        .on_hover_text(tip)
        .changed()
    {
        parameter::set(setter, programs, on);
    }
}
