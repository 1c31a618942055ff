//! Quantization: a [`Score`] to the nearest one that an encoding can say, counting what it changes.
//!
//! The grid starts anew at every bar line. What comes out is in one form: one track for each
//! instrument (drums first, then by program), no pitch struck twice at once or while it sounds,
//! whole bars, metres and tempos of the vocabulary, changing at bar lines only.

use std::collections::BTreeMap;
use std::ops::Not;

use serde::{Deserialize, Serialize};

use crate::encoding::SettingsError;
use crate::instrument::Instrument;
use crate::score::{Metre, Note, Score, TICKS_PER_WHOLE, Tempo, Ticks, Track};

/// What an encoding can say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Grid positions in a 4/4 bar: a multiple of 4 that divides 3,840 ticks.
    pub positions_per_bar: u16,
    /// The longest note, in bars of 4/4.
    pub max_duration_bars: u16,
    /// The longest bar, in bars of 4/4.
    pub max_metre_bars: u16,
    /// Equal bins of MIDI's 128 velocities: 1 to 64; with 0 velocities are not said, and every
    /// note has the same.
    pub velocity_bins: u16,
    /// Whether each bar says its [chord](crate::chord), of all that sounds in it. It is a function of
    /// the music and says nothing to a decoder.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub chords: bool,
    /// Whether a bar that has nothing to say says that it rests.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub rests: bool,
    /// Whether tempos are said; if not, all music has 120 quarters a minute.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub tempos: bool,
    /// The metre of all music, where metres are not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_signature: Option<(u8, u8)>,
    /// Whether a stream's head may say the metre of its first bar.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub metre_in_head: bool,
    /// Whether a stream's head may say the tempo of its first bar.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub tempo_in_head: bool,
    /// Whether durations are those of a [coarser table](Settings::durations) the longer they are.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub coarse_durations: bool,
    /// Onsets that are told apart in a position, evenly from it on: 1 to 16; with 1 music is on the
    /// grid.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub offsets: u16,
}

// Settings of before there were these fields are written as they were.
fn is_true(value: &bool) -> bool {
    *value
}

fn yes() -> bool {
    true
}

fn is_one(value: &u16) -> bool {
    *value == 1
}

fn one() -> u16 {
    1
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            positions_per_bar: 32,
            max_duration_bars: 4,
            max_metre_bars: 2,
            velocity_bins: 32,
            chords: false,
            rests: false,
            tempos: true,
            time_signature: None,
            metre_in_head: false,
            tempo_in_head: false,
            coarse_durations: false,
            offsets: 1,
        }
    }
}

/// Tempo bins in an octave (a doubling).
const TEMPOS_PER_OCTAVE: i32 = 24;
/// Octaves below and above 120 quarters a minute: 30 to 480.
const TEMPO_OCTAVES: i32 = 2;
/// Tempo bins: from 30 to 480 quarters a minute, 2.9 % apart, 120 among them.
pub const TEMPO_BINS: u16 = (2 * TEMPO_OCTAVES * TEMPOS_PER_OCTAVE + 1) as u16;

/// The most bars of a piece: over nine hours of 4/4 at 120 quarters a minute. Notes in later bars,
/// which a broken file can put anywhere up to 2^32 ticks, are left out.
pub const MAX_BARS: usize = 16_384;

/// The tempo bin nearest to `micros_per_quarter`.
pub fn tempo_bin(micros_per_quarter: f64) -> u16 {
    let octaves = libm::log2(f64::from(Tempo::DEFAULT_MICROS) / micros_per_quarter.max(1.0));
    let bin = libm::round(f64::from(TEMPOS_PER_OCTAVE) * (octaves + f64::from(TEMPO_OCTAVES)));
    bin.clamp(0.0, f64::from(TEMPO_BINS - 1)) as u16
}

