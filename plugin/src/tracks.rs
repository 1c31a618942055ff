//! Tracks as they are asked for: `drums; 33 pitch=28-50 polyphony=1 density=7; piano lengths=1/4-2`.
//!
//! Between semicolons or commas stands a track: what plays it, and what is asked of it. What plays it is said as in
//! [`InstrumentSet::parse`]; a group, a class, or several with `/` between them stand for one of their
//! instruments, such as plays with the others in the genre.

use std::ops::RangeInclusive;
use std::str::FromStr;

use famam_shared::bands::Bands;
use famam_shared::encoding::controls;
use famam_shared::generation::song::SongTrack;
use famam_shared::instrument::{Instrument, InstrumentSet, UnknownInstrument};
use famam_shared::score::{TICKS_PER_QUARTER, Ticks};
use famam_shared::theory::rules::Limits;
use serde::Deserialize;

/// Why text is no list of tracks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TracksError {
    /// What plays a track is not known.
    #[error(transparent)]
    Instrument(#[from] UnknownInstrument),
    /// What is asked of it is not.
    #[error("\"{word}\" of the track \"{track}\": {expected}")]
    Word {
        /// What was said.
        word: String,
        /// Of which track.
        track: String,
        /// What would be right.
        expected: &'static str,
    },
    /// All that may play a track play others already.
    #[error(
        "nothing is left to play the track \"{0}\": name an instrument that no other track has"
    )]
    Taken(String),
}

/// A track.
#[derive(Clone, Debug, PartialEq)]
struct AskedTrack {
    /// As it was said.
    text: String,
    /// One of these plays it.
    choice: InstrumentSet,
    controls: controls::Track,
    limits: Limits,
    may_rest: bool,
    least_filled: Option<f32>,
}

/// A list of tracks.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct AskedTracks(Vec<AskedTrack>);

impl AskedTracks {
    /// Those of several lists.
    pub fn and(mut self, others: &Self) -> Self {
        self.0.extend(others.0.iter().cloned());
        self
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same with an instrument for each, such as play together in `genre`, no two alike.
    ///
    /// # Errors
    /// [`TracksError::Taken`].
    pub fn choose(&self, bands: &Bands, genre: u16) -> Result<Vec<SongTrack>, TracksError> {
        // What was named goes to the track that named it.
        let mut players: Vec<Option<Instrument>> = vec![None; self.0.len()];
        let mut taken = InstrumentSet::default();
        let named = |track: &AskedTrack| track.choice.len() == 1;
        let all = |named_first: bool| {
            let tracks = self.0.iter().enumerate();
            tracks.filter(move |(_, track)| named(track) == named_first)
        };
        for (i, track) in all(true).chain(all(false)) {
            let free: InstrumentSet = track
                .choice
                .iter()
                .filter(|&by| !taken.contains(by))
                .collect();
            let beside = taken.iter().map(|by| InstrumentSet::from_iter([by]));
            let others = all(false).filter(|&(other, _)| other > i);
            let later = others.map(|(_, other)| other.choice);
            let parts: Vec<InstrumentSet> = beside.chain([free]).chain(later).collect();
            let chosen = bands.choose(genre, &parts).intersection(&free);
            let player = chosen.iter().chain(free.iter()).next();
            let player = player.ok_or_else(|| TracksError::Taken(track.text.clone()))?;
            taken.insert(player);
            players[i] = Some(player);
        }
        let tracks = std::iter::zip(&self.0, players);
        let track = |(track, player): (&AskedTrack, Option<Instrument>)| {
            // Who asks for rests gets them.
            let (plain, rests) = (SongTrack::new(player?), Limits::default().rests);
            Some(SongTrack {
                controls: track.controls,
                limits: track.limits.clone(),
                may_rest: track.may_rest,
                least_filled: track
                    .least_filled
                    .unwrap_or(match track.limits.rests == rests {
                        true => plain.least_filled,
                        false => 0.0,
                    }),
                ..plain
            })
        };
        Ok(tracks.filter_map(track).collect())
    }
}

/// What plays a track: names with `/` between them.
pub fn players(words: &str) -> Result<InstrumentSet, UnknownInstrument> {
    words
        .split('/')
        .try_fold(InstrumentSet::default(), |set, word| {
            Ok(set.union(&InstrumentSet::parse(word)?))
        })
}

impl FromStr for AskedTracks {
    type Err = TracksError;

