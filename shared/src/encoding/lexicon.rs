//! What the tokens of an encoding say: runs of tokens, one for each kind of thing.
//!
//! Every vocabulary begins with PAD, BOS, EOS, BAR, ANY INSTRUMENTS, the metres and the tempos, and
//! ends with what the settings ask for beside (rests, chords) and the genres, so that it grows
//! without moving a token. An encoding says what runs lie between. Of metres or tempos that are not
//! said there is one token, which is in no stream.

use std::ops::Range;

use super::*;
use crate::chord::Chord;
use crate::quantize::{Settings, TEMPO_BINS, tempo_bin, tempo_of_bin};
use crate::score::{Tempo, Ticks};

/// What a token is about. Beside each what its value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Pad,
    Bos,
    Eos,
    Bar,
    AnyInstruments,
    /// Index into [`Settings::metres`].
    Metre,
    /// Tempo bin.
    Tempo,
    /// Grid position in the bar.
    Position,
    /// How far behind its position an onset is, in parts of one less 1.
    Offset,
    /// Time that passes inside of a bar, in grid positions less 1.
    Shift,
    /// [`Instrument::index`].
    Instrument,
    /// A key of the drum kit is struck.
    Drum,
    /// A pitch is struck.
    Pitch,
    /// A pitch ends.
    End,
    /// Index into [`Settings::durations`].
    Duration,
    /// Velocity bin.
    Velocity,
    /// A track of a window begins.
    Track,
    /// How many notes a bar of it has: a level.
    Density,
    /// A bar of a track.
    BarStart,
    BarEnd,
    TrackEnd,
    /// A bar of a track that is said when all tracks were.
    Placeholder,
    /// Such a bar.
    FillStart,
    FillEnd,
    /// The number of a bar in a stream some of whose cells are said behind its bars.
    At,
    /// Such a cell.
    Wanted,
    /// Behind the bars of such a stream, before the cells.
    Separator,
    /// Behind the cells.
    Done,
    /// How many notes of a track sound together: a level.
    Polyphony,
    /// The octave of a track's median pitch.
    Register,
    /// A key: the tonic, and 12 more where it is minor.
    Key,
    /// A bar, or a track's, has no music.
    Rest,
    /// [`Chord::index`].
    Chord,
    Genre,
}

/// What a head says of a track, in this order.
pub(super) const CONTROLS: [Kind; 3] = [Kind::Density, Kind::Polyphony, Kind::Register];

/// Bars of a stream that can be said by their numbers.
pub(super) const MAX_NUMBERED_BARS: usize = 64;

/// Notes a bar from which on each level of density is, after the first.
const DENSITIES: [usize; 9] = [1, 2, 3, 4, 6, 8, 12, 16, 24];

impl Kind {
    const COUNT: usize = Kind::Genre as usize + 1;

    fn name(self) -> &'static str {
        match self {
            Kind::Pad => "pad",
            Kind::Bos => "bos",
            Kind::Eos => "eos",
            Kind::Bar => "bar",
            Kind::AnyInstruments => "any instruments",
            Kind::Metre => "metre",
            Kind::Tempo => "tempo",
            Kind::Position => "position",
            Kind::Offset => "offset",
            Kind::Shift => "time shift",
            Kind::Instrument => "instrument",
            Kind::Drum => "drum",
            Kind::Pitch => "pitch",
            Kind::End => "note end",
            Kind::Duration => "duration",
            Kind::Velocity => "velocity",
            Kind::Track => "track start",
            Kind::Density => "density",
            Kind::BarStart => "bar start",
            Kind::BarEnd => "bar end",
            Kind::TrackEnd => "track end",
            Kind::Placeholder => "fill placeholder",
            Kind::FillStart => "fill start",
            Kind::FillEnd => "fill end",
            Kind::At => "at",
            Kind::Wanted => "fill",
            Kind::Separator => "separator",
            Kind::Done => "done",
            Kind::Polyphony => "polyphony",
            Kind::Register => "register",
            Kind::Key => "key",
            Kind::Rest => "rest",
            Kind::Chord => "chord",
            Kind::Genre => "genre",
        }
    }
}

/// The vocabulary of an encoding.
#[derive(Clone, Debug)]
pub struct Lexicon {
    settings: Settings,
    /// Whether a stream has one instrument alone.
    monophonic: bool,
    /// Whether a velocity is said only where it changes in what an instrument plays in a bar.
    keeps_velocities: bool,
    /// What each token says.
    words: Vec<(Kind, u16)>,
    /// The first token of each kind and their number.
    runs: [(Token, u16); Kind::COUNT],
    /// (numerator, denominator) of each metre token.
    metres: Vec<(u8, u8)>,
    /// The durations that can be said, in grid positions.
    durations: Vec<u32>,
    /// Ticks from one grid position to the next.
    pub(crate) step: u32,
}