/// The tempo of a bin, in microseconds a quarter.
pub fn tempo_of_bin(bin: u16) -> u32 {
    let octaves = f64::from(bin) / f64::from(TEMPOS_PER_OCTAVE) - f64::from(TEMPO_OCTAVES);
    libm::round(f64::from(Tempo::DEFAULT_MICROS) / libm::exp2(octaves)) as u32
}

impl Settings {
    /// Refuses settings that make no grid.
    pub fn check(&self) -> Result<(), SettingsError> {
        let refuse = |field, value: u16, expected| {
            Err(SettingsError {
                field,
                value: value.to_string(),
                expected,
            })
        };
        let positions = u32::from(self.positions_per_bar);
        if positions == 0
            || positions > 960
            || !positions.is_multiple_of(4)
            || !TICKS_PER_WHOLE.is_multiple_of(positions)
        {
            let expected = "a multiple of 4, at most 960, that divides 3840 (as 16, 32 or 48)";
            return refuse("positions_per_bar", self.positions_per_bar, expected);
        }
        if !(1..=16).contains(&self.offsets)
            || !self.position().is_multiple_of(u32::from(self.offsets))
        {
            let expected =
                "expected 1 to 16, a divisor of the ticks of a position (3840 / positions_per_bar)";
            return refuse("offsets", self.offsets, expected);
        }
        if !(1..=16).contains(&self.max_duration_bars) {
            return refuse(
                "max_duration_bars",
                self.max_duration_bars,
                "expected 1 to 16",
            );
        }
        if !(1..=4).contains(&self.max_metre_bars) {
            return refuse("max_metre_bars", self.max_metre_bars, "expected 1 to 4");
        }
        if self.velocity_bins > 64 {
            let expected = "expected 1 to 64, or 0 for no velocities";
            return refuse("velocity_bins", self.velocity_bins, expected);
        }
        if let (Some((numerator, denominator)), []) = (self.time_signature, &self.metres()[..]) {
            return Err(SettingsError {
                field: "time_signature",
                value: format!("{numerator}/{denominator}"),
                expected: "a metre of whole grid positions, not longer than max_metre_bars, if metres are not said",
            });
        }
        Ok(())
    }

    /// Ticks from one grid position to the next.
    pub fn position(&self) -> u32 {
        TICKS_PER_WHOLE / u32::from(self.positions_per_bar)
    }

    /// Ticks from one onset to the next that can be said: a position, or with offsets a part of it.
    pub fn step(&self) -> u32 {
        self.position() / u32::from(self.offsets)
    }

    /// The durations that can be said, in grid positions, ascending: every one, or of the coarse table
    /// every one up to 2 quarters, then by sixteenths up to 8 quarters, then by quarters.
    pub fn durations(&self) -> Vec<u32> {
        let (quarter, longest) = (u32::from(self.positions_per_bar) / 4, self.max_duration());
        let parts = match self.coarse_durations {
            true => [
                (2 * quarter, 1),
                (8 * quarter, (quarter / 4).max(1)),
                (longest, quarter),
            ],
            false => [(longest, 1); 3],
        };
        let longer = |&duration: &u32| {
            let mut parts = parts.iter().map(|&(end, step)| (end.min(longest), step));
            let part = parts.find(|(end, _)| duration < *end);
            part.map(|(end, step)| (duration + step).min(end))
        };
        std::iter::successors(Some(1), longer).collect()
    }

    /// The longest note in grid positions.
    pub fn max_duration(&self) -> u32 {
        u32::from(self.max_duration_bars) * u32::from(self.positions_per_bar)
    }

    /// The positions of the longest bar.
    pub fn max_positions(&self) -> u32 {
        u32::from(self.max_metre_bars) * u32::from(self.positions_per_bar)
    }

