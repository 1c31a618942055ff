//! The music that is known: a MIDI file, or tokens, up to a bar.

use std::path::{Path, PathBuf};

use famam_shared::encoding::{DecodeError, Encoding, Token};
use famam_shared::generation::song::SongBar;
use famam_shared::instrument::InstrumentSet;
use famam_shared::midi;
use famam_shared::quantize::quantize;
use famam_shared::score::{Bar, Score};

use super::options::Options;

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum KnownError {
    #[error(transparent)]
    Midi(#[from] midi::FileError),
    #[error("cannot read the tokens {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{}: \"{word}\" is no token; expected numbers from 0 to 65535 with spaces between", path.display())]
    Word { path: PathBuf, word: String },
    #[error("{} says no music in this model's encoding: {source}; its tokens must come from a model with the same", path.display())]
    Tokens { path: PathBuf, source: DecodeError },
    #[error("{} has no notes, and nothing can go on from there: leave it out", path.display())]
    Silent { path: PathBuf },
    #[error("{} has {bars} bars: --from-bar {asked} is behind its end", path.display())]
    Short {
        path: PathBuf,
        bars: usize,
        asked: u32,
    },
    #[error("the first bar of {} has {tokens} tokens, more than --first-tokens {asked}: ask for as many", path.display())]
    Tokenless {
        path: PathBuf,
        tokens: usize,
        asked: usize,
    },
    #[error(
        "bar {bar} of {} is cut short by a change of metre, and a song has whole bars: give the change to a bar line, or \
         go on before it with --from-bar", path.display()
    )]
    Cut { path: PathBuf, bar: usize },
}

/// Music that is known.
#[derive(Clone, Debug)]
pub struct Known {
    /// It, up to its last bar's end.
    pub score: Score,
    /// Its bars.
    pub bars: Vec<Bar>,
}

impl Known {
    /// That which the options name.
    pub fn of(options: &Options, encoding: &dyn Encoding) -> Result<Option<Self>, KnownError> {
        let (path, score) = match (&options.from, &options.from_tokens) {
            (Some(path), _) => (path, midi::read_file(path)?),
            (None, Some(path)) => (path, decode(path, encoding)?),
            (None, None) => return Ok(None),
        };
        if score.note_count() == 0 {
            return Err(KnownError::Silent { path: path.clone() });
        }
        let mut bars: Vec<Bar> = whole_bars(&score);
        let here = bars.len();
        if let Some(asked) = options.from_bar {
            let path = path.clone();
            let bars = here;
            (asked as usize <= here)
                .then_some(())
                .ok_or(KnownError::Short { path, bars, asked })?;
        }
        let tokens = options.first_tokens.map(|asked| {
            let (score, _) = quantize(&score, encoding.quantize_settings());
            let body = encoding.encode(&score).pop().unwrap_or_default();
            let ends = body.bars.iter().skip(1).copied();
            let ends = ends.chain([body.tokens.len() as u32]);
            let said = ends
                .clone()
                .take_while(|end| *end as usize <= asked)
                .count();
            let first = ends.clone().next().unwrap_or_default() as usize;
            match said {
                0 => Err(KnownError::Tokenless {
                    path: path.clone(),
                    tokens: first,
                    asked,
                }),
                bars => Ok(bars),
            }
        });
        let first = options.from_bar.map(|bars| bars as usize);
        bars.truncate(tokens.transpose()?.or(first).unwrap_or(here));
        let cut = |bar: &Bar| bar.end.saturating_sub(bar.start) != bar.metre.bar();
        if let Some(bar) = bars.iter().position(cut) {
            return Err(KnownError::Cut {
                path: path.clone(),
                bar: bar + 1,
            });
        }
        let end = bars.last().map_or(score.end, |bar| bar.end);
        let mut score = score;
        for track in &mut score.tracks {
            track.notes.retain(|note| note.start < end);
        }
        score.tracks.retain(|track| !track.notes.is_empty());
        score.tempos.retain(|tempo| tempo.at < end);
        score.metres.retain(|metre| metre.at < end);
        score.keys.retain(|key| key.at < end);
        score.end = end;
        Ok(Some(Self { score, bars }))
    }

    /// Metre and tempo of each bar.
    pub fn states(&self) -> impl Iterator<Item = SongBar> + '_ {
        self.bars.iter().map(|bar| SongBar {
            metre: bar.metre,
            micros_per_quarter: self.score.tempo_at(bar.start),
        })
    }

    /// What plays.
    pub fn band(&self) -> InstrumentSet {
        self.score
            .tracks
            .iter()
            .map(|track| track.instrument)
            .collect()
    }
}

/// The bars of a piece, up to its end's nearest bar line: a last note that is held a little longer begins no bar.
fn whole_bars(score: &Score) -> Vec<Bar> {
    let notes = score.tracks.iter().flat_map(|track| &track.notes);
    let last = notes.map(|note| note.start).max().unwrap_or_default();
    let half = |bar: &Bar| bar.start.0 + (bar.end.0 - bar.start.0) / 2;
    score
        .bars()
        .take_while(|bar| bar.start <= last || half(bar) < score.end.0)
        .collect()
}

/// The score of lines of tokens, each a stream.
fn decode(path: &Path, encoding: &dyn Encoding) -> Result<Score, KnownError> {
    let text = std::fs::read_to_string(path).map_err(|source| KnownError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut all: Option<Score> = None;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let tokens = line.split_whitespace().map(|word| {
            word.parse::<Token>().map_err(|_| KnownError::Word {
                path: path.to_owned(),
                word: word.to_owned(),
            })
        });
        let tokens: Vec<Token> = tokens.collect::<Result<_, _>>()?;
        let tokens = encoding.expand(&tokens);
        let score = encoding
            .decode(&tokens)
            .map_err(|source| KnownError::Tokens {
                path: path.to_owned(),
                source,
            })?;
        match &mut all {
            None => all = Some(score),
            Some(all) => {
                all.end = all.end.max(score.end);
                all.tracks.extend(score.tracks);
            }
        }
    }
    Ok(all.unwrap_or_default())
}