impl Lexicon {
    /// A vocabulary whose tokens between the tempos and the genres are of `kinds`, in this order.
    pub(super) fn new(
        settings: Settings,
        genres: usize,
        monophonic: bool,
        kinds: &[Kind],
    ) -> Result<Self, SettingsError> {
        settings.check()?;
        if settings.offsets > 1 && !kinds.contains(&Kind::Offset) {
            return Err(SettingsError {
                field: "offsets",
                value: settings.offsets.to_string(),
                expected: "expected 1: grid alone says offsets",
            });
        }
        let metres = settings.metres();
        let size = |kind| match kind {
            Kind::Metre => metres.len(),
            Kind::Tempo if !settings.tempos => 1,
            Kind::Tempo => usize::from(TEMPO_BINS),
            Kind::Rest => settings.rests.into(),
            Kind::Chord if !settings.chords => 0,
            Kind::Chord => Chord::COUNT,
            Kind::Position => settings.max_positions() as usize,
            Kind::Shift => settings.max_positions() as usize - 1,
            Kind::Offset => usize::from(settings.offsets) - 1,
            Kind::Instrument => Instrument::COUNT,
            Kind::Drum | Kind::Pitch | Kind::End => 128,
            Kind::Duration => settings.durations().len(),
            Kind::Velocity => usize::from(settings.velocity_bins),
            Kind::Density => DENSITIES.len() + 1,
            Kind::At => MAX_NUMBERED_BARS,
            Kind::Polyphony => controls::POLYPHONIES,
            Kind::Register => controls::REGISTERS,
            Kind::Key => controls::KEYS,
            Kind::Genre => genres,
            _ => 1,
        };
        let first = [
            Kind::Pad,
            Kind::Bos,
            Kind::Eos,
            Kind::Bar,
            Kind::AnyInstruments,
            Kind::Metre,
            Kind::Tempo,
        ];
        let order: Vec<Kind> = [&first, kinds, &[Kind::Rest, Kind::Chord, Kind::Genre]].concat();
        let end: usize = order.iter().map(|&kind| size(kind)).sum();
        if genres == 0 || genres > 4096 || end > usize::from(Token::MAX) {
            let expected = "expected 1 (any alone) to 4096, and a vocabulary below 65,536";
            return Err(SettingsError {
                field: "genres",
                value: genres.to_string(),
                expected,
            });
        }
        let (mut words, mut runs) = (Vec::with_capacity(end), [(0, 0); Kind::COUNT]);
        for kind in order {
            runs[kind as usize] = (words.len() as Token, size(kind) as u16);
            words.extend((0..size(kind) as u16).map(|value| (kind, value)));
        }
        let (step, durations) = (settings.step(), settings.durations());
        Ok(Self {
            settings,
            monophonic,
            keeps_velocities: false,
            words,
            runs,
            metres,
            durations,
            step,
        })
    }

    /// One whose velocities are said only where they change.
    pub(super) fn keeping_velocities(self) -> Self {
        Self {
            keeps_velocities: true,
            ..self
        }
    }

    /// Whether a velocity holds on for what an instrument plays in a bar.
    pub(crate) fn keeps_velocities(&self) -> bool {
        self.keeps_velocities
    }

    /// The tokens of a kind; empty where the encoding has none.
    pub(crate) fn run(&self, kind: Kind) -> Range<Token> {
        let (start, size) = self.runs[kind as usize];
        start..start + size
    }

    /// The token of a kind that the encoding has, for a value that the kind has.
    pub(crate) fn token(&self, kind: Kind, value: impl Into<u16>) -> Token {
        self.runs[kind as usize].0 + value.into()
    }

    /// What a token says; `None` where it is none.
    pub(crate) fn word(&self, token: Token) -> Option<(Kind, u16)> {
        self.words.get(usize::from(token)).copied()
    }

    /// Whether the encoding says velocities.
    pub(super) fn has_velocities(&self) -> bool {
        self.settings.velocity_bins > 0
    }

    /// The token of a velocity, where the encoding says velocities.
    pub(super) fn velocity(&self, velocity: u8) -> Option<Token> {
        let bin = self.settings.velocity_bin(velocity);
        self.has_velocities()
            .then(|| self.token(Kind::Velocity, bin))
    }

    /// The velocity of a bin.
    pub(super) fn velocity_of(&self, bin: u16) -> u8 {
        self.settings.velocity_of_bin(bin)
    }

    /// So many grid positions.
    pub(super) fn steps(&self, steps: u16) -> Ticks {
        Ticks(u32::from(steps) * self.step)
    }

