//! The line at the bottom: what the engine does, and with what.

use egui::{Align, Color32, Label, Layout, RichText, Ui};

use super::icon::Icon;
use super::palette;
use crate::snapshot::{Activity, Snapshot};

/// Shows it; a notice gets a line of its own above.
pub fn show(ui: &mut Ui, snapshot: &Snapshot) {
    if let Some(notice) = &snapshot.notice {
        ui.add(Label::new(RichText::new(notice).color(palette::WARNING)).wrap());
    }
    ui.horizontal(|ui| {
        let (icon, color) = mark(&snapshot.activity);
        icon.show(ui, color);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.weak(&snapshot.engine)
                .on_hover_text("What runs the model on this machine.");
            let text = RichText::new(sentence(&snapshot.activity)).color(match snapshot.activity {
                Activity::Failed(_) => color,
                _ => palette::TEXT,
            });
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                ui.add(Label::new(text).truncate());
            });
        });
    });
}

/// What the engine does, in words.
pub fn sentence(activity: &Activity) -> String {
    let speed = |tokens: &Option<f64>| tokens.map(|tokens| format!("{tokens:.0} tokens/s"));
    match activity {
        Activity::Waiting => "No model is loaded yet".to_owned(),
        Activity::Loading => "Loading the model".to_owned(),
        Activity::Generating {
            done,
            bars,
            tokens_per_second,
        } => {
            let bar = format!("Generating bar {} of {bars}", (done + 1).min(*bars));
            speed(tokens_per_second).map_or(bar.clone(), |speed| format!("{bar}, {speed}"))
        }
        Activity::Ready { tokens_per_second } => speed(tokens_per_second)
            .map_or("Ready".to_owned(), |speed| {
                format!("Ready, last clip at {speed}")
            }),
        Activity::Failed(why) => why.clone(),
    }
}

/// A mark for it, which says it without colour, too.
fn mark(activity: &Activity) -> (Icon, Color32) {
    match activity {
        Activity::Waiting | Activity::Loading => (Icon::Empty, palette::QUIET),
        Activity::Generating { .. } => (Icon::Play, palette::ACTIVE),
        Activity::Ready { .. } => (Icon::Full, palette::GOOD),
        Activity::Failed(_) => (Icon::Warning, palette::ERROR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_says_what_it_does() {
        let generating = |done, tokens_per_second| Activity::Generating {
            done,
            bars: 16,
            tokens_per_second,
        };
        for (activity, expected) in [
            (
                generating(4, Some(340.2)),
                "Generating bar 5 of 16, 340 tokens/s",
            ),
            (generating(0, None), "Generating bar 1 of 16"),
            (
                generating(16, Some(1.0)),
                "Generating bar 16 of 16, 1 tokens/s",
            ),
            (
                Activity::Ready {
                    tokens_per_second: None,
                },
                "Ready",
            ),
            (Activity::Failed("no".to_owned()), "no"),
        ] {
            assert_eq!(sentence(&activity), expected);
        }
    }
}
