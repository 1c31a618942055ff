//! The plugin's parameters; `docs/parameters.md` lists them. Ids are only ever added.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use famam_shared::sampling;
use nih_plug::params::internals::ParamPtr;
use nih_plug::prelude::*;

use crate::clip::MAX_BARS;
use crate::player;
use crate::slot::Slot;
use crate::state::Session;

/// The largest index of a genre; fixed, because a parameter's range cannot follow the bundle.
pub const MAX_GENRE: u16 = 127;
/// The largest temperature.
const MAX_TEMPERATURE: f32 = 2.0;
/// The largest top-k.
const MAX_TOP_K: i32 = 200;
/// The largest seed. Every seed can be typed and remembered.
pub const MAX_SEED: u16 = 9999;

/// Whether program changes are sent where nothing was said: the standalone's default. In a host
/// they would change the user's patches.
pub static SEND_PROGRAMS: AtomicBool = AtomicBool::new(false);

/// Which parts go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum OutputMode {
    /// All parts, each on its own channel, drums on 10.
    #[id = "all"]
    #[name = "All parts by channel"]
    AllParts,
    /// One part only, on channel 1.
    #[id = "one"]
    #[name = "One part only"]
    OnePart,
}

/// What a host sees.
#[derive(Params)]
pub struct Controls {
    /// Index into the bundle's genres, 0 is any.
    #[id = "genre"]
    pub genre: IntParam,
    /// Sampling temperature.
    #[id = "temperature"]
    pub temperature: FloatParam,
    /// Sampling top-k, 0 is off.
    #[id = "top_k"]
    pub top_k: IntParam,
    /// Sampling top-p, 1 is off.
    #[id = "top_p"]
    pub top_p: FloatParam,
    /// Bars of a clip.
    #[id = "bars"]
    pub bars: IntParam,
    /// 0: another one for each clip.
    #[id = "seed"]
    pub seed: IntParam,
    /// Turning it on asks for a clip.
    #[id = "generate"]
    pub generate: BoolParam,
    /// The drum kit.
    #[id = "drums"]
    pub drums: BoolParam,
    /// A bass.
    #[id = "bass"]
    pub bass: BoolParam,
    /// A guitar.
    #[id = "guitar"]
    pub guitar: BoolParam,
    /// A keyboard.
    #[id = "keys"]
    pub keys: BoolParam,
    /// Strings or a pad.
    #[id = "strings"]
    pub strings: BoolParam,
    /// A lead.
    #[id = "lead"]
    pub lead: BoolParam,
    /// Which parts go out.
    #[id = "output"]
    pub output: EnumParam<OutputMode>,
    /// The channel of the only part that goes out, from 1.
    #[id = "part"]
    pub part: IntParam,
    /// Whether program changes are sent.
    #[id = "program_changes"]
    pub program_changes: BoolParam,
    /// Silence.
    #[id = "bypass"]
    pub bypass: BoolParam,
    /// Turning it on ends all that sounds.
    #[id = "panic"]
    pub panic: BoolParam,
}

/// The parameters, and what a song keeps besides.
pub struct FamamParams {
    /// What a host sees.
    pub controls: Controls,
    /// What a song keeps besides.
    pub session: Session,
}

/// What a change of calls for a new clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Index into the bundle's genres.
    pub genre: u16,
    /// Bars.
    pub bars: u32,
    /// 0: another one for each clip.
    pub seed: u16,
    /// The groups of instruments that are on, in the order of `Group::ALL`.
    pub groups: [bool; 6],
}

// SAFETY: the pointers are those of `controls`, which lives in `self` and whose derived
// implementation upholds what the trait asks for.
unsafe impl Params for FamamParams {
    fn param_map(&self) -> Vec<(String, ParamPtr, String)> {
        self.controls.param_map()
    }

    fn serialize_fields(&self) -> BTreeMap<String, String> {
        self.session.write(self.shape().genre)
    }

    fn deserialize_fields(&self, fields: &BTreeMap<String, String>) {
        self.session.read(fields);
    }
}

impl FamamParams {
    /// All at their defaults. Changes are told to `slot`.
    pub fn new(slot: &Arc<Slot>, session: Session) -> Self {
        Self {
            controls: Controls::new(slot, &session),
            session,
        }
    }

    /// What shapes the music.
    pub fn shape(&self) -> Shape {
        let c = &self.controls;
        let groups = [&c.drums, &c.bass, &c.guitar, &c.keys, &c.strings, &c.lead];
        Shape {
            genre: c.genre.value().clamp(0, i32::from(MAX_GENRE)) as u16,
            bars: c.bars.value().clamp(1, MAX_BARS as i32) as u32,
            seed: c.seed.value().clamp(0, i32::from(MAX_SEED)) as u16,
            groups: groups.map(|group| group.value()),
        }
    }

