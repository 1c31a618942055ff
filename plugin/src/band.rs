//! A band: the few instruments that a choice of groups asks for.
//!
//! A model is conditioned on the instruments that occur, one by one, and no piece has eight basses.
//! So a group or a class that was named whole stands for its most common member.

use famam_shared::instrument::{Class, Group, Instrument, InstrumentSet};

/// The most common instrument of a group (counted over the corpus of the default model).
fn typical(group: Group) -> u8 {
    match group {
        Group::Drums => 128,
        Group::Bass => 33,
        Group::Guitar => 27,
        Group::Keys => 0,
        Group::StringsAndPads => 48,
        Group::Lead => 81,
    }
}

/// `set` with every group and every class that is wholly in it replaced by one of its instruments.
pub fn of(set: &InstrumentSet) -> InstrumentSet {
    let within = |part: InstrumentSet| part.iter().all(|instrument| set.contains(instrument));
    let whole: Vec<Group> = Group::ALL
        .into_iter()
        .filter(|group| within(group.instruments()))
        .collect();
    let mut band: InstrumentSet = whole
        .iter()
        .filter_map(|&group| Instrument::new(typical(group)))
        .collect();
    for class in Class::ALL
        .into_iter()
        .filter(|class| !whole.contains(&class.group()))
    {
        let members = class.instruments();
        let named = members
            .iter()
            .filter(|&instrument| set.contains(instrument));
        let count = if within(members) { 1 } else { usize::MAX };
        named
            .take(count)
            .for_each(|instrument| band.insert(instrument));
    }
    band
}

/// The band of the groups that are switched on, in the order of [`Group::ALL`]; `None`, any
/// instruments, where none is.
pub fn of_groups(on: [bool; 6]) -> Option<InstrumentSet> {
    let groups = Group::ALL.into_iter().zip(on).filter(|(_, on)| *on);
    let band: InstrumentSet = groups
        .filter_map(|(group, _)| Instrument::new(typical(group)))
        .collect();
    (!band.is_empty()).then_some(band)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_named_whole_becomes_one_and_what_was_named_stays() {
        for (words, expected) in [
            ("drums,bass,33", vec![33, 128]),
            ("organ,34,0", vec![0, 16, 34]),
            ("keys", vec![0]),
            ("piano,guitar", vec![0, 27]),
        ] {
            let band = of(&InstrumentSet::parse(words).unwrap());
            assert_eq!(
                band.iter().map(Instrument::index).collect::<Vec<_>>(),
                expected,
                "{words}"
            );
        }
        assert_eq!(of_groups([false; 6]), None);
        assert!(Group::ALL.into_iter().all(|group| {
            Instrument::new(typical(group)).is_some_and(|member| member.group() == group)
        }));
    }
}
