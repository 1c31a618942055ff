//! Roman numerals: chords by the degree of a scale, `i VI III VII`, `ii V I`, `bVII`, `V7`, `viio7`.

use super::chord::Chord;
use super::pitch::read_accidentals;
use super::scale::{Mode, Scale};

/// The chord that a numeral means in `scale`; `None` where it is no numeral.
///
/// A degree is the scale's own (`VI` in A minor is F), with a sharp or flat that of the major scale on its
/// root (`bVI` in A minor is F too, as popular music is written). Capitals are major and small letters minor,
/// unless what stands behind says more: `V7`, `IVmaj7`, `ii7`, `IIm7`, `viio`, `isus4`.
pub(super) fn read(text: &str, scale: Scale) -> Option<Chord> {
    let (alteration, numeral) = read_accidentals(text);
    let quality = numeral.trim_start_matches(['I', 'V', 'i', 'v']);
    let roman = &numeral[..numeral.len() - quality.len()];
    let degree = ["I", "II", "III", "IV", "V", "VI", "VII"]
        .iter()
        .position(|degree| roman.eq_ignore_ascii_case(degree))?;
    let of = match alteration {
        0 => scale,
        _ => Scale::new(scale.root(), Mode::Major),
    };
    let root = (i32::from(of.degree(degree)) + alteration).rem_euclid(12) as u8;
    let capital = roman.chars().all(|letter| letter.is_ascii_uppercase());
    if capital {
        return Chord::on(root, quality);
    }
    if roman.chars().any(|letter| letter.is_ascii_uppercase()) {
        return None;
    }
    // What is written small has no major third, whatever stands behind.
    let minor = Chord::on(root, &format!("m{quality}"));
    let chord = minor.or_else(|| Chord::on(root, quality))?;
    (!chord.steps().contains(&4)).then_some(chord)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numerals_mean_the_chords_of_a_key() {
        for (key, numerals, chords) in [
            (
                "A minor",
                "i VI III VII iv v V V7 iio",
                "Am F C G Dm Em E E7 Bdim",
            ),
            ("A minor", "bVI bVII bIII", "F G C"),
            ("C", "ii V I vi IV iii viio", "Dm G C Am F Em Bdim"),
            (
                "C",
                "ii7 V7 Imaj7 IIm7 viiø7 bVII #ivo7",
                "Dm7 G7 Cmaj7 Dm7 Bm7b5 Bb F#dim7",
            ),
            ("Eb", "I IVsus2 V7 vi7 isus4", "Eb Absus2 Bb7 Cm7 Ebsus4"),
            ("D dorian", "i IV VII vio", "Dm G C Bdim"),
            ("A harmonic minor", "i V viio7 III+", "Am E Abdim7 Caug"),
            ("A blues", "i IV V", "Am D E"),
            ("G major pentatonic", "I IV V", "G C D"),
        ] {
            let scale: Scale = key.parse().unwrap();
            let read = |numeral| read(numeral, scale).map(|chord| chord.to_string());
            let got: Option<Vec<String>> = numerals.split(' ').map(read).collect();
            assert_eq!(
                got.unwrap_or_default().join(" "),
                chords,
                "{key}: {numerals}"
            );
        }
        for text in [
            "VIII", "", "iV", "Am", "b", "imaj7", "iaug", "IIII", "I#9", "X", "V/V",
        ] {
            assert_eq!(read(text, Scale::new(0, Mode::Major)), None, "{text}");
        }
    }
}
