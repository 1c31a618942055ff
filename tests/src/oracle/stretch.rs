//! Stretches of a session in which one clip plays without a break.

use super::{Clip, Played};

/// Quarters by which two positions may differ and still be the same: far below a tick, far above
/// what hosts round away.
const SAME: f64 = 1e-6;
/// Part of a sample within which of the rounding's edge a note may be one sample off.
const EDGE: f64 = 1e-3;

/// A straight piece of the line from musical position to sample.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// Where it begins, in quarters.
    from: f64,
    /// The sample there, with its fraction.
    sample: f64,
    samples_per_quarter: f64,
}

impl Piece {
    fn at(&self, quarters: f64) -> f64 {
        self.sample + (quarters - self.from) * self.samples_per_quarter
    }

    fn quarters(&self, sample: f64) -> f64 {
        self.from + (sample - self.sample) / self.samples_per_quarter
    }
}

fn round(sample: f64) -> i64 {
    (sample + 0.49).floor() as i64
}

/// 1 where rounding of the last digits may move a sample.
fn edge(sample: f64) -> i64 {
    let fraction = (sample + 0.49).rem_euclid(1.0);
    i64::from(!(EDGE..=1.0 - EDGE).contains(&fraction))
}

/// A clip plays from `start` up to `end`, in samples from the session's start.
#[derive(Clone, Debug)]
pub(super) struct Stretch<'a> {
    pub clip: &'a Clip,
    pub start: i64,
    pub end: i64,
    /// Samples by which `end` may differ.
    pub end_slack: i64,
    /// The position of `end`, where that is a musical one: a bar line or a loop's end.
    to: f64,
    pieces: Vec<Piece>,
}

impl Stretch<'_> {
    /// Positions around all that can sound in it.
    pub fn positions(&self) -> (f64, f64) {
        let (first, last) = (self.pieces[0], self.pieces[self.pieces.len() - 1]);
        (first.from - 1.0, last.quarters(self.end as f64) + 1.0)
    }

    /// The sample of a position, and how far off it may be.
    pub fn sample_of(&self, quarters: f64) -> (i64, i64) {
        let piece = self
            .pieces
            .iter()
            .rev()
            .find(|piece| piece.from <= quarters);
        let sample = piece.unwrap_or(&self.pieces[0]).at(quarters);
        let slack = if self.pieces.len() > 1 {
            1
        } else {
            edge(sample)
        };
        (round(sample), slack)
    }

    /// The same for a note's start; `None` where it lies outside.
    pub fn sample_within(&self, quarters: f64) -> Option<(i64, i64)> {
        let (sample, slack) = self.sample_of(quarters);
        let inside = (self.start - slack..self.end + slack).contains(&sample)
            && quarters < self.to - SAME
            && quarters > self.pieces[0].from - 1.0 / self.pieces[0].samples_per_quarter;
        inside.then(|| (sample.clamp(self.start, self.end - 1), slack))
    }
}

/// The stretch that is being played.
struct Open<'a> {
    clip: Option<&'a Clip>,
    start: i64,
    pieces: Vec<Piece>,
}

impl<'a> Open<'a> {
    fn line(&self) -> Piece {
        self.pieces[self.pieces.len() - 1]
    }

    fn close(self, end: i64, end_slack: i64, to: f64) -> Option<Stretch<'a>> {
        let Open {
            clip,
            start,
            pieces,
        } = self;
        let stretch = Stretch {
            clip: clip?,
            start,
            end,
            end_slack,
            to,
            pieces,
        };
        (start < end).then_some(stretch)
    }
}

/// Cuts a session into its stretches.
pub(super) fn stretches(session: &[Played]) -> Vec<Stretch<'_>> {
    let mut done = Vec::new();
    let mut clip: Option<&Clip> = None;
    let mut waiting: Option<&Clip> = None;
    let mut open: Option<Open> = None;
    let mut begun = 0i64;
    for block in session {
        let end = begun + i64::from(block.frames);
        waiting = block.clip.as_ref().or(waiting);
        let transport = &block.transport;
        let samples_per_quarter = block.sample_rate * 60.0 / transport.tempo;
        let here = Piece {
            from: transport.quarters,
            sample: begun as f64,
            samples_per_quarter,
        };
        let playing = transport.playing;

        // How the block joins what came before.
        let expected = open.as_ref().map(|open| open.line().quarters(begun as f64));
        let follows = expected.is_some_and(|expected| (expected - here.from).abs() < SAME);
        let wraps = expected
            .zip(transport.loop_range)
            .is_some_and(|(expected, (start, end))| {
                expected > end - SAME && (expected - end + start - here.from).abs() < SAME
            });
        if !(playing && follows && !block.reset) {
            let was_playing = open.is_some() && !block.reset;
            done.extend(
                open.take()
                    .and_then(|open| open.close(begun, 0, f64::INFINITY)),
            );
            // A clip that waits enters at a loop's start, at Play, and while nothing plays.
            if wraps || !was_playing || !playing {
                clip = waiting.take().or(clip);
            }
            open = playing.then(|| Open {
                clip,
                start: begun,
                pieces: vec![here],
            });
        } else if let Some(open) = &mut open
            && open.line().samples_per_quarter != samples_per_quarter
        {
            open.pieces.push(here);
        }

        // What happens inside it.
        while let Some(now) = &open {
            let line = now.line();
            let cut_at = |quarters: f64| (line.at(quarters), quarters);
            let wrap = transport
                .loop_range
                .filter(|(_, loop_end)| now.pieces[0].from < *loop_end - SAME)
                .filter(|(_, loop_end)| round(line.at(*loop_end)) < end)
                .filter(|(_, loop_end)| round(line.at(*loop_end)) >= begun);
            let bar = waiting.map(|_| {
                let length = f64::from(transport.metre.0) * 4.0 / f64::from(transport.metre.1);
                let earliest = now.start.max(begun);
                let first = (line.quarters(earliest as f64 - 1.0) - transport.bar_start) / length;
                (0..)
                    .map(|bar| {
                        cut_at(transport.bar_start + (first.floor() + f64::from(bar)) * length)
                    })
                    .find(|(sample, _)| round(*sample) >= earliest)
                    .unwrap_or_default()
            });
            let bar = bar.filter(|(sample, _)| round(*sample) < end);
            let wrap = wrap.map(|range| (line.at(range.1), range));
            let (sample, to, from) = match (bar, wrap) {
                (Some(bar), wrap) if wrap.is_none_or(|(wrap, _)| bar.0 < wrap - 0.5) => {
                    (bar.0, bar.1, bar.1)
                }
                (_, Some((sample, (loop_start, loop_end)))) => (sample, loop_end, loop_start),
                _ => break,
            };
            clip = waiting.take().or(clip);
            let pieces = vec![Piece {
                from,
                sample,
                ..line
            }];
            let slack = if now.pieces.len() > 1 {
                1
            } else {
                edge(sample)
            };
            let next = Open {
                clip,
                start: round(sample),
                pieces,
            };
            let old = open.replace(next);
            done.extend(old.and_then(|old| old.close(round(sample), slack, to)));
        }
        begun = end;
    }
    done.extend(open.and_then(|open| open.close(begun, 0, f64::INFINITY)));
    done
}