    /// How tokens are drawn.
    pub fn sampling(&self) -> sampling::Settings {
        let c = &self.controls;
        sampling::Settings {
            temperature: within(c.temperature.value(), MAX_TEMPERATURE),
            top_k: c.top_k.value().clamp(0, MAX_TOP_K) as usize,
            top_p: within(c.top_p.value(), 1.0),
            ..sampling::Settings::default()
        }
    }

    /// What the player must know.
    pub fn player(&self) -> player::Settings {
        let c = &self.controls;
        player::Settings {
            output: match c.output.value() {
                OutputMode::AllParts => player::Output::AllParts,
                OutputMode::OnePart => {
                    player::Output::OnePart((c.part.value().clamp(1, 16) - 1) as u8)
                }
            },
            programs: c.program_changes.value(),
            bypass: c.bypass.value(),
        }
    }
}

/// A value that a damaged state may have put anywhere, as one from 0 to `max`.
fn within(value: f32, max: f32) -> f32 {
    if value.is_nan() {
        0.0
    } else {
        value.clamp(0.0, max)
    }
}

impl Controls {
    fn new(slot: &Arc<Slot>, session: &Session) -> Self {
        let sampling = sampling::Settings::default();
        let asks = || {
            let slot = slot.clone();
            Arc::new(move |_: i32| slot.ask())
        };
        let group = |name: &str, on| {
            let slot = slot.clone();
            BoolParam::new(name, on).with_callback(Arc::new(move |_| slot.ask()))
        };
        let trigger = |name: &str, pull: fn(&Slot)| {
            let slot = slot.clone();
            BoolParam::new(name, false).with_callback(Arc::new(move |on| {
                if on {
                    pull(&slot);
                }
            }))
        };
        let (shown, typed) = (session.clone(), session.clone());
        let linear = |min, max| IntRange::Linear { min, max };
        Self {
            genre: IntParam::new("Genre", 0, linear(0, i32::from(MAX_GENRE)))
                .with_callback(asks())
                .with_value_to_string(Arc::new(move |index| shown.genre_text(index)))
                .with_string_to_value(Arc::new(move |text| typed.genre_index(text))),
            temperature: FloatParam::new(
                "Temperature",
                sampling.temperature,
                FloatRange::Linear {
                    min: 0.0,
                    max: MAX_TEMPERATURE,
                },
            )
            .with_value_to_string(formatters::v2s_f32_rounded(2)),
            top_k: IntParam::new("Top-k", sampling.top_k as i32, linear(0, MAX_TOP_K))
                .with_value_to_string(Arc::new(|k| match k {
                    0 => "off".to_owned(),
                    k => k.to_string(),
                }))
                .with_string_to_value(Arc::new(|text| match text.trim() {
                    "off" => Some(0),
                    text => text.parse().ok(),
                })),
            top_p: FloatParam::new(
                "Top-p",
                sampling.top_p,
                FloatRange::Linear { min: 0.0, max: 1.0 },
            )
            .with_value_to_string(formatters::v2s_f32_rounded(2)),
            bars: IntParam::new("Bars", 8, linear(1, MAX_BARS as i32)).with_callback(asks()),
            seed: IntParam::new("Seed", 0, linear(0, i32::from(MAX_SEED)))
                .with_callback(asks())
                .with_value_to_string(Arc::new(|seed| match seed {
                    0 => "new each time".to_owned(),
                    seed => seed.to_string(),
                }))
                .with_string_to_value(Arc::new(|text| match text.trim() {
                    "new each time" => Some(0),
                    text => text.parse().ok(),
                })),
            generate: trigger("Generate", Slot::generate),
            drums: group("Drums", true),
            bass: group("Bass", true),
            guitar: group("Guitar", true),
            keys: group("Keys", true),
            strings: group("Strings and pads", false),
            lead: group("Lead", false),
            output: EnumParam::new("Output", OutputMode::AllParts),
            part: IntParam::new("Part", 1, linear(1, 16))
                .with_value_to_string(Arc::new(|part| match part {
                    10 => "10 (drums)".to_owned(),
                    part => part.to_string(),
                }))
                .with_string_to_value(Arc::new(|text| {
                    text.split_whitespace().next()?.parse().ok()
                })),
            program_changes: BoolParam::new(
                "Send program changes",
                SEND_PROGRAMS.load(Ordering::Relaxed),
            ),
            bypass: BoolParam::new("Bypass", false).make_bypass(),
            panic: trigger("Panic", Slot::panic),
        }
    }
}
