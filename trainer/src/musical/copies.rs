//! Copies: the longest run of notes that a piece shares with other music.
//!
//! A run is of one pitched track, its notes by start and, in a chord, from the lowest up. Of each note and the
//! one before it a [`Step`] says the interval in semitones and the time between their starts, in twelfths of a
//! quarter. Two runs are the same where their steps are: so one that was transposed counts, in
//! whatever key, bar or instrument; lengths, velocities and drums do not. A rest of more than
//! [`LONGEST_REST`] quarters between two starts ends a run. A run of `n` steps has `n + 1` notes.
//!
//! All that is looked for is one automaton that knows every run of every piece (Blumer et al., "The smallest
//! automaton recognizing the subwords of a text", 1985, here of many texts). The other music is read
//! past it once, note by note, so that memory is what is looked for, however much it is looked
//! for in.

use famam_shared::score::Score;

use super::excerpt::{POSITIONS, position};

/// The longest time between two starts in one run, in quarters.
const LONGEST_REST: u32 = 16;

/// From one note to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// Semitones up.
    pub interval: i8,
    /// Between the starts, in twelfths of a quarter.
    pub time: u8,
}

/// The runs of a piece: of each pitched track, between its long rests.
pub fn runs(score: &Score) -> Vec<Vec<Step>> {
    let mut runs = Vec::new();
    let tracks = score.tracks.iter();
    for track in tracks.filter(|track| !track.instrument.is_drums()) {
        let mut notes: Vec<(u32, u8)> = track
            .notes
            .iter()
            .map(|note| (position(note.start), note.pitch))
            .collect();
        notes.sort_unstable();
        notes.dedup();
        let near = |a: &(u32, u8), b: &(u32, u8)| b.0 - a.0 <= LONGEST_REST * POSITIONS;
        for together in notes.chunk_by(near).filter(|run| run.len() > 1) {
            let steps = together.windows(2).map(|pair| Step {
                // Both fit: pitches are 0 to 127, and 16 quarters 192 positions.
                interval: (i16::from(pair[1].1) - i16::from(pair[0].1)) as i8,
                time: (pair[1].0 - pair[0].0) as u8,
            });
            runs.push(steps.collect());
        }
    }
    runs
}

/// The automaton's states: runs that end at the same places of the pieces.
struct State {
    /// Where each step leads, by step.
    next: Vec<(Step, usize)>,
    /// The state of the longest suffix that ends at other places, too; the first state has none.
    link: Option<usize>,
    /// Steps of its longest run.
    length: usize,
    /// Steps of its longest run that the other music has.
    found: usize,
}

/// All runs of some pieces.
pub struct Runs {
    states: Vec<State>,
    /// Of each piece the state after each step.
    ends: Vec<Vec<usize>>,
}

impl Runs {
    /// Of pieces, each given by its [`runs`].
    pub fn of(pieces: &[Vec<Vec<Step>>]) -> Self {
        let mut all = Self {
            states: vec![State {
                next: Vec::new(),
                link: None,
                length: 0,
                found: 0,
            }],
            ends: Vec::new(),
        };
        for piece in pieces {
            for run in piece {
                run.iter().fold(0, |last, step| all.extend(last, *step));
            }
        }
        // Later pieces divide states: where a step ends is known when all are there.
        for piece in pieces {
            let mut ends = Vec::new();
            for run in piece {
                let mut state = 0;
                for step in run {
                    state = all.step(state, *step).unwrap_or(0);
                    ends.push(state);
                }
            }
            all.ends.push(ends);
        }
        all
    }

    fn step(&self, state: usize, step: Step) -> Option<usize> {
        let next = &self.states[state].next;
        let found = next.binary_search_by_key(&step, |(step, _)| *step);
        found.ok().map(|i| next[i].1)
    }

