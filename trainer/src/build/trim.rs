//! Empty bars before the music.

use famam_shared::score::{Score, Ticks};

/// A quantized score from the bar of its first note on. Bar lines stay where they are among the
/// notes, and what metre, tempo and key are in force there is said at its start. (No empty bars
/// follow the last note of a quantized score.)
pub fn trim_silence(mut score: Score) -> Score {
    let notes = score.tracks.iter().flat_map(|track| &track.notes);
    let Some(first) = notes.map(|note| note.start).min() else {
        return score;
    };
    let start = score
        .bars()
        .find(|bar| bar.end > first)
        .map_or(Ticks(0), |bar| bar.start);
    if start == Ticks(0) {
        return score;
    }
    for note in score.tracks.iter_mut().flat_map(|track| &mut track.notes) {
        note.start = note.start - start;
    }
    let earlier = |at: &mut Ticks| *at = at.saturating_sub(start);
    score
        .metres
        .iter_mut()
        .for_each(|metre| earlier(&mut metre.at));
    score
        .tempos
        .iter_mut()
        .for_each(|tempo| earlier(&mut tempo.at));
    score.keys.iter_mut().for_each(|key| earlier(&mut key.at));
    // Of all that was said before, the last is in force.
    in_force(&mut score.metres, |metre| metre.at);
    in_force(&mut score.tempos, |tempo| tempo.at);
    in_force(&mut score.keys, |key| key.at);
    score.end = score.end - start;
    score
}

/// Takes out what another of the same place follows.
fn in_force<T: Clone>(changes: &mut Vec<T>, at: impl Fn(&T) -> Ticks) {
    let after = changes.partition_point(|change| at(change) == Ticks(0));
    changes.drain(..after.saturating_sub(1));
}

#[cfg(test)]
mod tests {
    use famam_shared::quantize::{Settings, quantize};
    use famam_shared::score::{Metre, Note, Tempo, Track};

    use super::*;

    /// Bars of 4/4, 3/4, 3/4, then 5/4 on, and a tempo for each.
    fn score(first: u32) -> Score {
        let metre = |at, numerator| Metre {
            at: Ticks(at),
            numerator,
            denominator: 4,
        };
        let notes = (0..3).map(|i| Note {
            start: Ticks(first + i * 4800),
            pitch: 60,
            duration: Ticks(480),
            velocity: 66,
        });
        let tempos = [0, 3840, 6720, 9600].map(|at| Tempo {
            at: Ticks(at),
            micros_per_quarter: 400_000 + 20 * at,
        });
        let score = Score {
            tracks: vec![Track {
                instrument: Default::default(),
                name: String::new(),
                notes: notes.collect(),
            }],
            tempos: tempos.to_vec(),
            metres: vec![metre(0, 4), metre(3840, 3), metre(9600, 5)],
            ..Score::default()
        };
        quantize(&score, &Settings::default()).0
    }

    #[test]
    fn bars_before_the_first_note_go_and_the_others_stay_as_they_are() {
        for (first, empty) in [
            (0, 0),
            (3839 - 119, 0),
            (3840, 1),
            (5000, 1),
            (6720, 2),
            (9720, 3),
            (20_000, 5),
        ] {
            let score = score(first);
            let trimmed = trim_silence(score.clone());
            let kinds = |score: &Score, skipped: usize| -> Vec<_> {
                let bar = |bar: famam_shared::score::Bar| {
                    let notes: Vec<_> = score.tracks[0]
                        .notes
                        .iter()
                        .filter(|note| (bar.start..bar.end).contains(&note.start))
                        .map(|note| (note.start - bar.start, note.duration, note.pitch))
                        .collect();
                    let metre = (bar.metre.numerator, bar.metre.denominator);
                    (bar.end - bar.start, metre, score.tempo_at(bar.start), notes)
                };
                score.bars().skip(skipped).map(bar).collect()
            };
            assert_eq!(kinds(&trimmed, 0), kinds(&score, empty), "{first}");
            assert!(!kinds(&trimmed, 0)[0].3.is_empty());
            assert_eq!(trim_silence(trimmed.clone()), trimmed);
            // Still in the form that an encoding can say.
            assert_eq!(quantize(&trimmed, &Settings::default()).0, trimmed);
        }
    }
}
