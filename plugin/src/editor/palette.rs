//! The colours of the window.
//!
//! Every class of instruments has its own on a dark and calm ground. The six groups, which a
//! musician meets first, lie apart for every kind of colour vision, as the palette of Okabe and Ito
//! (2008) does; the classes of a group keep near its hue where they can.

use egui::style::{Selection, WidgetVisuals};
use egui::{Color32, CornerRadius, FontFamily, FontId, Shadow, Stroke, TextStyle, Visuals, vec2};
use famam_shared::instrument::{Class, Group};

use crate::clip::Part;

/// Behind the music.
pub const GROUND: Color32 = Color32::from_rgb(0x13, 0x16, 0x1B);
/// Behind the controls.
pub const PANEL: Color32 = Color32::from_rgb(0x1B, 0x1F, 0x26);
/// Buttons and fields.
pub const RAISED: Color32 = Color32::from_rgb(0x2A, 0x30, 0x3A);
/// Lines between things.
pub const LINE: Color32 = Color32::from_rgb(0x33, 0x3A, 0x46);
/// Text.
pub const TEXT: Color32 = Color32::from_rgb(0xD6, 0xDB, 0xE4);
/// Text that explains.
pub const QUIET: Color32 = Color32::from_rgb(0x95, 0x9E, 0xAE);
/// What is chosen, and what to press.
pub const ACCENT: Color32 = Color32::from_rgb(0x6E, 0x62, 0xD9);
/// What is going on.
pub const ACTIVE: Color32 = Color32::from_rgb(0xA9, 0xA0, 0xF2);
/// That all is well.
pub const GOOD: Color32 = Color32::from_rgb(0x4F, 0xC2, 0x8F);
/// What the user should know.
pub const WARNING: Color32 = Color32::from_rgb(0xE8, 0xB3, 0x4B);
/// What went wrong.
pub const ERROR: Color32 = Color32::from_rgb(0xF0, 0x7C, 0x6C);

/// The colour of a class.
pub fn of_class(class: Class) -> Color32 {
    let [_, red, green, blue] = match class {
        Class::Piano => 0x2D_D2_8F_u32,
        Class::ChromaticPercussion => 0x56_A7_7F,
        Class::Organ => 0x2D_86_7C,
        Class::Percussive => 0xDC_F9_C7,
        Class::Guitar => 0xD9_6C_0D,
        Class::Bass => 0x5F_8B_EA,
        Class::Strings => 0xC1_6F_99,
        Class::Ensemble => 0xDC_C9_F0,
        Class::SynthPad => 0xCE_9A_C8,
        Class::SynthEffects => 0x9A_95_D9,
        Class::SoundEffects => 0xC7_56_AD,
        Class::Brass => 0x92_75_25,
        Class::Reed => 0xF9_CE_C7,
        Class::Pipe => 0xEE_E8_9C,
        Class::SynthLead => 0xEE_D4_2A,
        Class::Ethnic => 0xD9_9E_68,
        Class::Drums => 0xDC_E0_E5,
    }
    .to_be_bytes();
    Color32::from_rgb(red, green, blue)
}

/// The colour of a group: its most typical class's.
pub fn of_group(group: Group) -> Color32 {
    of_class(match group {
        Group::Drums => Class::Drums,
        Group::Bass => Class::Bass,
        Group::Guitar => Class::Guitar,
        Group::Keys => Class::Piano,
        Group::StringsAndPads => Class::Strings,
        Group::Lead => Class::SynthLead,
    })
}

/// The colours of a clip's parts. Of two parts of one class the later is lighter.
pub fn of_parts(parts: &[Part]) -> Vec<Color32> {
    let class = |part: &Part| part.instrument.class();
    let before = |i: usize| {
        parts[..i]
            .iter()
            .filter(|part| class(part) == class(&parts[i]))
            .count()
    };
    (0..parts.len())
        .map(|i| {
            let lighter = 1.0 - 0.65_f32.powi(before(i) as i32);
            of_class(class(&parts[i])).lerp_to_gamma(Color32::WHITE, lighter)
        })
        .collect()
}

/// A note's colour: its part's, the darker the softer it is struck.
pub fn of_note(part: Color32, velocity: u8) -> Color32 {
    let loudness = f32::from(velocity.min(127)) / 127.0;
    GROUND.lerp_to_gamma(part, 0.35 + 0.65 * loudness)
}

/// Gives `context` this palette, and its type and spacing.
pub fn apply(context: &egui::Context) {
    context.set_theme(egui::Theme::Dark);
    context.all_styles_mut(|style| {
        let font = |size| FontId::new(size, FontFamily::Proportional);
        style.text_styles.extend([
            (TextStyle::Small, font(11.0)),
            (TextStyle::Body, font(13.0)),
            (TextStyle::Button, font(13.0)),
            (TextStyle::Heading, font(19.0)),
        ]);
        style.spacing.item_spacing = vec2(8.0, 6.0);
        style.spacing.button_padding = vec2(9.0, 4.0);
        style.spacing.interact_size.y = 24.0;
        style.spacing.slider_rail_height = 4.0;
        style.interaction.tooltip_delay = 0.4;
        // A wheel scrolls a long clip sideways: there is no other way.
        style.always_scroll_the_only_direction = true;
        style.visuals = visuals();
    });
}

