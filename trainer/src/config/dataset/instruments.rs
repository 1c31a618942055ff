//! How a config names instruments.

use std::array;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::str::FromStr;

use famam_shared::instrument::{Class, Instrument, InstrumentSet};
use serde::{Deserialize, Serialize};

/// A class of instruments as a config names it. What it says may be none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a class of instruments by number (0 to 16) or name"
)]
pub enum ClassName {
    /// By its number, 0 (piano) to 16 (drums).
    Number(i64),
    /// By its name.
    Name(String),
}

impl ClassName {
    /// The class, where there is one of that number or name.
    pub fn class(&self) -> Option<Class> {
        match self {
            Self::Number(number) => Class::ALL.get(usize::try_from(*number).ok()?).copied(),
            Self::Name(name) => Class::parse(name),
        }
    }
}

impl FromStr for ClassName {
    type Err = Infallible;

    fn from_str(word: &str) -> Result<Self, Infallible> {
        Ok(match word.trim().parse() {
            Ok(number) => Self::Number(number),
            Err(_) => Self::Name(word.to_owned()),
        })
    }
}

/// Which instruments become which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected true, false, or programs by class, as in {\"piano\": 0}"
)]
pub enum MergeClasses {
    /// Each its class's first, or none another.
    All(bool),
    /// Those of a group, class, name or program become a program; all others stay.
    Programs(BTreeMap<String, u8>),
}

impl MergeClasses {
    /// What each instrument becomes, by its index. `None` where the names are none, name an
    /// instrument twice, or make drums of what is none or the other way round.
    pub fn programs(&self) -> Option<[Instrument; Instrument::COUNT]> {
        let own = |index| Instrument::new(index as u8).unwrap_or_default();
        let mut programs = array::from_fn(own);
        match self {
            Self::All(false) => {}
            Self::All(true) => {
                for instrument in &mut programs {
                    let first = instrument.class().instruments().iter().next();
                    *instrument = first.unwrap_or(*instrument);
                }
            }
            Self::Programs(said) => {
                let mut seen = InstrumentSet::default();
                for (words, &program) in said {
                    let program = Instrument::new(program).filter(|to| !to.is_drums())?;
                    let from = InstrumentSet::parse(words).ok()?;
                    if from.contains(Instrument::DRUMS) || !seen.intersection(&from).is_empty() {
                        return None;
                    }
                    seen = seen.union(&from);
                    for instrument in from.iter() {
                        programs[usize::from(instrument.index())] = program;
                    }
                }
            }
        }
        Some(programs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_named_by_number_or_name() {
        for (i, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(ClassName::Number(i as i64).class(), Some(class));
            let name: ClassName = class.name().to_uppercase().parse().unwrap();
            assert_eq!(name.class(), Some(class));
            let number: ClassName = i.to_string().parse().unwrap();
            assert_eq!(number.class(), Some(class));
        }
        assert_eq!(ClassName::Number(17).class(), None);
        assert_eq!(ClassName::Name("keys".to_owned()).class(), None, "a group");
    }

    #[test]
    fn every_instrument_becomes_what_is_said() {
        let index = |merge: &MergeClasses, from: u8| {
            merge.programs().map(|to| to[usize::from(from)].index())
        };
        for i in 0..=128 {
            assert_eq!(index(&MergeClasses::All(false), i), Some(i));
            assert_eq!(index(&MergeClasses::All(true), i), Some(i / 8 * 8));
        }
        let said = |pairs: &[(&str, u8)]| {
            let pairs = pairs.iter().map(|&(name, to)| (name.to_owned(), to));
            MergeClasses::Programs(pairs.collect())
        };
        let some = said(&[("piano", 3), ("bass,guitar", 33), ("Violin", 0), ("41", 0)]);
        for (from, to) in [
            (0, 3),
            (7, 3),
            (24, 33),
            (39, 33),
            (40, 0),
            (41, 0),
            (42, 42),
            (128, 128),
        ] {
            assert_eq!(index(&some, from), Some(to));
        }
        assert_eq!(said(&[("piano", 0), ("1", 0)]).programs(), None);
    }
}