    /// The metres that music can have, as (numerator, denominator): bars of whole grid positions.
    pub fn metres(&self) -> Vec<(u8, u8)> {
        let longest = TICKS_PER_WHOLE * u32::from(self.max_metre_bars);
        let only = |metre| self.time_signature.is_none_or(|only| metre == only);
        [2, 4, 8, 16]
            .into_iter()
            .flat_map(|denominator| (1..=32).map(move |numerator| (numerator, denominator)))
            .filter(|&metre| only(metre))
            .filter(|&(numerator, denominator)| {
                let bar = Metre {
                    at: Ticks(0),
                    numerator,
                    denominator,
                }
                .bar()
                .0;
                bar <= longest && bar.is_multiple_of(self.position())
            })
            .collect()
    }

    /// The bin of a velocity.
    pub fn velocity_bin(&self, velocity: u8) -> u16 {
        (u16::from(velocity) * self.velocity_bins / 128).min(self.velocity_bins.saturating_sub(1))
    }

    /// The velocity that stands for a bin: its middle. Without bins it is 64, as MIDI 1.0 has it for
    /// instruments that know no velocity.
    pub fn velocity_of_bin(&self, bin: u16) -> u8 {
        ((2 * bin + 1) * 64 / self.velocity_bins.max(1)).clamp(1, 127) as u8
    }

    /// The metre that music can have and whose bar lines hold those of `numerator`/`denominator`;
    /// 4/4, or the only one that there is, where there is none.
    pub fn nearest_metre(&self, numerator: u8, denominator: u8) -> (u8, u8) {
        let metres = self.metres();
        let (mut n, mut d) = (u32::from(numerator), u32::from(denominator));
        while d > 16 && n.is_multiple_of(2) {
            (n, d) = (n / 2, d / 2);
        }
        if d == 1 {
            (n, d) = (2 * n, 2);
        }
        (1..=n)
            .filter(|parts| n.is_multiple_of(*parts))
            .map(|parts| ((n / parts).min(255) as u8, d.min(255) as u8))
            .find(|metre| metres.contains(metre))
            .unwrap_or(self.time_signature.unwrap_or((4, 4)))
    }
}

/// What [`quantize`] changed, in notes unless said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// Notes of the score as given.
    pub notes: u64,
    /// Left out: an equal one (instrument, position, pitch) stands there already.
    pub merged: u64,
    /// Left out: they start behind the first [`MAX_BARS`] bars.
    pub beyond: u64,
    /// Ended early: the same pitch of the same instrument is struck again.
    pub cut: u64,
    /// Shortened to the longest note that can be said.
    pub capped: u64,
    /// Given another of the durations that can be said, beside those.
    #[serde(default)]
    pub durations: u64,
    /// Moved to a grid position.
    pub moved: u64,
    /// Given another velocity.
    pub velocities: u64,
    /// Tracks joined with another of the same instrument.
    pub tracks: u64,
    /// Metre changes that became another metre, were put off to a bar line, or were added to say a
    /// shortened bar.
    pub metres: u64,
    /// Tempo changes inside a bar or finer than a bin, taken into a bar's mean tempo, and tempos that
    /// are not said.
    pub tempos: u64,
    /// Key changes left out.
    pub keys: u64,
}

impl Losses {
    /// Notes that are still there.
    pub fn kept(&self) -> u64 {
        self.notes - self.merged - self.beyond
    }
}

impl std::ops::AddAssign for Losses {
    fn add_assign(&mut self, other: Self) {
        self.notes += other.notes;
        self.merged += other.merged;
        self.beyond += other.beyond;
        self.cut += other.cut;
        self.capped += other.capped;
        self.durations += other.durations;
        self.moved += other.moved;
        self.velocities += other.velocities;
        self.tracks += other.tracks;
        self.metres += other.metres;
        self.tempos += other.tempos;
        self.keys += other.keys;
    }
}

