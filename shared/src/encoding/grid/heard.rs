//! What is heard in bars of a body: the key, and of each track density, polyphony and register.

use crate::encoding::controls::{self, Densities, Tracks};
use crate::encoding::lexicon::{Kind, Lexicon};
use crate::encoding::{BarState, Token};
use crate::instrument::Instrument;
use crate::key;
use crate::score::Ticks;

/// What one instrument plays.
struct Part {
    instrument: Instrument,
    notes: u32,
    /// Bars in which it plays.
    bars: u32,
    /// Where its last note ends, in ticks from the first bar.
    until: u64,
    /// Ticks in which it sounds.
    sounding: u64,
    /// The sum of its durations in ticks.
    durations: u64,
    /// How often it strikes each pitch.
    pitches: [u32; 128],
}

impl Part {
    fn new(instrument: Instrument) -> Self {
        Self {
            instrument,
            notes: 0,
            bars: 0,
            until: 0,
            sounding: 0,
            durations: 0,
            pitches: [0; 128],
        }
    }

    /// Takes the next note, which starts no earlier than those before.
    fn note(&mut self, start: u64, duration: Ticks, pitch: u16) {
        let end = start + u64::from(duration.0);
        self.notes += 1;
        self.sounding += end.saturating_sub(start.max(self.until));
        self.durations += u64::from(duration.0);
        self.until = self.until.max(end);
        self.pitches[usize::from(pitch & 127)] += 1;
    }

    /// Notes in a hundred of its bars.
    fn density(&self) -> u32 {
        (u64::from(self.notes) * 100 / u64::from(self.bars.max(1))) as u32
    }

    /// The lower of the two in the middle, where their number is even.
    fn median_pitch(&self) -> i32 {
        let mut below = 0;
        let middle = self.pitches.iter().position(|count| {
            below += count;
            2 * below >= self.notes
        });
        middle.unwrap_or(0) as i32
    }

    fn asked(&self, densities: &Densities, semitones: i32) -> controls::Track {
        let octave = (self.median_pitch() + semitones).clamp(0, 127) / 12;
        controls::Track {
            density: Some(densities.level(self.instrument, self.density())),
            polyphony: Some(controls::polyphony(self.durations, self.sounding)),
            register: (!self.instrument.is_drums()).then_some(octave as u8),
        }
    }
}

/// What is played in bars of a body, of which the first is in the state `first`.
struct Heard {
    parts: Vec<Part>,
    /// How long each pitch class sounds, in ticks.
    classes: [u64; 12],
}

impl Heard {
    fn new(lexicon: &Lexicon, tokens: &[Token], first: BarState) -> Self {
        let (mut parts, mut classes) = (Vec::<Part>::new(), [0; 12]);
        let mut length = lexicon.metre(first).bar();
        let (mut begin, mut begun) = (0u64, false);
        let (mut playing, mut onset, mut pitch) = (0, Ticks(0), 0);
        for &token in tokens {
            let Some((kind, value)) = lexicon.word(token) else {
                continue;
            };
            let duration = match kind {
                Kind::Bar => {
                    begin += if begun { u64::from(length.0) } else { 0 };
                    begun = true;
                    continue;
                }
                Kind::Metre => {
                    length = lexicon.metre_of(value).bar();
                    continue;
                }
                Kind::Instrument => {
                    let instrument = Instrument::new(value as u8).unwrap_or_default();
                    let known = parts.iter().position(|part| part.instrument == instrument);
                    playing = known.unwrap_or_else(|| {
                        parts.push(Part::new(instrument));
                        parts.len() - 1
                    });
                    parts[playing].bars += 1;
                    continue;
                }
                Kind::Position => {
                    onset = lexicon.position(value);
                    continue;
                }
                Kind::Offset => {
                    onset += lexicon.steps(value + 1);
                    continue;
                }
                Kind::Pitch => {
                    pitch = value;
                    continue;
                }
                Kind::Drum => {
                    pitch = value;
                    lexicon.duration_of(0)
                }
                Kind::Duration => {
                    let duration = lexicon.duration_of(value);
                    classes[usize::from(pitch % 12)] += u64::from(duration.0);
                    duration
                }
                _ => continue,
            };
            if let Some(part) = parts.get_mut(playing) {
                part.note(begin + u64::from(onset.0), duration, pitch);
            }
        }
        Self { parts, classes }
    }
}

/// The key's number and what is true of each track, all so many semitones higher.
pub(super) fn controls(
    lexicon: &Lexicon,
    densities: &Densities,
    tokens: &[Token],
    first: BarState,
    semitones: i32,
) -> (Option<u16>, Tracks) {
    let heard = Heard::new(lexicon, tokens, first);
    let likely = key::likely(&heard.classes.map(|ticks| ticks as f64));
    let key = likely.map(|(key, _)| controls::key_number(key, semitones));
    let mut tracks = Tracks::default();
    for part in &heard.parts {
        tracks.ask(part.instrument, part.asked(densities, semitones));
    }
    (key, tracks)
}

/// Notes in a hundred bars in which it plays, of each instrument.
pub(super) fn densities(
    lexicon: &Lexicon,
    tokens: &[Token],
    first: BarState,
) -> Vec<(Instrument, u32)> {
    let heard = Heard::new(lexicon, tokens, first);
    let density = |part: &Part| (part.instrument, part.density());
    heard.parts.iter().map(density).collect()
}