    fn from_str(text: &str) -> Result<Self, TracksError> {
        let tracks = text.split([';', ',']).map(track);
        tracks.collect::<Result<_, _>>().map(Self)
    }
}

impl TryFrom<String> for AskedTracks {
    type Error = TracksError;
    fn try_from(text: String) -> Result<Self, TracksError> {
        text.parse()
    }
}

fn track(text: &str) -> Result<AskedTrack, TracksError> {
    let text = text.trim();
    let words: Vec<&str> = text.split_whitespace().collect();
    let name = words.iter().take_while(|word| !word.contains('='));
    let (name, asked) = words.split_at(name.count());
    let choice = players(&name.join(" "))?;
    let mut track = AskedTrack {
        text: text.to_owned(),
        choice,
        controls: controls::Track::default(),
        limits: Limits::default(),
        may_rest: false,
        least_filled: None,
    };
    for word in asked {
        let read = match word.split_once('=') {
            Some((field, value)) => track.ask(field, value),
            None => Err("what is asked is a word, = and a value, behind the instrument's name"),
        };
        read.map_err(|expected| TracksError::Word {
            word: (*word).to_owned(),
            track: text.to_owned(),
            expected,
        })?;
    }
    track.tell();
    Ok(track)
}

impl AskedTrack {
    /// Asks for one thing; else what would be right.
    fn ask(&mut self, field: &str, value: &str) -> Result<(), &'static str> {
        let limits = &mut self.limits;
        match field {
            "pitch" => {
                const PITCH: &str = "expected the lowest and the highest of MIDI's pitches 0 to 127, as in pitch=28-50";
                limits.pitches = range(value, 0, 127, whole).ok_or(PITCH)?;
                (limits.pitches.end() <= &127).then_some(()).ok_or(PITCH)?;
            }
            "polyphony" => {
                const MOST: &str = "expected how many notes sound at once, 1 or more, as in polyphony=1, polyphony=1-2 \
                                    or polyphony=3- (3 or more)";
                limits.polyphony = range(value, 0, u16::MAX, whole).ok_or(MOST)?;
                (limits.polyphony.end() >= &1).then_some(()).ok_or(MOST)?;
            }
            "lengths" => {
                limits.lengths = range(value, Ticks(1), Ticks(u32::MAX), beats).ok_or(
                    "expected the shortest and the longest note in quarters, as in lengths=1/4-2 or lengths=0.5-",
                )?;
            }
            "rests" => {
                self.may_rest = value == "any";
                limits.rests = match self.may_rest {
                    true => Limits::default().rests,
                    false => range(value, Ticks(0), Ticks(u32::MAX), beats).ok_or(
                        "expected the shortest and the longest silence in quarters, as in rests=-2 (2 at most), or \
                         any, where it may be silent throughout",
                    )?,
                };
            }
            "density" => {
                const LEVEL: &str =
                    "expected a level, 0 (fewest notes) to 9, or two, as in density=5-7";
                let most = controls::DENSITIES as u8 - 1;
                let levels = range(value, 0, most, whole).ok_or(LEVEL)?;
                (levels.end() <= &most).then_some(()).ok_or(LEVEL)?;
                self.controls.density = Some(levels.start() + (levels.end() - levels.start()) / 2);
                limits.density = levels;
            }
            "filled" => {
                let share = f32::from_str(value).ok();
                let share = share.filter(|share| (0.0..=1.0).contains(share));
                let expected = "expected the share of its bars in which it plays at least, 0 to 1";
                self.least_filled = Some(share.ok_or(expected)?);
            }
            "register" => {
                let octave =
                    whole(value).filter(|octave: &u8| usize::from(*octave) < controls::REGISTERS);
                self.controls.register = Some(
                    octave.ok_or("expected an octave, 0 to 10: C4, pitch 60, begins the 5th")?,
                );
            }
            _ => {
                return Err(
                    "known are pitch, polyphony, lengths, rests, density, filled and register",
                );
            }
        }
        Ok(())
    }

    /// Tells the model what limits make likely, where nothing else is said: it plays better what it knows of
    /// than what it is held to.
    fn tell(&mut self) {
        let (fewest, most) = (*self.limits.polyphony.start(), *self.limits.polyphony.end());
        if most == 1 || fewest > 1 {
            let level = controls::polyphony(u64::from(fewest.max(1)), 1);
            self.controls.polyphony = Some(level);
        }
        let (low, high) = (*self.limits.pitches.start(), *self.limits.pitches.end());
        if self.controls.register.is_none()
            && !self.choice.contains(Instrument::DRUMS)
            && high - low <= 36
        {
            self.controls.register = Some((low + (high - low) / 2) / 12);
        }
    }
}