    /// What says an onset so far behind its bar line: a position, and the offset where there is one.
    pub(super) fn onset(&self, start: Ticks) -> impl Iterator<Item = Token> + use<> {
        let (steps, parts) = (start.0 / self.step, u32::from(self.settings.offsets));
        let (position, offset) = ((steps / parts) as u16, (steps % parts) as u16);
        let offset = offset
            .checked_sub(1)
            .map(|offset| self.token(Kind::Offset, offset));
        [self.token(Kind::Position, position)]
            .into_iter()
            .chain(offset)
    }

    /// Where a position is in its bar.
    pub(super) fn position(&self, position: u16) -> Ticks {
        Ticks(u32::from(position) * self.settings.position())
    }

    /// The token of a duration that can be said; of one that is cut shorter, the longest before it.
    pub(super) fn duration(&self, duration: Ticks) -> Token {
        let positions = duration.0 / self.settings.position();
        let longer = self.durations.partition_point(|&known| known <= positions);
        self.token(Kind::Duration, longer.saturating_sub(1) as u16)
    }

    /// The duration with this index.
    pub(crate) fn duration_of(&self, index: u16) -> Ticks {
        let positions = self.durations.get(usize::from(index)).copied();
        Ticks(positions.unwrap_or(1) * self.settings.position())
    }

    /// The token of the density of `notes` notes in `bars` bars.
    pub(super) fn density(&self, notes: usize, bars: usize) -> Token {
        let level = DENSITIES.partition_point(|&least| notes >= least * bars);
        self.token(Kind::Density, level as u16)
    }

    /// What a note is before anything is said of it.
    pub(super) fn blank(&self) -> Note {
        Note {
            start: Ticks(0),
            pitch: 0,
            duration: self.duration_of(0),
            velocity: self.velocity_of(0),
        }
    }

    /// The token that states a metre of a quantized score.
    pub(super) fn metre_token(&self, numerator: u8, denominator: u8) -> Token {
        let mut metres = self.metres.iter();
        let metre = metres.position(|&metre| metre == (numerator, denominator));
        self.token(Kind::Metre, metre.map_or(0, |i| i as u16))
    }

    /// The token of the tempo nearest to `micros_per_quarter`.
    pub(super) fn tempo_token(&self, micros_per_quarter: u32) -> Token {
        let bin = match self.settings.tempos {
            true => tempo_bin(f64::from(micros_per_quarter)),
            false => 0,
        };
        self.token(Kind::Tempo, bin)
    }

    /// The tempo that a token says, in microseconds a quarter.
    pub(super) fn tempo_of(&self, bin: u16) -> u32 {
        match self.settings.tempos {
            true => tempo_of_bin(bin),
            false => Tempo::DEFAULT_MICROS,
        }
    }

    /// Whether streams say metres.
    pub(super) fn says_metres(&self) -> bool {
        self.settings.time_signature.is_none()
    }

    /// Whether streams say tempos.
    pub(super) fn says_tempos(&self) -> bool {
        self.settings.tempos
    }

    /// What a stream's first bar says of what is in force.
    pub(crate) fn said(&self, state: BarState) -> impl Iterator<Item = Token> + use<> {
        let metre = self.says_metres().then_some(state.metre);
        metre
            .into_iter()
            .chain(self.says_tempos().then_some(state.tempo))
    }

    /// The token of a bar without music, where streams say that of all their tracks at once.
    pub(super) fn rest(&self) -> Option<Token> {
        let by_track = !self.run(Kind::Track).is_empty();
        (self.settings.rests && !by_track).then(|| self.token(Kind::Rest, 0u16))
    }

    /// The metre with this index, as from the beginning on.
    pub(super) fn metre_of(&self, index: u16) -> Metre {
        let (numerator, denominator) = self.metres[usize::from(index)];
        Metre {
            at: Ticks(0),
            numerator,
            denominator,
        }
    }

    /// The metre that a bar's state says.
    pub(crate) fn metre(&self, state: BarState) -> Metre {
        self.metre_of(state.metre - self.run(Kind::Metre).start)
    }

    /// The tempo that a bar's state says, in microseconds a quarter.
    pub(crate) fn tempo(&self, state: BarState) -> u32 {
        self.tempo_of(state.tempo - self.run(Kind::Tempo).start)
    }

    /// Grid positions of a bar in the metre with this index.
    pub(super) fn positions(&self, metre: u16) -> u16 {
        (self.metre_of(metre).bar().0 / self.settings.position()) as u16
    }

    /// What one can be told to play: all instruments of the set, drums first; in a monophonic
    /// encoding the first of them.
    pub(super) fn players(&self, set: &InstrumentSet) -> impl Iterator<Item = Instrument> + use<> {
        let most = if self.monophonic { 1 } else { usize::MAX };
        let drums = set.contains(Instrument::DRUMS).then_some(Instrument::DRUMS);
        let pitched = set.iter().filter(|instrument| !instrument.is_drums());
        drums.into_iter().chain(pitched).take(most)
    }

