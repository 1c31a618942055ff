//! The window: controls on the left, the music beside them, the model above, the engine below.
//!
//! It reads a [`View`] and the parameters, and changes nothing but through the host's parameters,
//! [`Commands`] and, in the standalone, its own [`standalone::Controls`]. It is painted when
//! something changes (the host and the worker tell) and, while something moves, [`FRAME`] by
//! [`FRAME`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use egui::{
    Align, Align2, CentralPanel, DragValue, FontId, Frame, Key, Layout, Margin, Panel, RichText,
    ScrollArea, Ui,
};
use nih_plug::context::gui::GuiContext;
use nih_plug::editor::dpi::LogicalSize;
use nih_plug::prelude::ResizeHint;
use nih_plug_egui::baseview::HandlerError;
use nih_plug_egui::{EguiEditor, EguiEditorState, EguiNiceSettings, NiceEguiApp};

use crate::clip::Clip;
use crate::params::FamamParams;
use crate::snapshot::{Activity, Commands, Snapshot, View};
use crate::standalone;

mod controls;
mod icon;
mod kit;
mod legend;
mod models;
mod palette;
mod parameter;
mod piano_roll;
mod size;
mod status;

use icon::Icon;
use models::Models;
pub use models::bundles;
use size::Size;

/// Between two pictures while something moves.
const FRAME: Duration = Duration::from_millis(33);
/// Width of the controls.
const CONTROLS: f32 = 236.0;

/// What a host opens the window with.
pub type Editor = EguiEditor<Window>;

/// The editor of an instance.
pub fn editor(params: Arc<FamamParams>, view: View, commands: Commands) -> Option<Editor> {
    let opened = Size::last();
    let state = opened.state();
    let (width, height) = size::SMALLEST;
    let settings = EguiNiceSettings::new()
        .with_tile("Famam")
        .with_repaint_poll_interval(FRAME)
        .with_resize_hint(
            ResizeHint::resizable().with_min_logical_size(LogicalSize::new(width, height)),
        );
    let notifier = view.repaint.clone();
    let window = Window {
        params,
        view,
        commands,
        opened,
        state: state.clone(),
        models: Models::default(),
    };
    nih_plug_egui::create_egui_editor(state, notifier, settings, window)
}

/// What the window keeps from one picture to the next.
pub struct Window {
    params: Arc<FamamParams>,
    view: View,
    commands: Commands,
    opened: Size,
    state: Arc<EguiEditorState>,
    models: Models,
}

impl Drop for Window {
    fn drop(&mut self) {
        let size = Size::of(&self.state);
        if size != self.opened {
            size.keep();
        }
    }
}

impl NiceEguiApp for Window {
    fn build(
        &mut self,
        context: egui::Context,
        host: GuiContext,
        _frame: &mut nih_plug_egui::Frame,
    ) -> Result<(), HandlerError> {
        palette::apply(&context);
        // The host's context keeps the plugin alive, and the plugin keeps this `Window`: it must go
        // with the picture, which egui's context does.
        context.data_mut(|data| data.insert_temp(egui::Id::NULL, host));
        Ok(())
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut nih_plug_egui::Frame) {
        let Some(host) = ui.data(|data| data.get_temp::<GuiContext>(egui::Id::NULL)) else {
            return;
        };
        let snapshot = self.view.snapshot();
        let playhead = self.view.playhead();
        let frame = |x, y| {
            Frame::new()
                .fill(palette::PANEL)
                .inner_margin(Margin::symmetric(x, y))
        };
        Panel::top("top").frame(frame(14, 8)).show(ui, |ui| {
            ui.horizontal(|ui| self.top(ui, &host, &snapshot, playhead));
        });
        Panel::bottom("status")
            .frame(frame(14, 6))
            .show(ui, |ui| status::show(ui, &snapshot));
        let setter = host.param_setter();
        let controls = &self.params.controls;
        let left = Panel::left("controls")
            .exact_size(CONTROLS)
            .resizable(false);
        left.frame(frame(0, 0)).show(ui, |ui| {
            let safety = Panel::bottom("safety")
                .show_separator_line(false)
                .frame(frame(14, 10));
            safety.show(ui, |ui| {
                controls::safety(ui, controls, &setter, &self.commands)
            });
            ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
                frame(14, 10).show(ui, |ui| {
                    controls::show(ui, controls, &setter, &snapshot, &self.commands);
                });
            });
        });
        CentralPanel::default()
            .frame(frame(12, 10))
            .show(ui, |ui| music(ui, &snapshot, playhead));
        if playhead.is_some() || matches!(snapshot.activity, Activity::Generating { .. }) {
            ui.request_repaint_after(FRAME);
        }
    }
}

impl Window {
    fn top(&mut self, ui: &mut Ui, host: &GuiContext, snapshot: &Snapshot, playhead: Option<f64>) {
        ui.set_min_height(30.0);
        ui.heading(RichText::new("Famam").color(egui::Color32::WHITE));
        ui.add_space(10.0);
        if self.view.standalone.in_use() {
            transport(ui, &self.view.standalone);
            ui.add_space(6.0);
        }
        if let Some(clip) = &snapshot.clip {
            if let Some(quarters) = playhead {
                ui.monospace(place(clip, quarters))
                    .on_hover_text("Bar and beat of the clip.");
                ui.add_space(6.0);
            }
            ui.weak(description(clip))
                .on_hover_text("What the clip was made from.");
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if self.models.show(ui, snapshot, &self.commands) {
                parameter::touch(&host.param_setter(), &self.params.controls.generate);
            }
        });
    }
}