/// `a-b`, `a-`, `-b` or `a` alone; `None` where it is none, or holds nothing.
fn range<T: PartialOrd + Copy>(
    text: &str,
    least: T,
    most: T,
    read: impl Fn(&str) -> Option<T>,
) -> Option<RangeInclusive<T>> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    if low.is_empty() && high.is_empty() {
        return None;
    }
    let or = |text: &str, end: T| match text {
        "" => Some(end),
        text => read(text),
    };
    let (low, high) = (or(low, least)?, or(high, most)?);
    (low <= high).then_some(low..=high)
}

fn whole<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// Quarters, as a decimal number or a fraction, in ticks.
fn beats(text: &str) -> Option<Ticks> {
    let number = |text: &str| f64::from_str(text).ok();
    let quarters = match text.split_once('/') {
        Some((n, d)) => number(n)? / number(d)?,
        None => number(text)?,
    };
    let ticks = (quarters * f64::from(TICKS_PER_QUARTER)).round();
    (0.0..4e9).contains(&ticks).then_some(Ticks(ticks as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracks(text: &str) -> Vec<SongTrack> {
        let asked: AskedTracks = text.parse().unwrap();
        asked.choose(&Bands::default(), 0).unwrap()
    }

    #[test]
    fn a_track_is_what_plays_it_and_what_is_asked_of_it() {
        let text = "drums; Electric Bass (finger) pitch=28-50 polyphony=1 density=7; \
                    piano rests=-2 lengths=1/4-2.5 polyphony=3-, 73 rests=any register=6";
        let tracks = tracks(text);
        let by: Vec<u8> = tracks
            .iter()
            .map(|track| track.instrument.index())
            .collect();
        assert_eq!(by, [128, 33, 0, 73]);
        assert_eq!(tracks[0], SongTrack::new(Instrument::DRUMS));
        let [_, bass, piano, flute] = &tracks[..] else {
            panic!()
        };
        assert_eq!(bass.limits.pitches, 28..=50);
        assert_eq!(bass.limits.polyphony, 1..=1);
        let told = controls::Track {
            density: Some(7),
            polyphony: Some(0),
            register: Some(3),
        };
        assert_eq!(bass.controls, told);
        assert_eq!(piano.limits.rests, Ticks(0)..=Ticks(1920));
        assert_eq!(piano.limits.lengths, Ticks(240)..=Ticks(2400));
        assert_eq!(piano.limits.polyphony, 3..=u16::MAX);
        assert_eq!(piano.controls.polyphony, Some(3));
        assert!(flute.may_rest && !piano.may_rest);
        assert_eq!(flute.controls.register, Some(6));
    }

    #[test]
    fn no_two_tracks_have_one_instrument() {
        let by = |text: &str| -> Vec<u8> {
            let tracks = tracks(text);
            tracks
                .iter()
                .map(|track| track.instrument.index())
                .collect()
        };
        assert_eq!(by("guitar; guitar; 24"), [25, 26, 24]);
        assert_eq!(by("33/34; 33"), [34, 33]);
        let twice: AskedTracks = "33; 33".parse().unwrap();
        let refused = twice.choose(&Bands::default(), 0);
        assert_eq!(refused, Err(TracksError::Taken("33".into())));
    }

    #[test]
    fn what_is_wrong_is_told_with_what_would_be_right() {
        for (text, words) in [
            ("kazoo", "\"kazoo\" names no instruments"),
            ("", "names no instruments"),
            (
                "33 pitch=50-28",
                "\"pitch=50-28\" of the track \"33 pitch=50-28\": expected the lowest",
            ),
            ("33 pitch=128", "0 to 127"),
            ("33 pitch=-", "0 to 127"),
            ("33 polyphony=0", "1 or more"),
            ("33 lengths=long", "in quarters"),
            ("33 lengths=1/0", "in quarters"),
            ("33 rests=x", "any"),
            ("33 density=10", "0 (fewest notes) to 9"),
            ("33 register=11", "0 to 10"),
            ("33 loudness=3", "known are pitch"),
            ("33 density=1 bass", "a word, = and a value"),
        ] {
            let error = text.parse::<AskedTracks>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
