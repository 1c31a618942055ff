//! The few signs of the window, drawn, so that they need no font.

use egui::{
    Atom, Button, Color32, IdSalt, Painter, Pos2, Rect, Response, Shape, Stroke, Ui, pos2, vec2,
};

/// A sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icon {
    /// A triangle to the right.
    Play,
    /// A square.
    Stop,
    /// A die that shows five.
    Die,
    /// A triangle downwards: something opens.
    Open,
    /// A filled circle: all is well.
    Full,
    /// A circle: not yet.
    Empty,
    /// A triangle with an exclamation mark.
    Warning,
}

/// The width and height of a sign beside text.
pub const SIZE: f32 = 12.0;

impl Icon {
    /// Paints it in the middle of `area`.
    pub fn paint(self, painter: &Painter, area: Rect, color: Color32) {
        let area = Rect::from_center_size(area.center(), vec2(SIZE, SIZE));
        let at = |x: f32, y: f32| area.min + vec2(x, y) * SIZE;
        let line = Stroke::new(1.3, color);
        let polygon =
            |points: [Pos2; 3]| Shape::convex_polygon(points.to_vec(), color, Stroke::NONE);
        match self {
            Icon::Play => {
                painter.add(polygon([at(0.15, 0.05), at(0.95, 0.5), at(0.15, 0.95)]));
            }
            Icon::Open => {
                painter.add(polygon([at(0.15, 0.33), at(0.85, 0.33), at(0.5, 0.72)]));
            }
            Icon::Stop => {
                painter.rect_filled(area.shrink(1.5), 1.0, color);
            }
            Icon::Die => {
                painter.rect_stroke(area, 2.5, line, egui::StrokeKind::Inside);
                for (x, y) in [
                    (0.28, 0.28),
                    (0.72, 0.28),
                    (0.5, 0.5),
                    (0.28, 0.72),
                    (0.72, 0.72),
                ] {
                    painter.circle_filled(at(x, y), 1.2, color);
                }
            }
            Icon::Full => {
                painter.circle_filled(area.center(), 4.0, color);
            }
            Icon::Empty => {
                painter.circle_stroke(area.center(), 3.5, line);
            }
            Icon::Warning => {
                let outline = vec![at(0.5, 0.05), at(1.0, 0.95), at(0.0, 0.95)];
                painter.add(Shape::closed_line(outline, line));
                painter.vline(area.center().x, at(0.0, 0.35).y..=at(0.0, 0.65).y, line);
                painter.circle_filled(pos2(area.center().x, at(0.0, 0.79).y), 0.8, color);
            }
        }
    }

    /// Shows it as a label.
    pub fn show(self, ui: &mut Ui, color: Color32) {
        let (area, _) = ui.allocate_exact_size(vec2(SIZE, SIZE), egui::Sense::hover());
        self.paint(ui.painter(), area, color);
    }

    /// Shows a button with it and `text`.
    pub fn button(self, ui: &mut Ui, text: &str, width: f32) -> Response {
        let place = IdSalt::new("icon");
        let atoms = (Atom::custom(place, vec2(SIZE, SIZE)), text);
        let button = if text.is_empty() {
            Button::new(Atom::custom(place, vec2(SIZE, SIZE)))
        } else {
            Button::new(atoms)
        };
        let shown = button
            .min_size(vec2(width, ui.spacing().interact_size.y))
            .atom_ui(ui);
        if let Some(area) = shown.rect(place) {
            let color = ui.style().interact(&shown.response).text_color();
            self.paint(ui.painter(), area, color);
        }
        shown.response
    }
}