/// Play, Stop and the tempo, where no host has them.
fn transport(ui: &mut Ui, clock: &standalone::Controls) {
    let playing = clock.is_playing();
    let space =
        ui.input(|input| input.key_pressed(Key::Space)) && !ui.ctx().egui_wants_keyboard_input();
    let (icon, text) = if playing {
        (Icon::Stop, "Stop")
    } else {
        (Icon::Play, "Play")
    };
    if icon
        .button(ui, text, 74.0)
        .on_hover_text("Plays the clip from its start. (Space)")
        .clicked()
        || space
    {
        clock.play(!playing);
    }
    let mut tempo = clock.tempo();
    let field = DragValue::new(&mut tempo)
        .range(standalone::Controls::TEMPOS)
        .speed(0.25)
        .max_decimals(1)
        .suffix(" bpm");
    if ui
        .add(field)
        .on_hover_text("Tempo, in quarter notes a minute.")
        .changed()
    {
        clock.set_tempo(tempo);
    }
}

/// The legend and the piano roll, or why there is none.
fn music(ui: &mut Ui, snapshot: &Snapshot, playhead: Option<f64>) {
    match &snapshot.clip {
        Some(clip) if !clip.notes.is_empty() => {
            legend::show(ui, clip);
            ui.add_space(2.0);
            let grows = matches!(snapshot.activity, Activity::Generating { .. });
            piano_roll::show(ui, clip, grows, playhead);
        }
        _ => {
            let room = ui.available_rect_before_wrap();
            ui.painter().rect_filled(room, 6.0, palette::GROUND);
            let text = emptiness(&snapshot.activity);
            let galley = ui.painter().layout(
                text.to_owned(),
                FontId::proportional(15.0),
                palette::QUIET,
                room.width() * 0.7,
            );
            let at = Align2::CENTER_CENTER.anchor_size(room.center(), galley.size());
            ui.painter().galley(at.min, galley, palette::QUIET);
        }
    }
}

/// What an empty roll says.
fn emptiness(activity: &Activity) -> &'static str {
    match activity {
        Activity::Generating { .. } => "The first bar is being written.",
        Activity::Waiting | Activity::Loading => {
            "The model is being loaded. Music follows by itself."
        }
        Activity::Ready { .. } => {
            "No music yet. Choose a genre and instruments, then press Generate."
        }
        Activity::Failed(_) => "No music yet. The line below says what went wrong.",
    }
}

/// What a clip was made from, in words.
fn description(clip: &Clip) -> String {
    let bars = if clip.bars == 1 {
        "1 bar".to_owned()
    } else {
        format!("{} bars", clip.bars)
    };
    let metre = format!("{}/{}", clip.metre.numerator, clip.metre.denominator);
    let genre = if clip.origin.genre == "any" {
        "any genre"
    } else {
        &clip.origin.genre
    };
    format!(
        "{genre}  ·  {bars}  ·  {metre}  ·  seed {}",
        clip.origin.seed
    )
}

/// Bar and beat, counted from 1, of a position in a clip.
fn place(clip: &Clip, quarters: f64) -> String {
    let bar = clip.metre.bar().quarters();
    let beat = 4.0 / f64::from(clip.metre.denominator);
    let (bars, rest) = ((quarters / bar).floor(), quarters.rem_euclid(bar));
    format!("{:>2}.{}", bars + 1.0, (rest / beat).floor() + 1.0)
}

/// The folder `famam` in the system's place for a user's data.
pub(crate) fn user_folder() -> Option<PathBuf> {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    };
    let home = || std::env::home_dir();
    let data = if cfg!(windows) {
        variable("APPDATA")
    } else if cfg!(target_os = "macos") {
        home().map(|home| home.join("Library/Application Support"))
    } else {
        variable("XDG_DATA_HOME").or_else(|| home().map(|home| home.join(".local/share")))
    };
    data.filter(|data| data.is_absolute())
        .map(|data| data.join("famam"))
}

#[cfg(test)]
mod tests {
    use famam_shared::score::Metre;

    use super::*;

    #[test]
    fn a_clip_is_described_and_a_place_in_it_counted_from_one() {
        let metre = Metre {
            numerator: 7,
            denominator: 8,
            ..Metre::COMMON
        };
        let origin = crate::clip::Origin {
            genre: "rock".to_owned(),
            seed: 7,
            ..Default::default()
        };
        let clip = Clip::from_bars(1, 4, metre, 500_000, origin, &[]);
        assert_eq!(description(&clip), "rock  ·  4 bars  ·  7/8  ·  seed 7");
        let places = [0.0, 0.49, 0.5, 3.49, 3.5, 13.9].map(|quarters| place(&clip, quarters));
        assert_eq!(places, [" 1.1", " 1.1", " 1.2", " 1.7", " 2.1", " 4.7"]);
    }
}
