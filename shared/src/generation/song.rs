//! A song to be written: a grid of cells, track by bar, of which each is known or wanted.
//!
//! *Known* is what the user wrote, locked or lets be heard; it stays as it is, note for note. *Wanted* is
//! all else. So to go on, to extend, to accompany, to vary, to fill in and to begin anew are one request with
//! other cells. What is wanted obeys what is said of its track ([`SongTrack`]) and of all tracks (key and
//! chords): see `steer`, which has the model say nothing else.

use std::collections::BTreeSet;

use crate::encoding::{BarState, Conditioning, Encoding, controls};
use crate::instrument::{Class, Instrument, InstrumentSet};
use crate::quantize::{self, quantize};
use crate::sampling;
use crate::score::{Bar, Metre, Note, Score, Tempo, Ticks, Track};
use crate::theory::rules::{Hold, Limits};
use crate::theory::scale::Mode;
use crate::theory::{Chord, Progression, Scale};

mod check;
mod compose;

pub use check::SongError;
pub use compose::{Composer, RETRIES, Seen, compose, compose_all, compose_watched};

/// Metre and tempo of a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SongBar {
    /// Its metre; one that the model has.
    pub metre: Metre,
    /// Its tempo in microseconds a quarter. The model hears the nearest that it has.
    pub micros_per_quarter: u32,
}

/// 4/4 at 120 quarters a minute.
impl Default for SongBar {
    fn default() -> Self {
        Self {
            metre: Metre::COMMON,
            micros_per_quarter: Tempo::DEFAULT_MICROS,
        }
    }
}

impl SongBar {
    /// The same in the metre of a model with these settings that is nearest.
    pub fn nearest(self, settings: &quantize::Settings) -> Self {
        let (numerator, denominator) =
            settings.nearest_metre(self.metre.numerator, self.metre.denominator);
        let metre = Metre {
            numerator,
            denominator,
            ..self.metre
        };
        Self { metre, ..self }
    }
}

/// The share of cells in which an instrument begins a note at least, where nothing else is asked: about that of
/// real pieces, between the first and the last note of each.
pub fn least_filled(instrument: Instrument) -> f32 {
    match instrument.class() {
        Class::Drums => 0.98,
        Class::Bass | Class::Piano => 0.97,
        Class::Guitar | Class::Organ => 0.92,
        _ => 0.78,
    }
}

/// What is asked of a track.
#[derive(Clone, Debug, PartialEq)]
pub struct SongTrack {
    /// What plays it. No two tracks have the same.
    pub instrument: Instrument,
    /// What the model is told of it: density, polyphony and register, as levels.
    pub controls: controls::Track,
    /// What holds whatever the model does, of what it writes. A drum has no length: of the drum kit lengths
    /// say nothing.
    pub limits: Limits,
    /// Whether it may be silent throughout. Then nothing is asked of how often it plays.
    pub may_rest: bool,
    /// The share of its wanted cells that must not be empty at least, 0 to 1, see [`least_filled`]; and never none
    /// of them.
    pub least_filled: f32,
}

impl SongTrack {
    /// A track of which nothing is asked but to play.
    pub fn new(instrument: Instrument) -> Self {
        Self {
            instrument,
            controls: controls::Track::default(),
            limits: Limits::default(),
            may_rest: false,
            least_filled: least_filled(instrument),
        }
    }

    /// What the model is told: of a density that must hold the level in the middle, where no other was named.
    fn told(&self) -> controls::Track {
        let (first, last) = (*self.limits.density.start(), *self.limits.density.end());
        let held = *Limits::default().density.end() > last || first > 0;
        let last = last.min(controls::DENSITIES as u8 - 1);
        let middle = held.then(|| first.min(last) + last.saturating_sub(first) / 2);
        controls::Track {
            density: self.controls.density.or(middle),
            ..self.controls
        }
    }
}

