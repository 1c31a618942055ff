//! Where a bar's beats and its middle are, as musicians count them.

use crate::score::{Bar, Metre, TICKS_PER_WHOLE, Ticks};

/// The length of a counted beat: the metre's denominator, or three of them in a compound metre (6/8, 9/8,
/// 12/8 and the like).
pub(super) fn counted(metre: Metre) -> Ticks {
    let unit = TICKS_PER_WHOLE / u32::from(metre.denominator).max(1);
    let compound =
        metre.denominator >= 8 && metre.numerator > 3 && metre.numerator.is_multiple_of(3);
    Ticks(unit.max(1) * if compound { 3 } else { 1 })
}

/// Where the second of a bar's two chords begins: at its first counted beat that is not before half of it
/// (the third of 4/4, 3/4 and 5/8, the second of 6/8, the fourth of 5/4), or at half of it where it is one beat.
pub fn middle(bar: &Bar) -> Ticks {
    let (length, beat) = ((bar.end - bar.start).0, counted(bar.metre).0);
    let at = length.div_ceil(2).next_multiple_of(beat);
    bar.start + Ticks(if at < length { at } else { length / 2 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_a_bar_is_on_a_beat() {
        for (numerator, denominator, eighths) in [
            (4, 4, 4),
            (3, 4, 4),
            (2, 4, 2),
            (5, 4, 6),
            (6, 8, 3),
            (9, 8, 6),
            (12, 8, 6),
            (7, 8, 4),
            (5, 8, 3),
            (2, 2, 4),
            (6, 4, 6),
        ] {
            let metre = Metre {
                at: Ticks(0),
                numerator,
                denominator,
            };
            let bar = Bar {
                start: Ticks(100),
                end: Ticks(100) + metre.bar(),
                metre,
            };
            assert_eq!(
                middle(&bar),
                Ticks(100 + eighths * 480),
                "{numerator}/{denominator}"
            );
        }
        let cut = Bar {
            start: Ticks(0),
            end: Ticks(700),
            metre: Metre::COMMON,
        };
        assert_eq!(middle(&cut), Ticks(350));
    }
}
