//! The bars of a stream, as all encodings write and read them.

use std::collections::{BTreeMap, VecDeque};

use super::lexicon::{Kind, Lexicon};
use super::*;
use crate::chord::Chord;
use crate::quantize::{Durations, Settings};
use crate::score::{Bar, Tempo, Ticks, Track};

/// The bars of a quantized score and what is in force in each: what all its bodies have in common.
pub(super) struct Frame<'a> {
    lexicon: &'a Lexicon,
    bars: Vec<(Bar, BarState)>,
    /// The token of each bar's chord, where chords are said.
    chords: Vec<Token>,
}

impl<'a> Frame<'a> {
    pub(super) fn new(lexicon: &'a Lexicon, score: &Score) -> Self {
        let state = |bar: &Bar| BarState {
            metre: lexicon.metre_token(bar.metre.numerator, bar.metre.denominator),
            tempo: lexicon.tempo_token(score.tempo_at(bar.start)),
        };
        let mut chords = Vec::new();
        if lexicon.settings().chords {
            let bars: Vec<Bar> = score.bars().collect();
            let token = |chord: Chord| lexicon.token(Kind::Chord, chord.index());
            chords.extend(Chord::of_bars(score, &bars).into_iter().map(token));
        }
        let bars = score.bars().map(|bar| (bar, state(&bar))).collect();
        Self {
            lexicon,
            bars,
            chords,
        }
    }

    /// The end of the last bar.
    pub(super) fn end(&self) -> Ticks {
        self.bars
            .last()
            .map_or_else(Ticks::default, |(bar, _)| bar.end)
    }

    /// The body of what `instruments` play: `music` appends what each bar says.
    pub(super) fn body(
        &self,
        instruments: InstrumentSet,
        mut music: impl FnMut(&Bar, &mut Vec<Token>),
    ) -> Body {
        let mut body = Body {
            instruments,
            ..Body::default()
        };
        let tokens = &mut body.tokens;
        let mut before: Option<BarState> = None;
        for (i, (bar, state)) in self.bars.iter().enumerate() {
            body.bars.push(tokens.len() as u32);
            tokens.push(self.lexicon.token(Kind::Bar, 0u16));
            let in_force = before.map(|before| [before.metre, before.tempo]);
            let changed = |token: &Token| in_force.is_none_or(|tokens| !tokens.contains(token));
            tokens.extend(self.lexicon.said(*state).filter(changed));
            before = Some(*state);
            body.states.push(*state);
            tokens.extend(self.chords.get(i));
            let opened = tokens.len();
            music(bar, tokens);
            if tokens.len() == opened {
                tokens.extend(self.lexicon.rest());
            }
        }
        tokens.push(self.lexicon.token(Kind::Eos, 0u16));
        body
    }
}

/// The bars of a stream that is being read. [`Encoding::decode_bar`] puts bars in; a bar comes out
/// when all its notes have ended.
#[derive(Clone, Debug)]
pub struct Bars {
    /// What plays the pitches of a monophonic stream.
    pub(super) instrument: Instrument,
    metre: Metre,
    /// Those that did not come out yet.
    bars: VecDeque<BarContent>,
    /// The number of the first of them.
    first: usize,
    /// Where the last one begins and ends, in ticks from the first that was put in.
    start: u64,
    end: u64,
    sounding: Vec<Sounding>,
}

/// A note whose end was not said yet. In its bar it has the longest duration that it can have.
#[derive(Clone, Copy, Debug)]
struct Sounding {
    bar: usize,
    /// Index into the bar's notes.
    note: usize,
    pitch: u8,
    start: u64,
    /// Where it ends if nothing says so before.
    latest: u64,
}

impl Bars {
    /// For the bars after `head`.
    pub(super) fn new(lexicon: &Lexicon, head: &[Token]) -> Self {
        let instruments = lexicon.run(Kind::Instrument);
        let mut said = head.iter().filter(|&token| instruments.contains(token));
        let instrument = said.next().map(|token| (token - instruments.start) as u8);
        Self {
            instrument: instrument.and_then(Instrument::new).unwrap_or_default(),
            metre: Metre::COMMON,
            bars: VecDeque::new(),
            first: 0,
            start: 0,
            end: 0,
            sounding: Vec::new(),
        }
    }

