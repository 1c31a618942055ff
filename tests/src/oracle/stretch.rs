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
    /// The only channel that goes out.
    pub part: Option<u8>,
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

impl Open<'_> {
    fn line(&self) -> Piece {
        self.pieces[self.pieces.len() - 1]
    }
}

/// Cuts a session into its stretches.
pub(super) fn stretches(session: &[Played]) -> Vec<Stretch<'_>> {
    let mut knife = Knife::default();
    let mut begun = 0;
    for block in session {
        let end = begun + i64::from(block.frames);
        knife.waiting = block.clip.as_ref().or(knife.waiting);
        knife.join(block, begun);
        knife.cut(block, begun, end);
        begun = end;
    }
    knife.close(begun, 0, f64::INFINITY);
    knife.done
}

#[derive(Default)]
struct Knife<'a> {
    done: Vec<Stretch<'a>>,
    open: Option<Open<'a>>,
    /// The clip that plays, and the one that will.
    clip: Option<&'a Clip>,
    waiting: Option<&'a Clip>,
    part: Option<u8>,
}

impl<'a> Knife<'a> {
    /// Goes on with the open stretch, if the block follows what came before, or begins another.
    fn join(&mut self, block: &Played, begun: i64) {
        let other = self.part != block.part;
        if block.panic || other {
            // All ends, and the song goes on where it is.
            let line = self.open.as_ref().map(|open| open.pieces.clone());
            self.close(begun, 0, f64::INFINITY);
            self.part = block.part;
            self.open = line.map(|pieces| Open {
                clip: self.clip,
                start: begun,
                pieces,
            });
        }
        let Played {
            sample_rate,
            ref transport,
            reset,
            ..
        } = *block;
        let here = Piece {
            from: transport.quarters,
            sample: begun as f64,
            samples_per_quarter: sample_rate * 60.0 / transport.tempo,
        };
        let open = self.open.as_mut().filter(|_| transport.playing && !reset);
        let expected = open.as_ref().map(|open| open.line().quarters(begun as f64));
        let follows = expected.is_some_and(|expected| (expected - here.from).abs() < SAME);
        if let Some(open) = open.filter(|_| follows) {
            if open.line().samples_per_quarter != here.samples_per_quarter {
                open.pieces.push(here);
            }
            return;
        }
        let wraps = expected
            .zip(transport.loop_range)
            .is_some_and(|(expected, (start, end))| {
                expected > end - SAME && (expected - end + start - here.from).abs() < SAME
            });
        self.close(begun, 0, f64::INFINITY);
        // A clip that waits enters at a loop's start, at Play, and while nothing plays; after a
        // jump it waits on.
        if wraps || expected.is_none() {
            self.exchange();
        }
        if transport.playing {
            self.open = Some(Open {
                clip: self.clip,
                start: begun,
                pieces: vec![here],
            });
        }
    }

    /// Cuts where the loop comes round, and where a clip that waits enters at a bar line.
    fn cut(&mut self, block: &Played, begun: i64, end: i64) {
        let transport = &block.transport;
        let bar_length = f64::from(transport.metre.0) * 4.0 / f64::from(transport.metre.1);
        while let Some(open) = &self.open {
            let line = open.line();
            let earliest = open.start.max(begun);
            let inside = |quarters: &f64| (earliest..end).contains(&round(line.at(*quarters)));
            let wrap = transport
                .loop_range
                .filter(|(_, loop_end)| open.pieces[0].from < loop_end - SAME && inside(loop_end));
            let bar = self.waiting.and_then(|_| {
                let before = line.quarters(earliest as f64 - 1.0) - transport.bar_start;
                let first = transport.bar_start + (before / bar_length).floor() * bar_length;
                // One before, one on or after, and one for the rounding.
                (0..3)
                    .map(|bar| first + f64::from(bar) * bar_length)
                    .find(inside)
            });
            let (to, from) = match (bar, wrap) {
                (Some(bar), wrap) if wrap.is_none_or(|(_, loop_end)| bar < loop_end - SAME) => {
                    (bar, bar)
                }
                (_, Some((loop_start, loop_end))) => (loop_end, loop_start),
                _ => return,
            };
            let sample = line.at(to);
            let slack = if open.pieces.len() > 1 {
                1
            } else {
                edge(sample)
            };
            self.close(round(sample), slack, to);
            self.exchange();
            let pieces = vec![Piece {
                from,
                sample,
                ..line
            }];
            self.open = Some(Open {
                clip: self.clip,
                start: round(sample),
                pieces,
            });
        }
    }

    fn exchange(&mut self) {
        self.clip = self.waiting.take().or(self.clip);
    }

    fn close(&mut self, end: i64, end_slack: i64, to: f64) {
        if let Some(Open {
            clip: Some(clip),
            start,
            pieces,
        }) = self.open.take()
            && start < end
        {
            self.done.push(Stretch {
                clip,
                part: self.part,
                start,
                end,
                end_slack,
                to,
                pieces,
            });
        }
    }
}