/// The nearest score that an encoding with these settings can say, and what that cost. Idempotent.
///
/// Drum notes last one grid position: a drum's end is not heard. A note that ends where its pitch is
/// struck again has the longest duration before it that can be said; with offsets it may be shorter
/// than all of them, where the next strike is nearer.
pub fn quantize(score: &Score, settings: &Settings) -> (Score, Losses) {
    let mut losses = Losses {
        notes: score.note_count() as u64,
        keys: score.keys.len() as u64,
        ..Losses::default()
    };
    let shorter = shortened(score, settings);
    let score = shorter.as_ref().unwrap_or(score);
    losses.beyond = losses.notes - score.note_count() as u64;
    let metres = quantize_metres(&score.metres, last_onset(score), settings, &mut losses);
    let grid = Grid {
        metres: &metres,
        step: settings.step(),
    };
    let tracks = quantize_tracks(&score.tracks, &grid, settings, &mut losses);
    let end = tracks
        .iter()
        .flat_map(|track| &track.notes)
        .map(Note::end)
        .max()
        .unwrap_or_default();
    let mut quantized = Score {
        tracks,
        metres,
        end,
        ..Score::default()
    };
    quantized.end = quantized.bars().last().map_or(end, |bar| bar.end);
    quantized.metres.retain(|metre| metre.at < quantized.end);
    quantized.tempos = quantize_tempos(score, &quantized, settings, &mut losses);
    (quantized, losses)
}

/// The score without the notes behind its first [`MAX_BARS`] bars; `None` where there are none.
fn shortened(score: &Score, settings: &Settings) -> Option<Score> {
    let last = last_onset(score);
    // A start may still go up to the next position.
    let end = Ticks(last.0.saturating_add(settings.step()));
    // Few scores are so long that their bars must be counted: no bar is shorter than a position.
    if end.0 / settings.step() < MAX_BARS as u32 {
        return None;
    }
    let metres = &quantize_metres(&score.metres, last, settings, &mut Losses::default());
    let bars = Score {
        metres: metres.clone(),
        end,
        ..Score::default()
    };
    let limit = bars.bars().nth(MAX_BARS)?.start;
    let grid = Grid {
        metres,
        step: settings.step(),
    };
    let mut score = score.clone();
    for track in &mut score.tracks {
        track.notes.retain(|note| grid.nearest(note.start) < limit);
    }
    Some(score)
}

/// Where the last note starts.
fn last_onset(score: &Score) -> Ticks {
    let notes = score.tracks.iter().flat_map(|track| &track.notes);
    notes.map(|note| note.start).max().unwrap_or_default()
}

/// Metres of the vocabulary whose changes fall on bar lines, the first at 0. A bar that a change
/// cuts short becomes a bar of its own metre, where there is one; elsewhere the change waits for
/// the bar line. Changes after `last`, the last onset, are left out.
fn quantize_metres(
    metres: &[Metre],
    last: Ticks,
    settings: &Settings,
    losses: &mut Losses,
) -> Vec<Metre> {
    let known = settings.metres();
    let mut result: Vec<Metre> = Vec::new();
    let push = |result: &mut Vec<Metre>, at: Ticks, (numerator, denominator): (u8, u8)| {
        result.pop_if(|replaced| replaced.at == at);
        let before = result
            .last()
            .map(|metre| (metre.numerator, metre.denominator));
        if before != Some((numerator, denominator)) {
            result.push(Metre {
                at,
                numerator,
                denominator,
            });
        }
    };
    let mut at = Ticks(0);
    let mut ahead = metres.iter().filter(|metre| metre.at <= last).peekable();
    loop {
        // The last metre said up to here is the one in force.
        let mut said = None;
        while let Some(metre) = ahead.next_if(|metre| metre.at <= at) {
            said = Some((metre.numerator, metre.denominator));
        }
        let before = result.last().map_or_else(
            || settings.nearest_metre(4, 4),
            |metre| (metre.numerator, metre.denominator),
        );
        let current = match said {
            Some((numerator, denominator)) => settings.nearest_metre(numerator, denominator),
            None => before,
        };
        losses.metres += u64::from(said.is_some_and(|said| said != current));
        push(&mut result, at, current);
        let Some(next) = ahead.peek() else { break };
        let bar = Metre {
            at,
            numerator: current.0,
            denominator: current.1,
        }
        .bar();
        let length = next.at - at;
        let rest = length.0 % bar.0;
        at = Ticks(next.at.0 - rest);
        if rest == 0 {
            continue;
        }
        losses.metres += 1;
        let own = [current.1, 2, 4, 8, 16]
            .into_iter()
            .find_map(|denominator| {
                let part = TICKS_PER_WHOLE / u32::from(denominator);
                let metre = (u8::try_from(rest / part).ok()?, denominator);
                (rest.is_multiple_of(part) && known.contains(&metre)).then_some(metre)
            });
        match own {
            Some(metre) => {
                push(&mut result, at, metre);
                at = next.at;
            }
            None => at += bar,
        }
    }
    result.retain(|metre| metre.at <= last);
    result
}

