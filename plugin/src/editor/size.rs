//! The window's size, kept for the user from one window to the next.

use nih_plug::editor::dpi::LogicalSize;
use nih_plug_egui::EguiEditorState;
use serde::{Deserialize, Serialize};

/// The smallest window, in points, that shows everything.
pub const SMALLEST: (f32, f32) = (780.0, 560.0);
/// The scales that the window can have.
const ZOOMS: std::ops::RangeInclusive<f32> = 0.75..=3.0;

/// A size in points, and how many of the system's points make one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Size {
    width: f32,
    height: f32,
    zoom: f32,
}

impl Default for Size {
    fn default() -> Self {
        Self {
            width: 1080.0,
            height: 660.0,
            zoom: 1.0,
        }
    }
}

impl Size {
    /// The size that the last window had.
    pub fn last() -> Self {
        let text = file().and_then(|file| std::fs::read_to_string(file).ok());
        text.and_then(|text| serde_json::from_str::<Self>(&text).ok())
            .unwrap_or_default()
            .sane()
    }

    /// What a window is opened with.
    pub fn state(self) -> std::sync::Arc<EguiEditorState> {
        EguiEditorState::from_size(LogicalSize::new(self.width, self.height), self.zoom)
    }

    /// The size that a window has.
    pub fn of(state: &EguiEditorState) -> Self {
        let LogicalSize { width, height } = state.logical_size();
        Self {
            width,
            height,
            zoom: state.user_scale_factor(),
        }
        .sane()
    }

    /// Keeps it for the next window. If that fails, the next window has the size of the last.
    pub fn keep(self) {
        if let (Some(file), Ok(text)) = (file(), serde_json::to_string(&self)) {
            let _ = file.parent().map(std::fs::create_dir_all);
            let _ = famam_shared::write_file::write(file, text.as_bytes());
        }
    }

    /// Within what a screen may hold, whatever was read.
    fn sane(self) -> Self {
        let default = Self::default();
        let within = |value: f32, least: f32, default: f32| {
            if value.is_finite() {
                value.clamp(least, 8000.0)
            } else {
                default
            }
        };
        Self {
            width: within(self.width, SMALLEST.0, default.width),
            height: within(self.height, SMALLEST.1, default.height),
            zoom: within(self.zoom, *ZOOMS.start(), 1.0).min(*ZOOMS.end()),
        }
    }
}

fn file() -> Option<std::path::PathBuf> {
    super::user_folder().map(|folder| folder.join("window.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_was_read_is_a_window() {
        for text in [
            r#"{"width":1e30,"height":-5,"zoom":0}"#,
            r#"{"width":900,"height":700,"zoom":99}"#,
        ] {
            let size = serde_json::from_str::<Size>(text).unwrap().sane();
            assert!(
                (780.0..=8000.0).contains(&size.width) && (560.0..=8000.0).contains(&size.height)
            );
            assert!((0.75..=3.0).contains(&size.zoom));
        }
        let size = Size {
            width: 900.0,
            height: 700.0,
            zoom: 1.5,
        };
        assert_eq!(Size::of(&size.state()), size);
    }
}