    /// See [`Encoding::head`].
    pub(super) fn head(&self, conditioning: &Conditioning) -> Vec<Token> {
        let bos = self.token(Kind::Bos, 0u16);
        // A genre that the vocabulary lacks becomes a token that it lacks, which grammars refuse.
        let genre = self
            .token(Kind::Genre, 0u16)
            .saturating_add(conditioning.genre);
        let mut head = vec![bos, genre];
        let controls = self.says_controls();
        let key = conditioning.key.filter(|_| controls);
        head.extend(key.map(|key| self.token(Kind::Key, key)));
        head.extend(conditioning.metre.filter(|_| self.settings.metre_in_head));
        head.extend(conditioning.tempo.filter(|_| self.settings.tempo_in_head));
        match &conditioning.instruments {
            None => head.push(self.token(Kind::AnyInstruments, 0u16)),
            Some(set) => {
                for instrument in self.players(set) {
                    head.push(self.token(Kind::Instrument, instrument.index()));
                    let asked = match controls {
                        true => conditioning.tracks.of(instrument),
                        false => controls::Track::default(),
                    };
                    let asked = [asked.density, asked.polyphony, asked.register];
                    let said = std::iter::zip(CONTROLS, asked);
                    head.extend(said.filter_map(|(kind, level)| Some(self.token(kind, level?))));
                }
            }
        }
        head
    }

    /// Whether heads may say a key, and of a track what [`CONTROLS`] names.
    pub(super) fn says_controls(&self) -> bool {
        !self.run(Kind::Key).is_empty()
    }

    /// Whether streams may lack the chords that bodies have.
    pub(super) fn may_lack_chords(&self) -> bool {
        self.says_controls()
    }

    /// Whether a stream has one instrument alone.
    pub(super) fn is_monophonic(&self) -> bool {
        self.monophonic
    }

    /// Index of the first of `tokens`, which begin with BAR, that states neither metre nor tempo.
    pub(crate) fn after_state(&self, tokens: &[Token]) -> usize {
        let states = self.run(Kind::Metre).start..self.run(Kind::Tempo).end;
        let stated = tokens.iter().skip(1);
        1 + stated.take_while(|&token| states.contains(token)).count()
    }

    /// The instruments that `tokens` name.
    pub(super) fn instruments(&self, tokens: &[Token]) -> InstrumentSet {
        let run = self.run(Kind::Instrument);
        let named = tokens.iter().filter(|&token| run.contains(token));
        named
            .filter_map(|token| Instrument::new((token - run.start) as u8))
            .collect()
    }

    /// Moves what is struck and ended, and chords, by `semitones`, drums never. `None` where a pitch would leave
    /// MIDI's range.
    pub(super) fn transpose(&self, tokens: &mut [Token], semitones: i32) -> Option<()> {
        let runs = [Kind::Pitch, Kind::End].map(|kind| self.run(kind));
        let chords = self.run(Kind::Chord);
        for token in tokens {
            if chords.contains(token) {
                let chord = Chord::new(*token - chords.start).transposed(semitones);
                *token = chords.start + chord.index();
            } else if let Some(run) = runs.iter().find(|run| run.contains(token)) {
                let moved = i32::from(*token) + semitones;
                *token = Token::try_from(moved).ok().filter(|t| run.contains(t))?;
            }
        }
        Some(())
    }

    /// Tokens of the vocabulary.
    pub(super) fn size(&self) -> usize {
        self.words.len()
    }

    /// The quantization after which nothing is lost.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// See [`Encoding::kind`].
    pub(super) fn kind(&self, token: Token) -> &'static str {
        self.word(token).map_or("unknown", |(kind, _)| kind.name())
    }

    /// See [`Encoding::name`].
    pub(super) fn name(&self, token: Token) -> String {
        let Some((kind, value)) = self.word(token) else {
            return format!("unknown token {token}");
        };
        match kind {
            Kind::Metre => {
                let (numerator, denominator) = self.metres[usize::from(value)];
                format!("metre {numerator}/{denominator}")
            }
            Kind::Tempo => format!("tempo {:.0}", 60e6 / f64::from(self.tempo_of(value))),
            Kind::Instrument => {
                let instrument = Instrument::new(value as u8).unwrap_or_default();
                format!("instrument {instrument}")
            }
            Kind::Chord => format!("chord {}", Chord::new(value)),
            Kind::Duration => {
                let positions = self.durations.get(usize::from(value)).copied();
                format!("duration {}", positions.unwrap_or(1))
            }
            Kind::Key => format!("key {}", controls::tonality(value)),
            Kind::Shift | Kind::Offset => format!("{} {}", kind.name(), value + 1),
            kind if self.run(kind).len() == 1 && kind != Kind::Genre => kind.name().to_owned(),
            _ => format!("{} {value}", kind.name()),
        }
    }
}