/// What is asked of a song.
#[derive(Clone, Debug, PartialEq)]
pub struct Song {
    /// Bars in all, known ones too, at least 1. Bars stream for as long as they are taken where it is
    /// `u32::MAX`; their places are in ticks, of which there are enough for a million of bars in 4/4.
    pub length: u32,
    /// Metre and tempo of each bar, at least of the first; where there are more bars they go on as the last.
    pub bars: Vec<SongBar>,
    /// What plays. Where nothing is named: what plays what is known, and where nothing is known what the
    /// model likes.
    pub tracks: Vec<SongTrack>,
    /// The key of what is wanted.
    pub key: Option<(Scale, Hold)>,
    /// Its chords, from the song's first bar on.
    pub chords: Option<(Progression, Hold)>,
    /// What is known. Its metres and tempos say nothing: [`Song::bars`] does. What begins behind the last bar is
    /// left out.
    pub known: Score,
    /// The cells that are wanted, by bar and instrument, of those of `tracks`. `None`: all that the known
    /// music has not, which are those of instruments that it lacks, and those behind its last bar.
    pub wanted: Option<BTreeSet<(u32, Instrument)>>,
    /// Index into the vocabulary's genres; 0 is *any*.
    pub genre: u16,
    /// The same song with the same seed has the same notes.
    pub seed: u64,
    /// How tokens are drawn.
    pub sampling: sampling::Settings,
    /// Ends the song with the bar in which this many tokens were drawn.
    pub max_tokens: Option<usize>,
}

impl Song {
    /// One of `length` bars like `bar`, of which nothing else is asked.
    pub fn new(length: u32, bar: SongBar) -> Self {
        Self {
            length,
            bars: vec![bar],
            tracks: Vec::new(),
            key: None,
            chords: None,
            known: Score::default(),
            wanted: None,
            genre: 0,
            seed: 0,
            sampling: sampling::Settings::default(),
            max_tokens: None,
        }
    }

    /// Asks nothing of these instruments but to play.
    pub fn band(self, instruments: InstrumentSet) -> Self {
        let tracks = instruments.iter().map(SongTrack::new).collect();
        Self { tracks, ..self }
    }

    /// Whether anything is asked that the model may not do by itself.
    fn needs_steering(&self) -> bool {
        let limited = |track: &SongTrack| track.limits != Limits::default();
        self.key.is_some()
            || self.chords.is_some()
            || self.wanted.is_some()
            || self.known.note_count() > 0
            || self.tracks.iter().any(limited)
    }

    /// What is in force in bar `index`.
    fn state(&self, index: u32) -> SongBar {
        let stated = self.bars.get(index as usize).or(self.bars.last());
        stated.copied().unwrap_or_default()
    }

    /// What the model is told of all of it; metre and tempo are of each bar.
    fn conditioning(&self) -> Conditioning {
        let mut tracks = controls::Tracks::default();
        for track in &self.tracks {
            tracks.ask(track.instrument, track.told());
        }
        let scale = self.key.map(|(scale, _)| scale);
        let scale = scale.filter(|scale| scale.mode() != Mode::Chromatic);
        Conditioning {
            genre: self.genre,
            instruments: Some(self.players()).filter(|players| !players.is_empty()),
            key: scale.map(|scale| controls::key_number(scale.tonality(), 0)),
            tracks,
            ..Conditioning::default()
        }
    }

    /// All that plays, wanted or known.
    fn players(&self) -> InstrumentSet {
        let asked = self.tracks.iter().map(|track| track.instrument);
        let known = self.known.tracks.iter();
        let known = known.filter(|track| !track.notes.is_empty());
        asked.chain(known.map(|track| track.instrument)).collect()
    }
}

/// A song with the places of its bars and cells.
#[derive(Debug)]
pub(super) struct Cells {
    pub(super) song: Song,
    /// Where each bar of [`Song::bars`] begins.
    starts: Vec<Ticks>,
    /// Bars that begin before the known music ends.
    known_bars: u32,
    /// What plays the known music.
    known_band: InstrumentSet,
}

