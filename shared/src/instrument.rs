//! The 129 General MIDI instruments (128 programs and the drum kit), their 17 classes, and the
//! groups that requests and the plugin name.
//!
//! Source: General MIDI System Level 1, "GM Level 1 Sound Set" (MMA, 1991). Its programs count
//! from 1, ours from 0, as the bytes do.

use serde::{Deserialize, Serialize};

/// A General MIDI program (0 to 127) or the drum kit (128).
///
/// The default is program 0, MIDI's own where nothing is said.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "u8", into = "u8")]
pub struct Instrument(u8);

impl Instrument {
    /// The number of instruments.
    pub const COUNT: usize = 129;
    /// The drum kit.
    pub const DRUMS: Instrument = Instrument(128);

    /// The instrument with this index: a program, or 128 for the drum kit.
    pub fn new(index: u8) -> Option<Self> {
        (usize::from(index) < Self::COUNT).then_some(Self(index))
    }

    /// The program 0 to 127, or 128 for the drum kit.
    pub fn index(self) -> u8 {
        self.0
    }

    /// Whether this is the drum kit.
    pub fn is_drums(self) -> bool {
        self == Self::DRUMS
    }

    /// All 129, ascending.
    pub fn all() -> impl Iterator<Item = Instrument> {
        (0..Self::COUNT as u8).map(Self)
    }

    /// The General MIDI name, `"Drums"` for the drum kit.
    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }

    /// The class it is of.
    pub fn class(self) -> Class {
        Class::ALL[usize::from(self.0) / 8]
    }

    /// The group it is of.
    pub fn group(self) -> Group {
        self.class().group()
    }
}

/// The 16 families of General MIDI, eight programs each in the order of the programs, and the
/// drums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are General MIDI's")]
pub enum Class {
    Piano,
    ChromaticPercussion,
    Organ,
    Guitar,
    Bass,
    Strings,
    Ensemble,
    Brass,
    Reed,
    Pipe,
    SynthLead,
    SynthPad,
    SynthEffects,
    Ethnic,
    Percussive,
    SoundEffects,
    Drums,
}

impl Class {
    /// All 17, in the order of their programs.
    pub const ALL: [Class; 17] = [
        Class::Piano,
        Class::ChromaticPercussion,
        Class::Organ,
        Class::Guitar,
        Class::Bass,
        Class::Strings,
        Class::Ensemble,
        Class::Brass,
        Class::Reed,
        Class::Pipe,
        Class::SynthLead,
        Class::SynthPad,
        Class::SynthEffects,
        Class::Ethnic,
        Class::Percussive,
        Class::SoundEffects,
        Class::Drums,
    ];

    /// Its name, in small letters.
    pub fn name(self) -> &'static str {
        match self {
            Class::Piano => "piano",
            Class::ChromaticPercussion => "chromatic percussion",
            Class::Organ => "organ",
            Class::Guitar => "guitar",
            Class::Bass => "bass",
            Class::Strings => "strings",
            Class::Ensemble => "ensemble",
            Class::Brass => "brass",
            Class::Reed => "reed",
            Class::Pipe => "pipe",
            Class::SynthLead => "synth lead",
            Class::SynthPad => "synth pad",
            Class::SynthEffects => "synth effects",
            Class::Ethnic => "ethnic",
            Class::Percussive => "percussive",
            Class::SoundEffects => "sound effects",
            Class::Drums => "drums",
        }
    }

    /// The class of this name. Case, spaces and punctuation do not matter.
    pub fn parse(name: &str) -> Option<Self> {
        let wanted = letters(name);
        Self::ALL
            .into_iter()
            .find(|class| letters(class.name()) == wanted)
    }

    /// The one group that it belongs to.
    ///
    /// *Percussive* (steel drums, taiko, wood blocks: pitched programs) goes with the mallets to
    /// the keys, so that *drums* is the drum kit alone, whether it names a group, a class or an
    /// instrument.
    pub fn group(self) -> Group {
        match self {
            Class::Drums => Group::Drums,
            Class::Bass => Group::Bass,
            Class::Guitar => Group::Guitar,
            Class::Piano | Class::ChromaticPercussion | Class::Organ | Class::Percussive => {
                Group::Keys
            }
            Class::Strings
            | Class::Ensemble
            | Class::SynthPad
            | Class::SynthEffects
            | Class::SoundEffects => Group::StringsAndPads,
            Class::Brass | Class::Reed | Class::Pipe | Class::SynthLead | Class::Ethnic => {
                Group::Lead
            }
        }
    }

    /// Its instruments.
    pub fn instruments(self) -> InstrumentSet {
        Instrument::all()
            .filter(|instrument| instrument.class() == self)
            .collect()
    }
}

/// What a musician switches on and off: unions of [`Class`]es.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// The drum kit.
    Drums,
    /// Basses.
    Bass,
    /// Guitars.
    Guitar,
    /// Pianos, organs, mallets and bells.
    Keys,
    /// Strings, choirs, pads and atmospheres.
    StringsAndPads,
    /// Winds, synthesizer leads and the solo instruments of the world.
    Lead,
}