    fn lead(&mut self, state: usize, step: Step, to: usize) {
        let next = &mut self.states[state].next;
        match next.binary_search_by_key(&step, |(step, _)| *step) {
            Ok(i) => next[i].1 = to,
            Err(i) => next.insert(i, (step, to)),
        }
    }

    /// The state of the run that ends in `last`, one step longer; made where it is not there.
    fn extend(&mut self, last: usize, step: Step) -> usize {
        if let Some(known) = self.step(last, step) {
            return self.divided(last, step, known);
        }
        let new = self.states.len();
        self.states.push(State {
            next: Vec::new(),
            link: Some(0),
            length: self.states[last].length + 1,
            found: 0,
        });
        let mut suffix = Some(last);
        while let Some(state) = suffix {
            if let Some(known) = self.step(state, step) {
                let link = self.divided(state, step, known);
                self.states[new].link = Some(link);
                break;
            }
            self.lead(state, step, new);
            suffix = self.states[state].link;
        }
        new
    }

    /// The state whose longest run is that of `state` with `step`, which leads to `known`: that itself,
    /// or a new one for the shorter of its runs.
    fn divided(&mut self, state: usize, step: Step, known: usize) -> usize {
        let length = self.states[state].length + 1;
        if self.states[known].length == length {
            return known;
        }
        let shorter = self.states.len();
        self.states.push(State {
            next: self.states[known].next.clone(),
            link: self.states[known].link,
            length,
            found: 0,
        });
        self.states[known].link = Some(shorter);
        let mut suffix = Some(state);
        while let Some(state) = suffix.filter(|&state| self.step(state, step) == Some(known)) {
            self.lead(state, step, shorter);
            suffix = self.states[state].link;
        }
        shorter
    }

    /// Looks for the pieces' runs in another piece's.
    pub fn look_in(&mut self, piece: &[Vec<Step>]) {
        for run in piece {
            let (mut state, mut length) = (0, 0);
            for step in run {
                let to = loop {
                    match (self.step(state, *step), self.states[state].link) {
                        (None, Some(link)) => {
                            state = link;
                            length = self.states[link].length;
                        }
                        (to, _) => break to,
                    }
                };
                let Some(to) = to else { continue };
                (state, length) = (to, length + 1);
                let found = &mut self.states[state].found;
                *found = length.max(*found);
            }
        }
    }

    /// For each piece the notes of the longest of its runs that were found; 0 where none was, for one note
    /// alone is no run.
    pub fn longest(mut self) -> Vec<usize> {
        let mut by_length: Vec<usize> = (1..self.states.len()).collect();
        by_length.sort_unstable_by_key(|&state| self.states[state].length);
        // Where a run was found, so were its suffixes.
        for &state in by_length.iter().rev() {
            if let (Some(link), 1..) = (self.states[state].link, self.states[state].found) {
                self.states[link].found = self.states[link].length;
            }
        }
        // And of a run that was not, the longest suffix that was.
        for &state in &by_length {
            if let Some(link) = self.states[state].link {
                let suffix = self.states[link].found;
                self.states[state].found = suffix.max(self.states[state].found);
            }
        }
        let found = |ends: &Vec<usize>| ends.iter().map(|&state| self.states[state].found).max();
        let notes = |steps: usize| if steps > 0 { steps + 1 } else { 0 };
        let longest = |ends| found(ends).map_or(0, notes);
        self.ends.iter().map(longest).collect()
    }
}

#[cfg(test)]
mod tests {
    use famam_shared::instrument::Instrument;
    use famam_shared::score::{Note, Ticks, Track};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn score(tracks: &[(u8, &[(u32, u8)])]) -> Score {
        let note = |&(start, pitch): &(u32, u8)| Note {
            start: Ticks(start),
            pitch,
            duration: Ticks(100),
            velocity: 64,
        };
        let track = |(instrument, notes): &(u8, &[(u32, u8)])| Track {
            instrument: Instrument::new(*instrument).unwrap(),
            name: String::new(),
            notes: notes.iter().map(note).collect(),
        };
        Score {
            tracks: tracks.iter().map(track).collect(),
            ..Score::default()
        }
    }

