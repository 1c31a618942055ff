//! A band: the few instruments that a choice of groups asks for.
//!
//! A model is conditioned on the instruments that occur, one by one, and no piece has eight basses.
//! So a group or a class that was named whole stands for one of its instruments.

use famam_shared::bands::Bands;
use famam_shared::instrument::{Class, Group, InstrumentSet};

/// `set` with every group and every class that is wholly in it replaced by one of its instruments,
/// such as play with the others in `genre`.
pub fn of(set: &InstrumentSet, bands: &Bands, genre: u16) -> InstrumentSet {
    let groups = Group::ALL.map(Group::instruments);
    let classes = Class::ALL.map(Class::instruments);
    let mut parts: Vec<InstrumentSet> = Vec::new();
    let mut rest = *set;
    for part in groups.into_iter().chain(classes) {
        if rest.intersection(&part) == part {
            parts.push(part);
            rest = rest
                .iter()
                .filter(|&instrument| !part.contains(instrument))
                .collect();
        }
    }
    parts.extend(
        rest.iter()
            .map(|instrument| InstrumentSet::from_iter([instrument])),
    );
    bands.choose(genre, &parts)
}

/// The band of the groups that are switched on, in the order of [`Group::ALL`]; `None`, any
/// instruments, where none is.
pub fn of_groups(on: [bool; 6], bands: &Bands, genre: u16) -> Option<InstrumentSet> {
    let groups = Group::ALL.into_iter().zip(on).filter(|(_, on)| *on);
    let parts: Vec<InstrumentSet> = groups.map(|(group, _)| group.instruments()).collect();
    (!parts.is_empty()).then(|| bands.choose(genre, &parts))
}

#[cfg(test)]
mod tests {
    use famam_shared::instrument::Instrument;

    use super::*;

    #[test]
    fn what_was_named_whole_becomes_one_and_what_was_named_stays() {
        let set = |indices: &[u8]| -> InstrumentSet {
            indices.iter().filter_map(|&i| Instrument::new(i)).collect()
        };
        let bands = Bands::count(2, [(1, set(&[18, 29, 33, 128])), (0, set(&[0, 27, 35]))]);
        for (words, expected) in [
            ("drums,bass,33", vec![33, 128]),
            ("organ,34,0", vec![0, 18, 34]),
            ("keys", vec![18]),
            ("piano,guitar", vec![0, 29]),
            ("lead", vec![56]),
        ] {
            let band = of(&InstrumentSet::parse(words).unwrap(), &bands, 1);
            assert_eq!(
                band.iter().map(Instrument::index).collect::<Vec<_>>(),
                expected,
                "{words}"
            );
        }
        assert_eq!(of_groups([false; 6], &bands, 1), None);
        let four = [true, true, true, true, false, false];
        assert_eq!(of_groups(four, &bands, 1), Some(set(&[18, 29, 33, 128])));
    }
}
