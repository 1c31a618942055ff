//! How players write a progression out.

use std::ops::Range;

use famam_shared::instrument::Instrument;
use famam_shared::score::{Bar, Note, Score, Ticks, Track};
use famam_shared::theory::{Progression, Symbol};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

/// A way to play chords: what is written in each span, by parts.
pub struct Style {
    pub name: &'static str,
    /// The share of spans whose chord must be found, in hundredths.
    pub at_least: f64,
    parts: &'static [Part],
}

/// Writes what one player has in a span.
type Part = fn(&mut Player<'_>);

pub const STYLES: [Style; 6] = [
    Style {
        name: "block",
        at_least: 100.0,
        parts: &[held],
    },
    Style {
        name: "block, on every beat",
        at_least: 100.0,
        parts: &[root_in_the_bass, struck],
    },
    Style {
        name: "broken",
        at_least: 95.0,
        parts: &[broken],
    },
    Style {
        name: "melody with passing notes",
        at_least: 95.0,
        parts: &[held, melody],
    },
    Style {
        name: "broken, with a melody",
        at_least: 95.0,
        parts: &[broken, melody],
    },
    Style {
        name: "walking bass",
        at_least: 95.0,
        parts: &[walking, stabs],
    },
];

impl Style {
    pub fn write(&self, progression: &Progression, bars: &[Bar], rng: &mut ChaCha8Rng) -> Score {
        let key = progression.key().into();
        let tracks = self.parts.iter().map(|part| {
            let mut notes = Vec::new();
            let spans: Vec<_> = progression.over(bars, 0).collect();
            for (i, (at, symbol)) in spans.iter().enumerate() {
                part(&mut Player {
                    at: at.clone(),
                    symbol: *symbol,
                    next: spans.get(i + 1).map_or(*symbol, |(_, symbol)| *symbol),
                    scale: symbol.chord.scale(Some(key)).iter().collect(),
                    notes: &mut notes,
                    rng,
                });
            }
            notes.sort_unstable();
            Track {
                instrument: Instrument::default(),
                name: String::new(),
                notes,
            }
        });
        Score {
            tracks: tracks.collect(),
            metres: vec![bars[0].metre],
            end: bars[bars.len() - 1].end,
            ..Score::default()
        }
    }
}

struct Player<'a> {
    at: Range<Ticks>,
    symbol: Symbol,
    next: Symbol,
    /// Pitch classes.
    scale: Vec<u8>,
    notes: &'a mut Vec<Note>,
    rng: &'a mut ChaCha8Rng,
}

impl Player<'_> {
    fn draw(&mut self, of: usize) -> usize {
        self.rng.next_u32() as usize % of
    }

    fn play(&mut self, start: u32, pitch: u8, length: u32) {
        let end = (start + length).min(self.at.end.0);
        self.notes.push(Note {
            start: Ticks(start),
            pitch,
            duration: Ticks(end - start),
            velocity: 64,
        });
    }

    /// Starts of notes, so many ticks apart.
    fn every(&self, step: u32) -> impl Iterator<Item = u32> + use<> {
        (self.at.start.0..self.at.end.0).step_by(step as usize)
    }

    fn root(&self) -> u8 {
        self.symbol.chord.root().unwrap_or(0)
    }

    /// The tones from the root up, the root between `low` and an octave higher.
    fn tones(&self, low: u8) -> Vec<u8> {
        let root = low + (self.root() + 12 - low % 12) % 12;
        self.symbol
            .chord
            .steps()
            .iter()
            .map(|step| root + step)
            .collect()
    }

    /// The tones in close position, any of them lowest.
    fn voicing(&mut self, low: u8) -> Vec<u8> {
        let mut tones = self.tones(low);
        let inversion = self.draw(tones.len());
        for tone in &mut tones[..inversion] {
            *tone += 12;
        }
        tones
    }
}