    fn shared(piece: &Score, other: &Score) -> usize {
        let mut all = Runs::of(&[runs(piece)]);
        all.look_in(&runs(other));
        all.longest()[0]
    }

    const TUNE: [(u32, u8); 8] = [
        (0, 60),
        (480, 62),
        (960, 64),
        (960, 67),
        (1280, 65),
        (1600, 64),
        (1920, 60),
        (3840, 48),
    ];

    #[test]
    fn a_transposed_copy_at_another_place_counts_whole() {
        let moved = TUNE.map(|(start, pitch)| (start + 960 * 7, pitch + 5));
        let ours = score(&[(0, &TUNE)]);
        assert_eq!(shared(&ours, &score(&[(40, &moved)])), 8);
        // With the fifth note another one, the four before it are left.
        let mut other = moved;
        other[4].1 += 1;
        assert_eq!(shared(&ours, &score(&[(40, &other)])), 4);
        // In another rhythm nothing is left but the chord.
        let slower = TUNE.map(|(start, pitch)| (start * 3, pitch));
        assert_eq!(shared(&ours, &score(&[(0, &slower)])), 2);
        // Within half a position it is the same rhythm.
        let loose = moved.map(|(start, pitch)| (start + 39, pitch));
        assert_eq!(shared(&ours, &score(&[(0, &loose)])), 8);
    }

    #[test]
    fn drums_and_what_lies_beyond_a_long_rest_are_no_run() {
        let ours = score(&[(0, &TUNE)]);
        assert_eq!(shared(&ours, &score(&[(128, &TUNE)])), 0);
        assert_eq!(shared(&ours, &Score::default()), 0);
        assert_eq!(shared(&Score::default(), &ours), 0);
        let apart =
            TUNE.map(|(start, pitch)| (start + if start > 960 { 16 * 960 } else { 0 }, pitch));
        let apart = score(&[(0, &apart)]);
        assert_eq!(runs(&apart).len(), 2);
        assert_eq!(shared(&apart, &apart), 4);
        // Runs do not go on from one track to the next.
        let halves = score(&[(0, &TUNE[..4]), (1, &TUNE[4..])]);
        assert_eq!(shared(&ours, &halves), 4);
    }

    /// The longest step sequence of `piece` that stands anywhere in `others`.
    fn slowly(piece: &[Vec<Step>], others: &[Vec<Vec<Step>>]) -> usize {
        let mut longest = 0;
        for run in piece {
            for from in 0..run.len() {
                for to in from + longest + 1..=run.len() {
                    let part = &run[from..to];
                    let mut all = others.iter().flatten();
                    if all.any(|other| other.windows(part.len()).any(|at| at == part)) {
                        longest = part.len();
                    } else {
                        break;
                    }
                }
            }
        }
        if longest > 0 { longest + 1 } else { 0 }
    }

    #[test]
    fn the_automaton_finds_what_looking_everywhere_finds() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for round in 0..300 {
            let letters = 1 + round % 4;
            let mut pieces = |most: usize| -> Vec<Vec<Vec<Step>>> {
                let mut run = || -> Vec<Step> {
                    let length = rng.random_range(0..20);
                    (0..length)
                        .map(|_| Step {
                            interval: rng.random_range(0..=letters as i8),
                            time: 1,
                        })
                        .collect()
                };
                (0..most)
                    .map(|i| (0..1 + i % 3).map(|_| run()).collect())
                    .collect()
            };
            let (ours, others) = (pieces(6), pieces(4));
            let mut all = Runs::of(&ours);
            others.iter().for_each(|other| all.look_in(other));
            let expected: Vec<usize> = ours.iter().map(|piece| slowly(piece, &others)).collect();
            assert_eq!(
                all.longest(),
                expected,
                "round {round}: {ours:?} in {others:?}"
            );
        }
    }
}
