//! The menu of models: the one that is built in, the bundles in the user's folder, and any other by
//! its path or a file dialog.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use egui::containers::menu::{MenuButton, MenuConfig};
use egui::{Align, Atom, IdSalt, Layout, PopupCloseBehavior, RichText, TextEdit, Ui, vec2};

use super::icon::{self, Icon};
use super::palette;
use crate::snapshot::{Commands, Snapshot};

/// The system's file dialog while it is open. It runs beside the window and never holds it up.
type Dialog = Pin<Box<dyn Future<Output = Option<rfd::FileHandle>> + Send>>;

/// See the module.
#[derive(Default)]
pub struct Models {
    /// The bundles in the user's folder, as they were when the menu was opened; `None` while it is
    /// closed.
    found: Option<Vec<PathBuf>>,
    /// What was typed.
    path: String,
    dialog: Option<Dialog>,
}

impl Models {
    /// Shows the button with the model's name, and its menu. Whether a model was chosen.
    pub fn show(&mut self, ui: &mut Ui, snapshot: &Snapshot, commands: &Commands) -> bool {
        let mut chosen = self.follow_dialog(ui, commands);
        let name = if snapshot.model.is_empty() {
            "Model"
        } else {
            &snapshot.model
        };
        // A click into the field for the path must not close the menu.
        let config = MenuConfig::new().close_behavior(PopupCloseBehavior::CloseOnClickOutside);
        let (button, menu) = MenuButton::new((
            name,
            Atom::custom(IdSalt::new("open"), vec2(icon::SIZE, icon::SIZE)),
        ))
        .config(config)
        .ui(ui, |ui| {
            ui.set_width(340.0);
            chosen |= self.menu(ui, commands);
        });
        let place = button
            .rect
            .with_min_x(button.rect.right() - icon::SIZE - 16.0);
        Icon::Open.paint(ui.painter(), place, palette::TEXT);
        if menu.is_none() {
            self.found = None;
            button.on_hover_text("The model that writes. Click to load another.");
        }
        chosen
    }

    /// Whether a model was chosen.
    fn menu(&mut self, ui: &mut Ui, commands: &Commands) -> bool {
        let mut chosen = false;
        let found = self.found.get_or_insert_with(bundles);
        if ui.button("Built-in model").clicked() {
            commands.load_default_bundle();
            chosen = true;
            ui.close();
        }
        for path in found.iter() {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            if ui
                .button(name)
                .on_hover_text(path.display().to_string())
                .clicked()
            {
                commands.load_bundle(path.clone());
                chosen = true;
                ui.close();
            }
        }
        if let Some(folder) = folder().filter(|_| found.is_empty()) {
            let hint = format!("Bundles (.onnx) in {} appear here.", folder.display());
            ui.with_layout(Layout::top_down(Align::Min), |ui| {
                ui.label(RichText::new(hint).weak().small());
            });
        }
        ui.separator();
        ui.horizontal(|ui| {
            let field = TextEdit::singleline(&mut self.path).hint_text("Path of a bundle (.onnx)");
            let field = ui.add(field.desired_width(ui.available_width() - 64.0));
            let entered =
                field.lost_focus() && ui.input(|input| input.key_pressed(egui::Key::Enter));
            if (ui.button("Load").clicked() || entered) && !self.path.trim().is_empty() {
                commands.load_bundle(typed(&self.path));
                chosen = true;
                ui.close();
            }
        });
        let choose = ui.button("Choose a file …");
        let choose = choose.on_hover_text("Opens the system's file dialog, if it has one.");
        if choose.clicked() {
            let mut dialog = rfd::AsyncFileDialog::new()
                .set_title("Load a model")
                .add_filter("Famam bundle", &["onnx"]);
            if let Some(folder) = folder().filter(|folder| folder.is_dir()) {
                dialog = dialog.set_directory(folder);
            }
            self.dialog = Some(Box::pin(dialog.pick_file()));
            ui.close();
        }
        chosen
    }

    /// Whether a model was chosen.
    fn follow_dialog(&mut self, ui: &Ui, commands: &Commands) -> bool {
        let Some(dialog) = &mut self.dialog else {
            return false;
        };
        match dialog
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Pending => {
                ui.request_repaint_after(Duration::from_millis(200));
                false
            }
            Poll::Ready(file) => {
                self.dialog = None;
                if let Some(file) = &file {
                    commands.load_bundle(file.path().to_owned());
                }
                file.is_some()
            }
        }
    }
}

/// What was typed as a path: without quotes and spaces around it, `~` for the home folder.
fn typed(text: &str) -> PathBuf {
    let text = text.trim().trim_matches(['"', '\'']);
    match (text.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(text),
    }
}

/// The folder for the user's bundles: `famam/models` in the system's place for a user's data
/// (`$XDG_DATA_HOME` or `~/.local/share`, `%APPDATA%`, `~/Library/Application Support`).
fn folder() -> Option<PathBuf> {
    super::user_folder().map(|folder| folder.join("models"))
}

/// The bundles in the user's folder, by name.
pub fn bundles() -> Vec<PathBuf> {
    let entries = folder().and_then(|folder| folder.read_dir().ok());
    let files = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<_> = files
        .filter(|path| path.extension().and_then(OsStr::to_str) == Some("onnx"))
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_can_be_pasted_as_shells_and_file_managers_write_them() {
        assert_eq!(typed(" \"/a b/c.onnx\" "), PathBuf::from("/a b/c.onnx"));
        let home = std::env::home_dir().unwrap();
        assert_eq!(typed("~/x.onnx"), home.join("x.onnx"));
    }
}
