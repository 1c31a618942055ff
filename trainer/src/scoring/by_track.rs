//! The windows of a piece in an encoding that says bars together, track by track.
//!
//! Each begins with as many whole ones of these as fill half of it, which were scored before, and
//! goes on with others for which there is room. Where not even one fits, it is of fewer bars; the
//! stream of a bar that alone is longer than the context is seen through windows that overlap by half.
//! What a window states anew, as it has no past, is scored, too.

use famam_shared::encoding::{Body, Conditioning, Encoding, Token};
use famam_shared::manifest::Context;

use super::Window;

/// What is seen.
pub(super) struct Piece<'a> {
    pub(super) index: usize,
    pub(super) body: &'a Body,
    pub(super) encoding: &'a dyn Encoding,
    pub(super) conditioning: &'a Conditioning,
    /// Bars that are said together.
    pub(super) together: usize,
}

impl Piece<'_> {
    /// What a model sees of the stream of the bars from `from` to before `to`; of none the head.
    fn stream(&self, from: usize, to: usize) -> Vec<Token> {
        if from == to {
            return self.encoding.head(self.conditioning);
        }
        let (tokens, bars) = (&self.body.tokens, &self.body.bars);
        let end = bars.get(to).map_or(tokens.len(), |&bar| bar as usize);
        let tokens = &tokens[bars[from] as usize..end];
        let first = self.body.states[from];
        let stream = self.encoding.segment(self.conditioning, tokens, first, 0);
        self.encoding
            .merge(&stream.unwrap_or_default())
            .into_owned()
    }

    /// The windows through which it is seen, each token scored once.
    pub(super) fn windows(&self, context: Context) -> Vec<Window> {
        let bars = self.body.bars.len();
        let window = |tokens, first| Window {
            piece: self.index,
            tokens,
            head: self.encoding.head(self.conditioning).len(),
            first,
        };
        let fits =
            |from, to| to - from <= context.bars && self.stream(from, to).len() <= context.tokens;
        let (mut windows, mut done) = (Vec::new(), 0);
        while done < bars {
            let half = |from: &usize| {
                2 * (done - from) <= context.bars
                    && 2 * self.stream(*from, done).len() <= context.tokens
            };
            let past = (0..=done).rev().step_by(self.together);
            let past = past.take_while(half).last().unwrap_or(done);
            let ends = |from: usize| {
                let ends = (1..).map(|count| bars.min(done + count * self.together));
                let mut last = None;
                for end in ends {
                    if last == Some(end) || !fits(from, end) {
                        break;
                    }
                    last = Some(end);
                }
                last
            };
            let fewer = || {
                let mut fewer = (done + 1..bars.min(done + self.together)).rev();
                fewer.find(|&end| fits(done, end)).map(|end| (done, end))
            };
            let found = ends(past).map(|end| (past, end));
            let found = found.or_else(|| ends(done).map(|end| (done, end)));
            if let Some((from, end)) = found.or_else(fewer) {
                let first = self.stream(from, done).len();
                windows.push(window(self.stream(from, end), first));
                done = end;
                continue;
            }
            let head = self.stream(done, done);
            let stream = self.stream(done, done + 1).split_off(head.len());
            let room = context.tokens - head.len();
            let mut from = 0;
            while from < stream.len() {
                let begin = from.saturating_sub(room / 2);
                let end = stream.len().min(begin + room);
                let tokens = [&head, &stream[begin..end]].concat();
                windows.push(window(tokens, head.len() + from - begin));
                from = end;
            }
            done += 1;
        }
        windows
    }
}
