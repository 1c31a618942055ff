//! How long music is in tokens, by encoding.

use std::fmt;

use famam_shared::encoding::{Body, Encoding, SettingsError, Spec, Token, grid, mmm};
use famam_shared::quantize;
use serde::Serialize;

use super::quantile;

/// Bars of a segment whose tokens a context should hold.
const SEGMENT_BARS: usize = 8;
/// Share of the segments that it should hold whole.
const MOST: f64 = 0.95;
/// Room for a head and the first bar's metre and tempo.
const HEAD: f64 = 24.0;

/// An encoding and its name.
pub(super) type Named = (&'static str, Box<dyn Encoding>);

/// Every encoding with its defaults, by name.
pub(super) fn encodings() -> Result<Vec<Named>, SettingsError> {
    let settings = quantize::Settings::default;
    [
        Spec::Multitrack(settings()),
        Spec::Remi(settings()),
        Spec::Event(settings()),
        Spec::Mmm(mmm::Settings::default()),
        Spec::Grid(grid::Settings::default()),
    ]
    .into_iter()
    .map(|spec| Ok((spec.name(), spec.build(1)?)))
    .collect()
}

/// The lengths of a file.
pub(super) struct OfFile {
    tokens: usize,
    notes: u64,
    bars: usize,
    segments: Vec<u32>,
    used: Vec<u16>,
}

impl OfFile {
    /// Of its bodies, which say `notes` notes, as streams.
    pub(super) fn new(encoding: &dyn Encoding, bodies: &[Body], notes: u64) -> Self {
        let stream = |tokens: &[Token]| {
            let mut stream = tokens.to_vec();
            encoding.arrange(&mut stream);
            stream
        };
        let segments = bodies.iter().flat_map(|body| {
            let ends = body.bars.iter().copied().skip(SEGMENT_BARS);
            let ends = ends.step_by(SEGMENT_BARS).chain([body.tokens.len() as u32]);
            let begins = body.bars.iter().copied().step_by(SEGMENT_BARS);
            let segment = |(begin, end)| stream(&body.tokens[begin as usize..end as usize]);
            std::iter::zip(begins, ends).map(move |bars| segment(bars).len() as u32)
        });
        let segments = segments.collect();
        let mut used: Vec<Token> = bodies
            .iter()
            .flat_map(|body| stream(&body.tokens))
            .collect();
        let tokens = used.len();
        used.sort_unstable();
        used.dedup();
        Self {
            tokens,
            notes,
            bars: bodies.iter().map(|body| body.bars.len()).sum(),
            segments,
            used,
        }
    }
}

/// Sums over files.
pub(super) struct Counts {
    files: Vec<f64>,
    segments: Vec<f64>,
    notes: u64,
    bars: usize,
    used: Vec<bool>,
}

impl Counts {
    pub(super) fn new(encoding: &dyn Encoding) -> Self {
        Self {
            files: Vec::new(),
            segments: Vec::new(),
            notes: 0,
            bars: 0,
            used: vec![false; encoding.vocabulary_size()],
        }
    }

    pub(super) fn take(&mut self, file: OfFile) {
        self.files.push(file.tokens as f64);
        self.segments
            .extend(file.segments.into_iter().map(f64::from));
        self.notes += file.notes;
        self.bars += file.bars;
        for token in file.used {
            self.used[usize::from(token)] = true;
        }
    }

    pub(super) fn finish(self) -> Tokens {
        let segments = lengths(self.segments);
        let all = self.files.iter().sum::<f64>();
        let unused = self.used.iter().filter(|used| !**used).count();
        Tokens {
            tokens: all as u64,
            files: lengths(self.files),
            a_note: all / self.notes.max(1) as f64,
            a_bar: all / self.bars.max(1) as f64,
            vocabulary: self.used.len(),
            unused: unused as f64 / self.used.len().max(1) as f64,
            context: ((segments.most + HEAD) as usize).next_power_of_two(),
            segments,
        }
    }
}

fn lengths(mut of: Vec<f64>) -> Lengths {
    of.sort_by(f64::total_cmp);
    Lengths {
        least: quantile(&of, 0.0),
        median: quantile(&of, 0.5),
        mean: of.iter().sum::<f64>() / of.len().max(1) as f64,
        most: quantile(&of, MOST),
        longest: quantile(&of, 1.0),
    }
}

/// Lengths in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Lengths {
    /// The shortest.
    pub least: f64,
    /// The median.
    pub median: f64,
    /// The mean.
    pub mean: f64,
    /// 95 % are no longer.
    pub most: f64,
    /// The longest.
    pub longest: f64,
}

/// What an encoding makes of the files.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tokens {
    /// All of them.
    pub tokens: u64,
    /// Of whole files.
    pub files: Lengths,
    /// Of segments of eight bars.
    pub segments: Lengths,
    /// Tokens a note that is still there after quantization.
    pub a_note: f64,
    /// Tokens a bar.
    pub a_bar: f64,
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
    /// Share of them that does not occur: genres and instruments of heads are among those.
    pub unused: f64,
    /// The context that holds 95 % of the segments of eight bars: a power of two.
    pub context: usize,
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lengths {
            least,
            median,
            mean,
            most,
            longest,
        } = self.files;
        writeln!(
            f,
            "{}, {:.2} a note, {:.1} a bar; {:.0} % of {} in the vocabulary unused",
            self.tokens,
            self.a_note,
            self.a_bar,
            100.0 * self.unused,
            self.vocabulary
        )?;
        writeln!(
            f,
            "            a file: {least:.0} to {longest:.0}, median {median:.0}, mean {mean:.0}, 95 % below {most:.0}"
        )?;
        write!(
            f,
            "            a context (max_seq_length) of {} holds {:.0} % of all {SEGMENT_BARS} bars",
            self.context,
            100.0 * MOST
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_of_eight_bars_and_the_rest() {
        let body = Body {
            tokens: vec![3; 190],
            bars: (0..19).map(|bar| bar * 10).collect(),
            ..Body::default()
        };
        let encoding = &encodings().unwrap()[0].1;
        let file = OfFile::new(&**encoding, &[body], 50);
        assert_eq!(file.segments, [80, 80, 30]);
        let mut counts = Counts::new(&**encoding);
        counts.take(file);
        let tokens = counts.finish();
        assert_eq!(
            (tokens.tokens, tokens.a_note, tokens.a_bar),
            (190, 3.8, 10.0)
        );
        assert_eq!(tokens.context, 128);
        let size = encoding.vocabulary_size() as f64;
        assert_eq!(tokens.unused, (size - 1.0) / size);
    }
}
