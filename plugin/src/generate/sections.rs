//! Sections: a song by its form, `ABAB`.
//!
//! The first section of a letter is written as any music that goes on from what is known. One whose letter comes
//! again is a variation of the first: its cells are known but for the last quarter of its bars, which is where phrases
//! turn, and, where the model can write cells among known ones, one track, which the seed draws.

use std::str::FromStr;

use famam_shared::generation::song::Song;
use famam_shared::score::{Note, Score, Ticks, Track};

use super::cells::Cells;
use super::plan::{Draw, draw};

/// Letters, one for each section.
#[derive(Clone, Debug)]
pub struct Sections(Vec<u8>);

impl FromStr for Sections {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let letters = text.trim().to_ascii_uppercase().into_bytes();
        let all_letters = letters.iter().all(u8::is_ascii_uppercase);
        match all_letters && (1..=32).contains(&letters.len()) {
            true => Ok(Self(letters)),
            false => {
                Err("expected a letter from A to Z for each section, 32 at most, as in ABAB".into())
            }
        }
    }
}

impl Sections {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Their letters.
    pub fn letters(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.iter().copied()
    }

    /// Writes the sections of `song`, of so many bars each, by `compose`; `fills` says whether cells among known
    /// ones can be written.
    pub fn compose<E>(
        &self,
        song: &Song,
        bars: u32,
        fills: bool,
        mut compose: impl FnMut(Song) -> Result<Score, E>,
    ) -> Result<Score, E> {
        let mut so_far = song.known.clone();
        let bar = song.bars.last().map_or(Ticks(0), |bar| bar.metre.bar());
        let at = |section: usize| section as u32 * bars;
        for (section, letter) in self.0.iter().enumerate() {
            let (start, end) = (at(section), at(section + 1));
            let first = self.0.iter().position(|other| other == letter);
            let first = first.filter(|first| *first < section);
            let anew = bars.div_ceil(4);
            let written = match first {
                Some(_) => end - anew..end,
                None => start..end,
            };
            let mut tracks: Vec<_> = song.tracks.iter().map(|track| track.instrument).collect();
            let mut wanted: Cells = (written.clone())
                .flat_map(|bar| tracks.iter().map(move |by| (bar, *by)))
                .collect();
            if let Some(first) = first {
                let ticks = |bars: u32| Ticks(bars * bar.0);
                copy(&mut so_far, ticks(at(first)), ticks(start), ticks(bars));
                if fills && tracks.len() > 1 {
                    let drawn = draw(song.seed, Draw::Track(section as u8), tracks.len());
                    let varied = tracks.swap_remove(drawn);
                    wanted.extend((start..end).map(|bar| (bar, varied)));
                }
            }
            so_far = compose(Song {
                length: end,
                known: so_far,
                wanted: Some(wanted),
                ..song.clone()
            })?;
        }
        Ok(so_far)
    }
}

/// Has what begins from `from` on, for `length`, begin `to` as well.
fn copy(score: &mut Score, from: Ticks, to: Ticks, length: Ticks) {
    let behind = from + length;
    let moved = |note: &Note| Note {
        start: note.start - from + to,
        ..*note
    };
    for Track { notes, .. } in &mut score.tracks {
        let copied = notes
            .iter()
            .filter(|note| (from..behind).contains(&note.start));
        let copied: Vec<Note> = copied.map(moved).collect();
        notes.extend(copied);
        notes.sort_unstable();
    }
    score.end = score.end.max(to + length);
}