impl Cells {
    fn new(mut song: Song) -> Self {
        if song.tracks.is_empty() {
            let tracks = song.players().iter().map(|instrument| SongTrack {
                may_rest: true,
                ..SongTrack::new(instrument)
            });
            song.tracks = tracks.collect();
        }
        let mut at = Ticks(0);
        let starts = song.bars.iter().map(|bar| {
            let start = at;
            at = Ticks(at.0.saturating_add(bar.metre.bar().0));
            start
        });
        let mut cells = Self {
            starts: starts.collect(),
            known_bars: 0,
            known_band: song.known.tracks.iter().map(|t| t.instrument).collect(),
            song,
        };
        let known = &cells.song.known;
        let notes = known.tracks.iter().flat_map(|track| &track.notes);
        let last = notes.map(|note| Ticks(note.start.0 + 1)).max();
        if let Some(end) = last.map(|last| last.max(known.end)) {
            let last = cells.number_at(Ticks(end.0.saturating_sub(1)));
            cells.known_bars = last.saturating_add(1).min(cells.song.length);
        }
        cells
    }

    /// Bar `index`.
    pub(super) fn bar(&self, index: u32) -> Bar {
        let metre = self.song.state(index).metre;
        let last = self.starts.len().saturating_sub(1) as u32;
        let stated = index.min(last);
        let start = self.starts.get(stated as usize).map_or(0, |start| start.0);
        let length = metre.bar().0;
        let start = start.saturating_add((index - stated).saturating_mul(length));
        let end = start.saturating_add(length);
        Bar {
            start: Ticks(start),
            end: Ticks(end),
            metre: Metre {
                at: Ticks(start),
                ..metre
            },
        }
    }

    /// The number of the bar at `at`.
    fn number_at(&self, at: Ticks) -> u32 {
        let stated = self.starts.partition_point(|start| *start <= at).max(1) - 1;
        let bar = self.bar(stated as u32);
        match stated + 1 == self.starts.len() {
            true => stated as u32 + at.saturating_sub(bar.start).0 / bar.metre.bar().0.max(1),
            false => stated as u32,
        }
    }

    /// The chord of bar `index`, the first where it has two.
    pub(super) fn chord(&self, index: u32) -> Option<Chord> {
        let (progression, _) = self.song.chords.as_ref()?;
        let bars = [self.bar(index)];
        let mut over = progression.over(&bars, index as usize);
        over.next().map(|(_, symbol)| symbol.chord)
    }

    /// Where the song ends.
    pub(super) fn end(&self) -> Ticks {
        let behind = self.bar(self.song.length);
        behind.start
    }

    /// Whether a cell is wanted.
    pub(super) fn wants(&self, bar: u32, instrument: Instrument) -> bool {
        let mut tracks = self.song.tracks.iter();
        let asked = tracks.any(|track| track.instrument == instrument);
        asked
            && bar < self.song.length
            && match &self.song.wanted {
                Some(wanted) => wanted.contains(&(bar, instrument)),
                None => bar >= self.known_bars || !self.known_band.contains(instrument),
            }
    }

    /// Whether any cell of a bar is wanted.
    fn wants_any(&self, bar: u32) -> bool {
        let mut tracks = self.song.tracks.iter();
        tracks.any(|track| self.wants(bar, track.instrument))
    }

    /// The first of the bars of which all is wanted, where that is all that is.
    fn tail(&self) -> Option<u32> {
        let (band, length) = (self.song.players(), self.song.length);
        let all = band.len() == self.song.tracks.len();
        let cells = |from: u32| (length - from.min(length)) as usize * band.len();
        match &self.song.wanted {
            Some(_) => {
                let wanted = self.wanted();
                let from = wanted.first().map_or(length, |(bar, _)| *bar);
                (all && wanted.len() == cells(from)).then_some(from)
            }
            None => {
                let new = |instrument: Instrument| !self.known_band.contains(instrument);
                let known = self.known_bars;
                let behind = known == 0 || !band.iter().any(new);
                (all && behind).then_some(known)
            }
        }
    }