/// Bar lines and the grid between them.
struct Grid<'a> {
    metres: &'a [Metre],
    step: u32,
}

impl Grid<'_> {
    /// The nearest grid position, the later one of two equally near. Bars are whole steps, so
    /// that the grid of a metre goes on evenly from its first bar line to the next metre's.
    fn nearest(&self, at: Ticks) -> Ticks {
        let after = self.metres.partition_point(|metre| metre.at <= at);
        let start = self.metres[after - 1].at.0;
        let grid = start + (at.0 - start + self.step / 2) / self.step * self.step;
        Ticks(
            self.metres
                .get(after)
                .map_or(grid, |next| grid.min(next.at.0)),
        )
    }
}

fn quantize_tracks(
    tracks: &[Track],
    grid: &Grid,
    settings: &Settings,
    losses: &mut Losses,
) -> Vec<Track> {
    let durations = Durations::new(settings);
    let mut parts: BTreeMap<(bool, Instrument), Vec<Note>> = BTreeMap::new();
    for track in tracks.iter().filter(|track| !track.notes.is_empty()) {
        let part = parts.entry((!track.instrument.is_drums(), track.instrument));
        losses.tracks += u64::from(matches!(
            part,
            std::collections::btree_map::Entry::Occupied(_)
        ));
        let drums = track.instrument.is_drums();
        part.or_default().extend(track.notes.iter().map(|note| {
            let start = grid.nearest(note.start);
            let velocity = settings.velocity_of_bin(settings.velocity_bin(note.velocity));
            let length = note.end().saturating_sub(start).0;
            let steps = ((length + grid.step / 2) / grid.step).max(1);
            let duration = if drums {
                durations.shortest().min(Ticks(steps * grid.step))
            } else {
                let duration = durations.nearest(Ticks(steps * grid.step));
                let capped = steps * grid.step > durations.longest().0;
                losses.capped += u64::from(capped);
                losses.durations += u64::from(!capped && duration.0 != steps * grid.step);
                duration
            };
            losses.moved += u64::from(start != note.start);
            losses.velocities += u64::from(velocity != note.velocity);
            Note {
                start,
                pitch: note.pitch,
                duration,
                velocity,
            }
        }));
    }
    parts
        .into_iter()
        .map(|((_, instrument), mut notes)| {
            notes.sort_unstable();
            let given = notes.len();
            // Of equal notes the longest stays, with the greatest velocity.
            notes.dedup_by(|later, first| {
                let equal = (later.start, later.pitch) == (first.start, first.pitch);
                if equal {
                    first.duration = later.duration;
                    first.velocity = first.velocity.max(later.velocity);
                }
                equal
            });
            losses.merged += (given - notes.len()) as u64;
            losses.cut += durations.fit(&mut notes);
            Track {
                instrument,
                name: instrument.to_string(),
                notes,
            }
        })
        .collect()
}

