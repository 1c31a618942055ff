//! Widgets that show a parameter and set it through the host, in gestures that it can record and
//! undo.

use egui::{Align, DragValue, Id, Label, Layout, Response, Sense, Slider, Ui};
use nih_plug::prelude::{BoolParam, Param, ParamSetter};

/// Sets `parameter` in one gesture.
pub fn set<P: Param>(setter: &ParamSetter, parameter: &P, value: P::Plain) {
    setter.begin_set_parameter(parameter);
    setter.set_parameter(parameter, value);
    setter.end_set_parameter(parameter);
}

/// Turns a switch over.
pub fn toggle(setter: &ParamSetter, switch: &BoolParam) {
    set(setter, switch, !switch.value());
}

/// Tells the host that the project has changed in a way that no parameter says: `parameter` is set
/// to the value that it has.
pub fn touch<P: Param>(setter: &ParamSetter, parameter: &P) {
    set(setter, parameter, parameter.unmodulated_plain_value());
}

/// Where it was `pressed`, turns a trigger on, and off again in the first picture that finds it on: of
/// two values in one block a host may keep the second alone.
pub fn trigger(ui: &Ui, setter: &ParamSetter, trigger: &BoolParam, pressed: bool) {
    let id = Id::unique(trigger.name());
    let held = ui.data(|data| data.get_temp(id)).unwrap_or(false);
    let on = trigger.value();
    if pressed {
        if on {
            // Automation has left it on.
            set(setter, trigger, false);
        }
        set(setter, trigger, true);
    } else if held && on {
        set(setter, trigger, false);
    }
    ui.data_mut(|data| data.insert_temp(id, pressed || held && !on));
}

/// A name, the value that can be dragged or typed, and a slider below. A double click on the name
/// resets. `effect` says what it does to the music.
pub fn slider<P: Param>(ui: &mut Ui, setter: &ParamSetter, parameter: &P, effect: &str) {
    header(ui, setter, parameter, effect);
    ui.spacing_mut().slider_width = ui.available_width();
    bound(ui, setter, parameter, |ui, normalized| {
        ui.add(
            Slider::new(normalized, 0.0..=1.0)
                .show_value(false)
                .trailing_fill(true),
        )
    })
    .on_hover_text(effect);
    ui.add_space(2.0);
}

/// A name, and the value that can be dragged or typed.
pub fn header<P: Param>(ui: &mut Ui, setter: &ParamSetter, parameter: &P, effect: &str) {
    ui.horizontal(|ui| {
        let name = ui.add(
            Label::new(parameter.name())
                .sense(Sense::click())
                .selectable(false),
        );
        if name
            .on_hover_text(format!("{effect}\n(Double click to reset)"))
            .double_clicked()
        {
            set(setter, parameter, parameter.default_plain_value());
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            field(ui, setter, parameter).on_hover_text(effect);
        });
    });
}

/// The value, to be dragged or typed.
pub fn field<P: Param>(ui: &mut Ui, setter: &ParamSetter, parameter: &P) -> Response {
    // A step in three points, or the whole range in 300.
    let speed = 1.0
        / (3.0
            * parameter
                .step_count()
                .map_or(100.0, |steps| steps.min(200) as f64));
    bound(ui, setter, parameter, |ui, normalized| {
        ui.add(
            DragValue::new(normalized)
                .range(0.0..=1.0)
                .speed(speed)
                .custom_formatter(|value, _| {
                    parameter.normalized_value_to_string(value as f32, true)
                })
                .custom_parser(|text| parameter.string_to_normalized_value(text).map(f64::from))
                .update_while_editing(false),
        )
    })
}

/// Shows a widget of the normalized value, and tells the host what the user does with it.
fn bound<P: Param>(
    ui: &mut Ui,
    setter: &ParamSetter,
    parameter: &P,
    widget: impl FnOnce(&mut Ui, &mut f64) -> Response,
) -> Response {
    let mut normalized = f64::from(parameter.unmodulated_normalized_value());
    let response = widget(ui, &mut normalized);
    // The value snaps to what the parameter can be.
    let value = parameter.preview_plain(normalized as f32);
    let held = response.dragged() || response.drag_stopped();
    if response.drag_started() {
        setter.begin_set_parameter(parameter);
    }
    if response.changed() && value != parameter.unmodulated_plain_value() {
        match held {
            true => setter.set_parameter(parameter, value),
            false => set(setter, parameter, value),
        }
    }
    if response.drag_stopped() {
        setter.end_set_parameter(parameter);
    }
    response
}