/// Whole chords in any inversion, as long as they last.
fn held(player: &mut Player<'_>) {
    for pitch in player.voicing(48) {
        player.play(player.at.start.0, pitch, u32::MAX / 2);
    }
}

fn root_in_the_bass(player: &mut Player<'_>) {
    player.play(player.at.start.0, 36 + player.root(), u32::MAX / 2);
}

fn struck(player: &mut Player<'_>) {
    let voicing = player.voicing(55);
    for start in player.every(960) {
        for &pitch in &voicing {
            player.play(start, pitch, 700);
        }
    }
}

/// Through the tones from the root up, as far as the span has room: up, up and down, as Alberti wrote them, or
/// wide. Eighths, or sixteenths where three eighths are too long.
fn broken(player: &mut Player<'_>) {
    let mut tones = player.tones(45);
    let of = tones.len();
    tones.extend([tones[0] + 12, tones[1] + 12]);
    let figures: [&[usize]; 4] = [
        &[0, 1, 2, of],
        &[0, 1, 2, of, 2, 1],
        &[0, 2, 1, of - 1],
        &[0, 2, of, of + 1],
    ];
    let span = (player.at.end - player.at.start).0;
    let step = if span < 3 * 480 { 240 } else { 480 };
    let figure = match figures[player.draw(figures.len())] {
        figure if figure.len() as u32 * step <= span => figure,
        _ => &[0, 2, 1],
    };
    // Half of the time the notes are held by a pedal.
    let length = [step, 3 * step][player.draw(2)];
    for (start, &tone) in player.every(step).zip(figure.iter().cycle()) {
        player.play(start, tones[tone], length);
    }
}

/// Eighths by step through the scale that stand on a tone of the chord on most beats.
fn melody(player: &mut Player<'_>) {
    let scale: Vec<u8> = (72..90)
        .filter(|pitch| player.scale.contains(&(pitch % 12)))
        .collect();
    let mut place = player.draw(scale.len());
    for start in player.every(480) {
        let on_beat = (start - player.at.start.0).is_multiple_of(960);
        let wanted = on_beat && player.draw(4) > 0;
        let step = [-1, 1, -1, 1, -2, 2][player.draw(6)];
        place = (place as i32 + step).clamp(0, scale.len() as i32 - 1) as usize;
        let tones = player.symbol.tones();
        if wanted {
            let near = |i: &usize| i.abs_diff(place);
            let tones = (0..scale.len()).filter(|i| tones.contains(scale[*i]));
            place = tones.min_by_key(near).unwrap_or(place);
        }
        player.play(start, scale[place], 480);
    }
}

/// Quarters: the root, then tones and steps of the scale, and to the next chord's root by a semitone.
fn walking(player: &mut Player<'_>) {
    let beats: Vec<u32> = player.every(960).collect();
    let mut pitch = 36 + player.root();
    for (i, &start) in beats.iter().enumerate() {
        let next = 36 + player.next.chord.root().unwrap_or(0);
        let tones = player.tones(36);
        let near: Vec<u8> = (pitch.saturating_sub(2)..=pitch + 2)
            .filter(|p| *p != pitch && player.scale.contains(&(p % 12)))
            .collect();
        pitch = match i {
            0 => pitch,
            _ if i + 1 == beats.len() => [next - 1, next + 1][player.draw(2)],
            _ if player.draw(2) == 0 || near.is_empty() => tones[player.draw(tones.len())],
            _ => near[player.draw(near.len())],
        };
        player.play(start, pitch, 960);
    }
}

/// Short chords, often off the beat and without their root.
fn stabs(player: &mut Player<'_>) {
    let mut voicing = player.voicing(57);
    if voicing.len() == 4 && player.draw(2) == 0 {
        let root = player.root();
        voicing.retain(|pitch| pitch % 12 != root);
    }
    let first = [0, 480][player.draw(2)];
    for start in player.every(960).map(|start| start + first) {
        if start + 240 <= player.at.end.0 {
            for &pitch in &voicing {
                player.play(start, pitch, 360);
            }
        }
    }
}