impl Group {
    /// All six, in the order in which they are shown.
    pub const ALL: [Group; 6] = [
        Group::Drums,
        Group::Bass,
        Group::Guitar,
        Group::Keys,
        Group::StringsAndPads,
        Group::Lead,
    ];

    /// Its name, in small letters.
    pub fn name(self) -> &'static str {
        match self {
            Group::Drums => "drums",
            Group::Bass => "bass",
            Group::Guitar => "guitar",
            Group::Keys => "keys",
            Group::StringsAndPads => "strings and pads",
            Group::Lead => "lead",
        }
    }

    /// Its instruments.
    pub fn instruments(self) -> InstrumentSet {
        Instrument::all()
            .filter(|instrument| instrument.group() == self)
            .collect()
    }
}

impl From<Instrument> for u8 {
    fn from(instrument: Instrument) -> u8 {
        instrument.0
    }
}

impl TryFrom<u8> for Instrument {
    type Error = String;
    fn try_from(index: u8) -> Result<Self, String> {
        Self::new(index).ok_or_else(|| format!("instrument {index} is not one of 0 to 128"))
    }
}

/// What tells names apart.
fn letters(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// A set of instruments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<Instrument>", into = "Vec<Instrument>")]
pub struct InstrumentSet {
    words: [u64; 3],
}

/// A word that names no instrument.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{word}\" names no instruments: expected a group ({}), a class ({}), a General MIDI name \
     (as \"Electric Bass (finger)\") or a program 0 to 127 (128 is drums), separated by commas",
    Group::ALL.map(Group::name).join(", "),
    Class::ALL.map(Class::name).join(", ")
)]
pub struct UnknownInstrument {
    /// The word.
    pub word: String,
}

impl InstrumentSet {
    /// The instruments that `words`, separated by commas, name: groups, classes, General MIDI
    /// names or programs, as in `drums,bass,33`. Case, spaces and punctuation do not matter.
    pub fn parse(words: &str) -> Result<Self, UnknownInstrument> {
        words.split(',').try_fold(Self::default(), |set, word| {
            Ok(set.union(&Self::named(word)?))
        })
    }

    fn named(word: &str) -> Result<Self, UnknownInstrument> {
        let wanted = letters(word);
        if let Some(group) = Group::ALL
            .into_iter()
            .find(|group| letters(group.name()) == wanted)
        {
            return Ok(group.instruments());
        }
        if let Some(class) = Class::parse(word) {
            return Ok(class.instruments());
        }
        let program = word.trim().parse().ok();
        Instrument::all()
            .find(|instrument| {
                program == Some(instrument.index()) || letters(instrument.name()) == wanted
            })
            .map(|instrument| [instrument].into_iter().collect())
            .ok_or_else(|| UnknownInstrument {
                word: word.trim().to_owned(),
            })
    }

    /// Puts `instrument` in.
    pub fn insert(&mut self, instrument: Instrument) {
        self.words[usize::from(instrument.0) / 64] |= 1 << (instrument.0 % 64);
    }

    /// Whether `instrument` is in.
    pub fn contains(&self, instrument: Instrument) -> bool {
        self.words[usize::from(instrument.0) / 64] >> (instrument.0 % 64) & 1 == 1
    }

    /// Whether nothing is in.
    pub fn is_empty(&self) -> bool {
        self.words == [0; 3]
    }

    /// The number of instruments in the set.
    pub fn len(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// The instruments of the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Instrument> + use<> {
        let words = self.words.into_iter().zip(0u8..);
        words.flat_map(|(mut word, i)| {
            std::iter::from_fn(move || {
                let bit = word.trailing_zeros();
                word &= word.checked_sub(1)?;
                Some(Instrument(64 * i + bit as u8))
            })
        })
    }

    /// All that is in either.
    pub fn union(&self, other: &InstrumentSet) -> InstrumentSet {
        InstrumentSet {
            words: std::array::from_fn(|i| self.words[i] | other.words[i]),
        }
    }

    /// What is in both.
    pub fn intersection(&self, other: &InstrumentSet) -> InstrumentSet {
        InstrumentSet {
            words: std::array::from_fn(|i| self.words[i] & other.words[i]),
        }
    }
}

impl FromIterator<Instrument> for InstrumentSet {
    fn from_iter<I: IntoIterator<Item = Instrument>>(instruments: I) -> Self {
        let mut set = Self::default();
        instruments
            .into_iter()
            .for_each(|instrument| set.insert(instrument));
        set
    }
}

impl From<Vec<Instrument>> for InstrumentSet {
    fn from(instruments: Vec<Instrument>) -> Self {
        instruments.into_iter().collect()
    }
}

impl From<InstrumentSet> for Vec<Instrument> {
    fn from(set: InstrumentSet) -> Self {
        set.iter().collect()
    }
}

