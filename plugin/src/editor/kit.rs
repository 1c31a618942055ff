//! The names of the drum kit's keys: General MIDI System Level 1, "Percussion Key Map", shortened.

/// What the drum kit plays on `pitch`; empty where General MIDI names nothing.
pub fn name(pitch: u8) -> &'static str {
    usize::from(pitch)
        .checked_sub(FIRST)
        .and_then(|i| NAMES.get(i))
        .unwrap_or(&"")
}

/// The first key that has a name.
const FIRST: usize = 35;

const NAMES: [&str; 47] = [
    "Kick 2",
    "Kick",
    "Stick",
    "Snare",
    "Clap",
    "Snare 2",
    "Floor tom",
    "Hi-hat",
    "Floor tom 2",
    "Pedal hat",
    "Low tom",
    "Open hat",
    "Mid tom",
    "Mid tom 2",
    "Crash",
    "High tom",
    "Ride",
    "China",
    "Ride bell",
    "Tambourine",
    "Splash",
    "Cowbell",
    "Crash 2",
    "Vibraslap",
    "Ride 2",
    "High bongo",
    "Low bongo",
    "Mute conga",
    "Conga",
    "Low conga",
    "High timbale",
    "Low timbale",
    "High agogo",
    "Low agogo",
    "Cabasa",
    "Maracas",
    "Whistle",
    "Long whistle",
    "Guiro",
    "Long guiro",
    "Claves",
    "High block",
    "Low block",
    "Mute cuica",
    "Cuica",
    "Mute triangle",
    "Triangle",
];

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn the_keys_have_their_names() {
        let expected = [
            (34, ""),
            (36, "Kick"),
            (38, "Snare"),
            (42, "Hi-hat"),
            (49, "Crash"),
            (81, "Triangle"),
            (82, ""),
        ];
        assert!(
            expected
                .iter()
                .all(|&(pitch, expected)| name(pitch) == expected)
        );
    }
}