/// The durations that can be said.
pub(crate) struct Durations(Vec<Ticks>);

impl Durations {
    pub(crate) fn new(settings: &Settings) -> Self {
        let ticks = |positions: u32| Ticks(positions * settings.position());
        Self(settings.durations().into_iter().map(ticks).collect())
    }

    fn shortest(&self) -> Ticks {
        self.0.first().copied().unwrap_or_default()
    }

    fn longest(&self) -> Ticks {
        self.0.last().copied().unwrap_or_default()
    }

    /// The longest that is no longer than `duration`; the shortest where there is none.
    fn at_most(&self, duration: Ticks) -> Ticks {
        let longer = self.0.partition_point(|&known| known <= duration);
        self.0[..longer].last().copied().unwrap_or(self.shortest())
    }

    /// Ends each note where its pitch is struck again or, where that is no duration that can be said, at
    /// the longest one before; a note that is shorter than all of them lasts as long as the shortest, if
    /// its pitch is not struck before. Returns how many ended early. `notes` are one instrument's, sorted,
    /// no two equal in start and pitch.
    pub(crate) fn fit(&self, notes: &mut [Note]) -> u64 {
        let cut = cut_overlaps(notes);
        for note in notes.iter_mut() {
            note.duration = self.at_most(note.duration);
        }
        cut_overlaps(notes);
        cut
    }

    /// The nearest, the longer one of two equally near; what is shorter than all stays.
    fn nearest(&self, duration: Ticks) -> Ticks {
        if duration < self.shortest() {
            return duration;
        }
        let below = self.at_most(duration);
        let above = self
            .0
            .get(self.0.partition_point(|&known| known < duration));
        match above {
            Some(&above) if above.saturating_sub(duration) <= duration.saturating_sub(below) => {
                above
            }
            _ => below,
        }
    }
}

/// Ends each note where its pitch is struck again; returns how many ended early. `notes` are one
/// instrument's, sorted, no two equal in start and pitch.
fn cut_overlaps(notes: &mut [Note]) -> u64 {
    let mut next: [Option<Ticks>; 128] = [None; 128];
    let mut cut = 0;
    for note in notes.iter_mut().rev() {
        let struck = &mut next[usize::from(note.pitch & 127)];
        if let Some(at) = *struck
            && at < note.end()
        {
            note.duration = at - note.start;
            cut += 1;
        }
        *struck = Some(note.start);
    }
    cut
}

/// For each bar of `quantized` the nearest bin to the mean tempo of the original there.
fn quantize_tempos(
    original: &Score,
    quantized: &Score,
    settings: &Settings,
    losses: &mut Losses,
) -> Vec<Tempo> {
    let mut result: Vec<Tempo> = Vec::new();
    let mut ahead = original.tempos.iter().peekable();
    let mut micros = Tempo::DEFAULT_MICROS;
    for bar in quantized.bars() {
        let (mut at, mut weighted) = (bar.start, 0.0);
        while let Some(tempo) = ahead.next_if(|tempo| tempo.at < bar.end) {
            let to = tempo.at.max(at);
            weighted += f64::from((to - at).0) * f64::from(micros);
            (at, micros) = (to, tempo.micros_per_quarter);
        }
        weighted += f64::from((bar.end - at).0) * f64::from(micros);
        let mean = weighted / f64::from((bar.end - bar.start).0);
        let micros_per_quarter = match settings.tempos {
            true => tempo_of_bin(tempo_bin(mean)),
            false => Tempo::DEFAULT_MICROS,
        };
        if result
            .last()
            .is_none_or(|before| before.micros_per_quarter != micros_per_quarter)
        {
            result.push(Tempo {
                at: bar.start,
                micros_per_quarter,
            });
        }
    }
    losses.tempos += original
        .tempos
        .iter()
        .filter(|tempo| !result.contains(tempo))
        .count() as u64;
    result
}
