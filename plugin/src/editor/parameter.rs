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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use nih_plug::context::PluginApi;
    use nih_plug::context::gui::GuiContextInner;
    use nih_plug::params::internals::ParamPtr;
    use nih_plug::prelude::PluginState;
    use parking_lot::Mutex;

    use super::*;

    /// What a host was told, which it does when it likes.
    #[derive(Default)]
    struct Host(Mutex<Vec<f32>>);

    impl GuiContextInner for Host {
        fn plugin_api(&self) -> PluginApi {
            PluginApi::Clap
        }
        unsafe fn raw_begin_set_parameter(&self, _: ParamPtr) {}
        unsafe fn raw_set_parameter_normalized(&self, _: ParamPtr, value: f32) {
            self.0.lock().push(value);
        }
        unsafe fn raw_end_set_parameter(&self, _: ParamPtr) {}
        fn get_state(&self) -> PluginState {
            unreachable!()
        }
        fn set_state(&self, _: PluginState) {}
        fn request_restart(&self) {}
    }

    #[test]
    fn a_press_turns_the_trigger_on_once_and_lets_it_go() {
        let pulled = Arc::new(AtomicUsize::new(0));
        let count = pulled.clone();
        let switch = BoolParam::new("Generate", false).with_callback(Arc::new(move |on| {
            count.fetch_add(usize::from(on), Ordering::Relaxed);
        }));
        let (host, context) = (Host::default(), egui::Context::default());
        let picture = |pressed, does| {
            let mut output = context.run_ui(egui::RawInput::default(), |ui| {
                trigger(ui, &ParamSetter::new(&host), &switch, pressed);
            });
            // Nothing is painted.
            output.textures_delta.clear();
            if does {
                for value in host.0.lock().drain(..) {
                    // SAFETY: nothing else uses it.
                    unsafe { switch.as_ptr()._internal_set_normalized_value(value) };
                }
            }
            (pulled.load(Ordering::Relaxed), switch.value())
        };
        // The host takes its time with the first press.
        assert_eq!(picture(true, false), (0, false));
        assert_eq!(picture(false, true), (1, true));
        for _ in 0..3 {
            assert_eq!(picture(false, true), (1, false));
        }
        assert_eq!(picture(true, true), (2, true));
        assert_eq!(picture(false, true), (2, false));
    }
}