fn visuals() -> Visuals {
    let round = CornerRadius::same(5);
    let widget = |fill: Color32, stroke: Color32, text: Color32| WidgetVisuals {
        bg_fill: fill,
        weak_bg_fill: fill,
        bg_stroke: Stroke::new(1.0, stroke),
        corner_radius: round,
        fg_stroke: Stroke::new(1.0, text),
        expansion: 0.0,
    };
    let mut visuals = Visuals::dark();
    visuals.panel_fill = PANEL;
    visuals.window_fill = PANEL;
    visuals.extreme_bg_color = GROUND;
    visuals.window_stroke = Stroke::new(1.0, LINE);
    visuals.popup_shadow = Shadow {
        offset: [0, 4],
        blur: 14,
        spread: 0,
        color: Color32::from_black_alpha(110),
    };
    visuals.weak_text_color = Some(QUIET);
    visuals.warn_fg_color = WARNING;
    visuals.error_fg_color = ERROR;
    visuals.selection = Selection {
        bg_fill: ACCENT,
        stroke: Stroke::new(1.0, Color32::WHITE),
    };
    visuals.widgets.noninteractive = widget(PANEL, LINE, TEXT);
    visuals.widgets.inactive = widget(RAISED, RAISED, TEXT);
    visuals.widgets.hovered = widget(LINE, Color32::from_rgb(0x4A, 0x53, 0x63), Color32::WHITE);
    visuals.widgets.active = widget(LINE, ACCENT, Color32::WHITE);
    visuals.widgets.open = widget(LINE, LINE, Color32::WHITE);
    visuals
}

#[cfg(test)]
mod tests {
    use egui::Rgba;
    use famam_shared::instrument::Instrument;

    use super::*;

    /// What people see: everybody, and protanopes, deuteranopes and tritanopes as Machado, Oliveira
    /// and Fernandes (2009) model them.
    const VISIONS: [[[f32; 3]; 3]; 4] = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ],
    ];

    fn times(matrix: [[f32; 3]; 3], [x, y, z]: [f32; 3]) -> [f32; 3] {
        matrix.map(|[a, b, c]| a * x + b * y + c * z)
    }

    fn linear(color: Color32) -> [f32; 3] {
        let color = Rgba::from(color);
        [color.r(), color.g(), color.b()]
    }

    /// CIELAB of a linear sRGB colour.
    fn lab(rgb: [f32; 3]) -> [f32; 3] {
        let to_xyz = [
            [0.4339, 0.3762, 0.1899],
            [0.2126, 0.7152, 0.0722],
            [0.0177, 0.1095, 0.8728],
        ];
        let [x, y, z] = times(to_xyz, rgb.map(|c| c.clamp(0.0, 1.0))).map(|c| {
            if c > 0.008856 {
                c.cbrt()
            } else {
                7.787 * c + 16.0 / 116.0
            }
        });
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    /// The smallest distance of two of `colors` in CIELAB (1976).
    fn nearest(colors: &[Color32], vision: [[f32; 3]; 3]) -> f32 {
        let points: Vec<_> = colors
            .iter()
            .map(|&color| lab(times(vision, linear(color))))
            .collect();
        let pairs = points
            .iter()
            .enumerate()
            .flat_map(|(i, a)| points[..i].iter().map(move |b| (a, b)));
        pairs
            .map(|(a, b)| {
                a.iter()
                    .zip(b)
                    .map(|(a, b)| (a - b).powi(2))
                    .sum::<f32>()
                    .sqrt()
            })
            .fold(f32::INFINITY, f32::min)
    }

    #[test]
    fn everybody_can_tell_the_groups_and_the_classes_apart() {
        for vision in VISIONS {
            assert!(nearest(&Group::ALL.map(of_group), vision) > 20.0);
            assert!(nearest(&Class::ALL.map(of_class), vision) > 8.0);
        }
    }

    #[test]
    fn everything_stands_out_from_its_ground() {
        let light = |color| {
            times(VISIONS[0], linear(color))
                .iter()
                .zip([0.2126, 0.7152, 0.0722])
                .map(|(a, b)| a * b)
                .sum::<f32>()
        };
        let contrast = |color, ground| (light(color) + 0.05) / (light(ground) + 0.05);
        assert!(
            Class::ALL
                .into_iter()
                .all(|class| contrast(of_class(class), GROUND) > 3.9)
        );
        for (color, ground) in [
            (TEXT, PANEL),
            (QUIET, PANEL),
            (QUIET, GROUND),
            (WARNING, PANEL),
            (ERROR, PANEL),
            (TEXT, RAISED),
            (Color32::WHITE, ACCENT),
        ] {
            assert!(contrast(color, ground) > 4.5, "{color:?} on {ground:?}");
        }
    }

    #[test]
    fn two_guitars_and_loud_and_soft_differ() {
        let part = |index| Part {
            instrument: Instrument::new(index).unwrap(),
            channel: 0,
        };
        let colors = of_parts(&[part(25), part(33), part(29), part(30)]);
        assert_eq!(colors[0], of_class(Class::Guitar));
        assert!(
            nearest(&colors, VISIONS[0]) > 10.0,
            "{}",
            nearest(&colors, VISIONS[0])
        );
        let sum = |color: Color32| {
            color.to_array()[..3]
                .iter()
                .map(|&c| u32::from(c))
                .sum::<u32>()
        };
        for velocity in 1..127 {
            assert!(sum(of_note(colors[0], velocity)) <= sum(of_note(colors[0], velocity + 1)));
        }
    }
}
