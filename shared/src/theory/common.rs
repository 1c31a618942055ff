//! Common progressions, for music that has none asked of it: of each key some that much music is made over.
//!
//! Source: Richards, "Tonal Ambiguity in Popular Music's Axis Progressions", 2017 (the axis, its rotations);
//! Temperley, *The Musical Language of Rock*, 2018, chapter 3, and Levine, *The Jazz Theory Book*, 1995,
//! chapter 2, for the others.

use super::key::Tonality;
use super::progression::Progression;

/// Of major keys.
const MAJOR: [&str; 8] = [
    "I V vi IV",
    "vi IV I V",
    "I vi IV V",
    "I IV V IV",
    "I IV vi V",
    "I iii IV V",
    "ii V I vi",
    "I ii IV I",
];

/// Of minor keys: the notes of the natural minor.
const MINOR: [&str; 8] = [
    "i VI III VII",
    "i VII VI VII",
    "i iv VII III",
    "i iv v i",
    "i VI iv v",
    "i III VII iv",
    "VI VII i i",
    "i v VI iv",
];

impl Progression {
    /// Common progressions of a key, of four bars each, all of whose tones are its own.
    pub fn common(key: Tonality) -> impl Iterator<Item = Self> {
        let numerals = if key.minor { MINOR } else { MAJOR };
        let read = move |text: &str| Self::parse(text, Some(key.into())).ok();
        numerals.into_iter().filter_map(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::controls;
    use crate::theory::Scale;

    #[test]
    fn each_key_has_eight_of_its_own_notes() {
        for number in 0..controls::KEYS as u16 {
            let key = controls::tonality(number);
            let common: Vec<Progression> = Progression::common(key).collect();
            assert_eq!(common.len(), 8, "{key:?}");
            let tones = Scale::from(key).tones();
            for progression in common {
                assert_eq!(progression.bars().len(), 4);
                let mut symbols = progression.bars().iter().flatten();
                let own = symbols.all(|symbol| symbol.tones().is_subset(tones));
                assert!(own, "{key:?}: {progression}");
            }
        }
        let key = "A minor".parse::<Scale>().unwrap().tonality();
        let first = Progression::common(key).next().unwrap();
        assert_eq!(first.to_string(), "Am F C G");
    }
}