    /// The wanted cells of those that the user named.
    fn wanted(&self) -> BTreeSet<(u32, Instrument)> {
        let named = self.song.wanted.iter().flatten().copied();
        named
            .filter(|&(bar, instrument)| self.wants(bar, instrument))
            .collect()
    }

    /// Notes of the known music that stay, of `track`.
    fn kept<'a>(&'a self, track: &'a Track) -> impl Iterator<Item = Note> + 'a {
        let end = self.end();
        let notes = track.notes.iter().copied();
        notes.filter(move |note| {
            let bar = self.number_at(note.start);
            note.start < end && !self.wants(bar, track.instrument)
        })
    }

    /// What is known of an instrument, in order.
    pub(super) fn known(&self, instrument: Instrument) -> Vec<Note> {
        let tracks = self.song.known.tracks.iter();
        let tracks = tracks.filter(|track| track.instrument == instrument);
        let mut notes: Vec<Note> = tracks.flat_map(|track| self.kept(track)).collect();
        notes.sort_unstable();
        notes
    }

    /// The tracks of the known music with what stays of them.
    fn known_tracks(&self) -> Vec<Track> {
        let tracks = self.song.known.tracks.iter().map(|track| Track {
            notes: self.kept(track).collect(),
            ..track.clone()
        });
        tracks.collect()
    }

    /// The song's first `bars` bars with what `tracks` play.
    fn score(&self, tracks: Vec<Track>, bars: u32) -> Score {
        let mut score = Score {
            tracks,
            end: self.bar(bars).start,
            ..Score::default()
        };
        let stated = self.song.bars.len().min(bars as usize) as u32;
        let metre = |bar: SongBar| (bar.metre.numerator, bar.metre.denominator);
        for index in 0..stated {
            let (bar, state) = (self.bar(index), self.song.state(index));
            let before = index.checked_sub(1).map(|before| self.song.state(before));
            if before.map(metre) != Some(metre(state)) {
                score.metres.push(bar.metre);
            }
            let micros_per_quarter = state.micros_per_quarter;
            if before.map(|before| before.micros_per_quarter) != Some(micros_per_quarter) {
                score.tempos.push(Tempo {
                    at: bar.start,
                    micros_per_quarter,
                });
            }
        }
        score
    }

    /// The first `bars` bars with what is known of them, as a model can be told it.
    fn known_score(&self, bars: u32, settings: &quantize::Settings) -> Score {
        let frame = self.score(self.known_tracks(), bars);
        let (mut quantized, _) = quantize(&frame, settings);
        // A quantized score ends with its last note; the song goes on.
        for track in &mut quantized.tracks {
            track.notes.retain(|note| note.start < frame.end);
        }
        quantized.tracks.retain(|track| !track.notes.is_empty());
        Score {
            tracks: quantized.tracks,
            ..frame
        }
    }

    /// The whole song: what is known as it was, and `written`, whose notes are counted from the song's
    /// beginning.
    fn whole(&self, written: impl IntoIterator<Item = (Instrument, Note)>) -> Score {
        let mut tracks = self.known_tracks();
        for (instrument, note) in written {
            let known = tracks.iter().position(|t| t.instrument == instrument);
            let index = known.unwrap_or_else(|| {
                tracks.push(Track {
                    instrument,
                    name: instrument.to_string(),
                    notes: Vec::new(),
                });
                tracks.len() - 1
            });
            tracks[index].notes.push(note);
        }
        tracks
            .iter_mut()
            .for_each(|track| track.notes.sort_unstable());
        Score {
            keys: self.song.known.keys.clone(),
            ..self.score(tracks, self.song.length)
        }
    }

    /// What is in force in each bar that [`Song::bars`] says, as tokens.
    fn states(&self, encoding: &dyn Encoding) -> Vec<BarState> {
        let bars = self.song.bars.iter();
        bars.map(|bar| encoding.bar_state(bar.metre, bar.micros_per_quarter))
            .collect()
    }
}
