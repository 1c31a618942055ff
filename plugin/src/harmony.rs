//! Key and chords as they are asked for: `A minor`, `D dorian ~2`; `Am F C G`, `i VI III VII ~1.5`.
//!
//! What stands alone is locked: nothing else sounds. With `~` and a number behind it is leant towards: all else
//! costs so many nats.

use std::str::FromStr;

use famam_shared::theory::key::Tonality;
use famam_shared::theory::progression::ProgressionError;
use famam_shared::theory::rules::Hold;
use famam_shared::theory::scale::ScaleError;
use famam_shared::theory::{Progression, Scale};
use serde::Deserialize;

/// Why text is no key or no chords.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HarmonyError {
    /// What stands behind `~` is no number of nats.
    #[error(
        "\"~{0}\" says how far to lean: expected nats above 0, up to 100, as in \"A minor ~2\"; what stands without is \
         locked"
    )]
    Leaning(String),
    /// It is no scale.
    #[error(transparent)]
    Scale(#[from] ScaleError),
    /// It is no progression.
    #[error(transparent)]
    Progression(#[from] ProgressionError),
}

/// What is asked for, and how firmly it holds.
fn held(text: &str) -> Result<(&str, Hold), HarmonyError> {
    let Some((what, nats)) = text.rsplit_once('~') else {
        return Ok((text, Hold::Locked));
    };
    match f32::from_str(nats.trim()) {
        Ok(number) if number > 0.0 && number <= 100.0 => Ok((what, Hold::Leaning(number))),
        _ => Err(HarmonyError::Leaning(nats.to_owned())),
    }
}

/// A key or scale.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct AskedKey {
    /// Its notes.
    pub scale: Scale,
    /// How firmly it holds.
    pub hold: Hold,
}

impl From<Tonality> for AskedKey {
    fn from(key: Tonality) -> Self {
        Self {
            scale: key.into(),
            hold: Hold::Locked,
        }
    }
}

impl FromStr for AskedKey {
    type Err = HarmonyError;

    fn from_str(text: &str) -> Result<Self, HarmonyError> {
        let (scale, hold) = held(text)?;
        Ok(Self {
            scale: scale.trim().parse()?,
            hold,
        })
    }
}

impl TryFrom<String> for AskedKey {
    type Error = HarmonyError;
    fn try_from(text: String) -> Result<Self, HarmonyError> {
        text.parse()
    }
}

/// Chords.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct AskedChords {
    /// Which.
    pub which: Which,
    /// How firmly they hold.
    pub hold: Hold,
}

/// Where chords come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Which {
    /// They are written out: chord symbols or Roman numerals.
    Written(String),
    /// Those that are found in the known music: `from`.
    Found,
    /// One of the common progressions of the key, by the seed: `drawn`.
    Drawn,
}

impl FromStr for AskedChords {
    type Err = HarmonyError;

    fn from_str(text: &str) -> Result<Self, HarmonyError> {
        let (which, hold) = held(text)?;
        let which = match which.trim() {
            "from" => Which::Found,
            "drawn" => Which::Drawn,
            written => {
                // Any key tells whether numerals can be read.
                let any = Tonality {
                    tonic: 0,
                    minor: false,
                };
                Progression::parse(written, Some(any.into()))?;
                Which::Written(written.to_owned())
            }
        };
        Ok(Self { which, hold })
    }
}

impl TryFrom<String> for AskedChords {
    type Error = HarmonyError;
    fn try_from(text: String) -> Result<Self, HarmonyError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_alone_is_locked_and_behind_a_tilde_are_nats() {
        let key = |text: &str| text.parse::<AskedKey>();
        let locked = key("A minor").unwrap();
        assert_eq!(locked.scale.to_string(), "A minor");
        assert_eq!(locked.hold, Hold::Locked);
        assert_eq!(key("D dorian ~2.5").unwrap().hold, Hold::Leaning(2.5));
        for wrong in [
            "A minor ~",
            "A minor ~x",
            "C ~0",
            "C ~-1",
            "C ~NaN",
            "H",
            "",
        ] {
            assert!(key(wrong).is_err(), "{wrong}");
        }
        let chords = |text: &str| text.parse::<AskedChords>();
        let leaning = chords("Am F | C G ~1").unwrap();
        assert_eq!(leaning.which, Which::Written("Am F | C G".into()));
        assert_eq!(leaning.hold, Hold::Leaning(1.0));
        assert_eq!(chords("from").unwrap().which, Which::Found);
        assert_eq!(chords("drawn ~3").unwrap().which, Which::Drawn);
        assert!(chords("ii V I").is_ok());
        assert!(chords("Am Q").is_err() && chords("").is_err());
    }
}
