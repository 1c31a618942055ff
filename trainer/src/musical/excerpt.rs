//! Bars of a score as the figures see them: with bar lines, on one grid, ended where the last bar does.

use famam_shared::score::{Bar, Metre, Note, Score, TICKS_PER_QUARTER, Tempo, Ticks, Track};

/// Positions of the figures' grid in a quarter: 16ths and triplets are exact.
pub const POSITIONS: u32 = 12;
/// Ticks from one position to the next.
const STEP: u32 = TICKS_PER_QUARTER / POSITIONS;

/// The position nearest to `at`, the later one of two equally near.
pub fn position(at: Ticks) -> u32 {
    (at.0 + STEP / 2) / STEP
}

/// Whole bars of music.
#[derive(Clone, Debug)]
pub struct Excerpt {
    score: Score,
    bars: Vec<Bar>,
}

impl Excerpt {
    /// The first `bars` bars of a score, or all of them where it has fewer. What sounds on behind the
    /// last ends with it: music that was generated ends there, too.
    pub fn new(mut score: Score, bars: usize) -> Self {
        let bars: Vec<Bar> = score.bars().take(bars.max(1)).collect();
        score.end = bars.last().map_or(score.end, |bar| bar.end);
        for track in &mut score.tracks {
            track.notes.retain(|note| note.start < score.end);
            for note in &mut track.notes {
                note.duration = note.duration.min(score.end - note.start);
            }
        }
        score.tracks.retain(|track| !track.notes.is_empty());
        Self { score, bars }
    }

    /// The bars from `from` on, at most `count`, as music of their own. What was struck before is left
    /// out.
    pub fn window(&self, from: usize, count: usize) -> Self {
        let Some(first) = self.bars.get(from) else {
            return Self::new(Score::default(), count);
        };
        let bars = &self.bars[from..];
        let last = bars.iter().take(count).next_back().unwrap_or(first);
        let earlier = |at: Ticks| at.saturating_sub(first.start);
        let mut score = Score {
            metres: vec![first.metre],
            end: last.end - first.start,
            ..Score::default()
        };
        score.metres[0].at = Ticks(0);
        let later = self.score.metres.iter();
        score.metres.extend(
            later
                .filter(|metre| (first.end..last.end).contains(&metre.at))
                .map(|metre| Metre {
                    at: earlier(metre.at),
                    ..*metre
                }),
        );
        score.tempos.push(Tempo {
            at: Ticks(0),
            micros_per_quarter: self.score.tempo_at(first.start),
        });
        for track in &self.score.tracks {
            let notes = track.notes.iter();
            let notes = notes.filter(|note| (first.start..last.end).contains(&note.start));
            score.tracks.push(Track {
                instrument: track.instrument,
                name: String::new(),
                notes: notes
                    .map(|note| Note {
                        start: earlier(note.start),
                        ..*note
                    })
                    .collect(),
            });
        }
        Self::new(score, count)
    }

    /// Its notes.
    pub fn score(&self) -> &Score {
        &self.score
    }

    /// Its bars, at least one.
    pub fn bars(&self) -> &[Bar] {
        &self.bars
    }

    /// The tracks that play pitches.
    pub fn pitched(&self) -> impl Iterator<Item = &Track> {
        let tracks = self.score.tracks.iter();
        tracks.filter(|track| !track.instrument.is_drums())
    }

    /// The notes of all tracks that play pitches, by track.
    pub fn pitched_notes(&self) -> impl Iterator<Item = &Note> {
        self.pitched().flat_map(|track| &track.notes)
    }

    /// The notes of all tracks, by track.
    pub fn notes(&self) -> impl Iterator<Item = &Note> {
        self.score.tracks.iter().flat_map(|track| &track.notes)
    }

    /// The piano roll of the pitched tracks: for each position the pitches that sound there, a bit each.
    pub fn roll(&self) -> Vec<u128> {
        let mut roll = vec![0u128; position(self.score.end) as usize];
        for note in self.pitched_notes() {
            let from = position(note.start) as usize;
            // However short, a note is heard.
            let to = (position(note.end()) as usize).max(from + 1);
            for sounding in roll.iter_mut().take(to).skip(from) {
                *sounding |= 1 << (note.pitch & 127);
            }
        }
        roll
    }

    /// For each bar what `of` says of a note and its position in the bar, sorted, each once: the notes
    /// that begin there.
    pub fn by_bar<T: Ord>(&self, of: impl Fn(&Track, &Note, u32) -> T) -> Vec<Vec<T>> {
        let mut bars: Vec<Vec<T>> = Vec::new();
        bars.resize_with(self.bars.len(), Vec::new);
        for track in &self.score.tracks {
            for note in &track.notes {
                let bar = self.bars.partition_point(|bar| bar.end <= note.start);
                let Some(begins) = self.bars.get(bar) else {
                    continue;
                };
                let at = position(note.start - begins.start);
                bars[bar].push(of(track, note, at));
            }
        }
        for bar in &mut bars {
            bar.sort_unstable();
            bar.dedup();
        }
        bars
    }
}

/// The mean of `values`; `None` of none.
pub fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values
        .into_iter()
        .fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// `counts` over their sum; `None` where that is nothing.
pub fn shares(mut counts: Vec<f64>) -> Option<Vec<f64>> {
    let sum: f64 = counts.iter().sum();
    counts.iter_mut().for_each(|count| *count /= sum);
    (sum > 0.0).then_some(counts)
}