    /// Begins a bar with what its first tokens state; returns what the others say.
    pub(super) fn begin<'t>(
        &mut self,
        lexicon: &'t Lexicon,
        tokens: &'t [Token],
    ) -> impl Iterator<Item = (Kind, u16)> + use<'t> {
        let (stated, music) = tokens.split_at(lexicon.after_state(tokens).min(tokens.len()));
        let mut bar = BarContent::default();
        for word in stated.iter().filter_map(|&token| lexicon.word(token)) {
            match word {
                (Kind::Metre, metre) => bar.metre = Some(lexicon.metre_of(metre)),
                (Kind::Tempo, bin) => bar.micros_per_quarter = Some(lexicon.tempo_of(bin)),
                _ => {}
            }
        }
        if self.first == 0 && self.bars.is_empty() {
            // What streams do not say is in force from the first bar on.
            if !lexicon.says_metres() {
                bar.metre = Some(lexicon.metre_of(0));
            }
            if !lexicon.says_tempos() {
                bar.micros_per_quarter = Some(lexicon.tempo_of(0));
            }
        }
        self.metre = bar.metre.unwrap_or(self.metre);
        self.start = self.end;
        self.end += u64::from(self.metre.bar().0);
        self.bars.push_back(bar);
        music.iter().filter_map(|&token| lexicon.word(token))
    }

    /// A whole note of the last bar.
    pub(super) fn note(&mut self, instrument: Instrument, note: Note) {
        if let Some(bar) = self.bars.back_mut() {
            bar.notes.push((instrument, note));
        }
    }

    /// A note of the last bar that sounds until [`Bars::release`], but not longer than it says.
    pub(super) fn strike(&mut self, instrument: Instrument, note: Note) {
        let Some(bar) = self.bars.back() else { return };
        let start = self.start + u64::from(note.start.0);
        self.sounding.push(Sounding {
            bar: self.first + self.bars.len() - 1,
            note: bar.notes.len(),
            pitch: note.pitch,
            start,
            latest: start + u64::from(note.duration.0),
        });
        self.note(instrument, note);
    }

    /// Ends `pitch` at a time in the last bar; nothing where it does not sound.
    pub(super) fn release(&mut self, pitch: u8, at: Ticks) {
        let at = self.start + u64::from(at.0);
        self.end_where(at, |note| note.pitch == pitch && note.latest > at);
    }

    /// Ends at the end of the last bar what was struck before the last `keep` bars and still sounds.
    pub(crate) fn release_before(&mut self, keep: usize) {
        let kept = (self.first + self.bars.len()).saturating_sub(keep);
        let end = self.end;
        self.end_where(end, |note| note.bar < kept && note.latest > end);
    }

    /// Nothing follows: what sounds ends with the last bar.
    pub(crate) fn finish(&mut self) {
        self.release_before(0);
    }

    fn end_where(&mut self, at: u64, ends: impl Fn(&Sounding) -> bool) {
        let (bars, first) = (&mut self.bars, self.first);
        self.sounding.retain(|sounding| {
            let ended = ends(sounding);
            let bar = bars.get_mut(sounding.bar.wrapping_sub(first));
            if let (true, Some(bar)) = (ended, bar)
                && let Some((_, note)) = bar.notes.get_mut(sounding.note)
            {
                note.duration = Ticks((at - sounding.start) as u32);
            }
            !ended
        });
    }
}

/// Takes out the next bar, when all its notes have ended.
impl Iterator for Bars {
    type Item = BarContent;

    fn next(&mut self) -> Option<BarContent> {
        let (first, end) = (self.first, self.end);
        self.sounding.retain(|note| note.latest > end);
        if self.sounding.iter().any(|note| note.bar == first) {
            return None;
        }
        let bar = self.bars.pop_front()?;
        self.first += 1;
        Some(bar)
    }
}

/// The score that bars make, one after another, of what can be said with these settings.
pub(crate) fn score(bars: impl IntoIterator<Item = BarContent>, settings: &Settings) -> Score {
    let mut score = Score::default();
    let durations = Durations::new(settings);
    let mut parts = BTreeMap::<(bool, Instrument), Vec<Note>>::new();
    let mut metre = Metre::COMMON;
    for bar in bars {
        let at = score.end;
        if let Some(said) = bar.metre {
            metre = Metre { at, ..said };
            score.metres.push(metre);
        }
        if let Some(micros_per_quarter) = bar.micros_per_quarter {
            score.tempos.push(Tempo {
                at,
                micros_per_quarter,
            });
        }
        for (instrument, note) in bar.notes {
            let part = parts.entry((!instrument.is_drums(), instrument));
            part.or_default().push(Note {
                start: at + note.start,
                ..note
            });
        }
        score.end += metre.bar();
    }
    let tracks = parts.into_iter().map(|((_, instrument), mut notes)| {
        durations.fit(&mut notes);
        Track {
            instrument,
            name: instrument.to_string(),
            notes,
        }
    });
    score.tracks.extend(tracks);
    let notes = score.tracks.iter().flat_map(|track| &track.notes);
    let last = notes.map(Note::end).max().unwrap_or_default();
    score.end = score.end.max(last);
    score
}