impl std::fmt::Display for Instrument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[rustfmt::skip]
const NAMES: [&str; Instrument::COUNT] = [
    "Acoustic Grand Piano", "Bright Acoustic Piano", "Electric Grand Piano", "Honky-tonk Piano",
    "Electric Piano 1", "Electric Piano 2", "Harpsichord", "Clavi",
    "Celesta", "Glockenspiel", "Music Box", "Vibraphone", "Marimba", "Xylophone", "Tubular Bells",
    "Dulcimer",
    "Drawbar Organ", "Percussive Organ", "Rock Organ", "Church Organ", "Reed Organ", "Accordion",
    "Harmonica", "Tango Accordion",
    "Acoustic Guitar (nylon)", "Acoustic Guitar (steel)", "Electric Guitar (jazz)",
    "Electric Guitar (clean)", "Electric Guitar (muted)", "Overdriven Guitar", "Distortion Guitar",
    "Guitar harmonics",
    "Acoustic Bass", "Electric Bass (finger)", "Electric Bass (pick)", "Fretless Bass",
    "Slap Bass 1", "Slap Bass 2", "Synth Bass 1", "Synth Bass 2",
    "Violin", "Viola", "Cello", "Contrabass", "Tremolo Strings", "Pizzicato Strings",
    "Orchestral Harp", "Timpani",
    "String Ensemble 1", "String Ensemble 2", "SynthStrings 1", "SynthStrings 2", "Choir Aahs",
    "Voice Oohs", "Synth Voice", "Orchestra Hit",
    "Trumpet", "Trombone", "Tuba", "Muted Trumpet", "French Horn", "Brass Section", "SynthBrass 1",
    "SynthBrass 2",
    "Soprano Sax", "Alto Sax", "Tenor Sax", "Baritone Sax", "Oboe", "English Horn", "Bassoon",
    "Clarinet",
    "Piccolo", "Flute", "Recorder", "Pan Flute", "Blown Bottle", "Shakuhachi", "Whistle", "Ocarina",
    "Lead 1 (square)", "Lead 2 (sawtooth)", "Lead 3 (calliope)", "Lead 4 (chiff)",
    "Lead 5 (charang)", "Lead 6 (voice)", "Lead 7 (fifths)", "Lead 8 (bass + lead)",
    "Pad 1 (new age)", "Pad 2 (warm)", "Pad 3 (polysynth)", "Pad 4 (choir)", "Pad 5 (bowed)",
    "Pad 6 (metallic)", "Pad 7 (halo)", "Pad 8 (sweep)",
    "FX 1 (rain)", "FX 2 (soundtrack)", "FX 3 (crystal)", "FX 4 (atmosphere)", "FX 5 (brightness)",
    "FX 6 (goblins)", "FX 7 (echoes)", "FX 8 (sci-fi)",
    "Sitar", "Banjo", "Shamisen", "Koto", "Kalimba", "Bag pipe", "Fiddle", "Shanai",
    "Tinkle Bell", "Agogo", "Steel Drums", "Woodblock", "Taiko Drum", "Melodic Tom", "Synth Drum",
    "Reverse Cymbal",
    "Guitar Fret Noise", "Breath Noise", "Seashore", "Bird Tweet", "Telephone Ring", "Helicopter",
    "Applause", "Gunshot",
    "Drums",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_groups_divide_the_instruments() {
        let sizes = Class::ALL.map(|class| class.instruments().len());
        assert_eq!(sizes, [8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 1]);
        let in_groups: usize = Group::ALL
            .iter()
            .map(|group| group.instruments().len())
            .sum();
        assert_eq!(in_groups, Instrument::COUNT);
        assert_eq!(Instrument(33).name(), "Electric Bass (finger)");
        assert_eq!(Instrument(33).class(), Class::Bass);
        assert_eq!(Instrument(127).name(), "Gunshot");
        assert_eq!(Instrument::DRUMS.class(), Class::Drums);
    }

    #[test]
    fn every_instrument_is_found_by_its_name_and_by_its_number() {
        for instrument in Instrument::all() {
            let only: InstrumentSet = [instrument].into_iter().collect();
            assert_eq!(InstrumentSet::parse(instrument.name()), Ok(only));
            assert_eq!(
                InstrumentSet::parse(&instrument.index().to_string()),
                Ok(only)
            );
        }
    }

    #[test]
    fn a_request_mixes_groups_classes_names_and_programs() {
        let set = InstrumentSet::parse("Drums, strings-and-pads,brass , 33,tenor sax").unwrap();
        assert_eq!(set.len(), 1 + 5 * 8 + 8 + 1 + 1);
        assert!(set.contains(Instrument(66)) && set.contains(Instrument::DRUMS));
    }

    #[test]
    fn an_unknown_word_is_named_with_what_is_possible() {
        for (words, word) in [
            ("drums,trumpett", "trumpett"),
            ("bass,129", "129"),
            ("bass,", ""),
        ] {
            let error = InstrumentSet::parse(words).unwrap_err();
            assert_eq!(error.word, word);
            let message = error.to_string();
            assert!(message.contains("strings and pads") && message.contains("chromatic"));
        }
    }
}
