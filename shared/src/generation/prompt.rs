//! What the model reads: prompts, and each token that follows, in every row of the stream.

use std::sync::atomic::Ordering;

use super::{GenerationError, Generator};
use crate::encoding::{Conditioning, Encoding, Kind, Token};
use crate::engine::EngineError;
use crate::sampling::{self, Control};

/// Tokens that a prompt is run in at once; between two chunks it can be cancelled.
pub const PROMPT_CHUNK: usize = 128;

impl Generator {
    /// Runs `tokens` after what is in every row's cache.
    pub(super) async fn append(&mut self, tokens: &[Token]) -> Result<(), GenerationError> {
        self.biases.read(&self.encoding.expand(tokens));
        let free = self.freely(tokens);
        let rows: Vec<&[Token]> = (0..self.conditionings.len())
            .map(|row| match row % self.voices {
                0 => tokens,
                _ => &free,
            })
            .collect();
        self.run(&rows).await
    }

    /// What of these tokens is said where the conditions that guidance drives are not.
    pub(super) fn freely(&self, tokens: &[Token]) -> Vec<Token> {
        let hides = self.request.sampling.guided.contains(Control::Chords);
        let chords = chords(&*self.encoding);
        let said = tokens
            .iter()
            .filter(|token| !hides || !chords.contains(*token));
        said.copied().collect()
    }

    /// Runs tokens after what is in each row's cache; keeps the last ones' logits, guided.
    pub(super) async fn run(&mut self, rows: &[&[Token]]) -> Result<(), GenerationError> {
        let longest = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        for begin in (0..longest).step_by(PROMPT_CHUNK) {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(GenerationError::Cancelled);
            }
            let chunk = |row: &[Token]| begin.min(row.len())..(begin + PROMPT_CHUNK).min(row.len());
            let chunks: Vec<&[Token]> = rows.iter().map(|row| &row[chunk(row)]).collect();
            let read = self.cache.run(&chunks, &mut self.logits).await;
            read.map_err(|source| self.engine_error(source))?;
        }
        for (sequence, row) in self
            .logits
            .chunks_mut(self.voices)
            .zip((0..).step_by(self.voices))
        {
            if let [logits, free] = sequence
                && !rows[row].is_empty()
            {
                sampling::guide(logits, free, self.request.sampling.guidance);
            }
        }
        Ok(())
    }

    /// Tokens in the fullest row's cache.
    pub(super) fn len(&self) -> usize {
        self.cache.len()
    }

    /// Fills the cache anew: the head, the last `keep` windows, and the one that is being written.
    /// What was struck before these is forgotten, so it ends here.
    pub(super) async fn prompt(&mut self, keep: usize) -> Result<(), GenerationError> {
        self.kept.drain(..self.kept.len() - keep);
        self.bars.release_before(keep * self.window);
        let body: Vec<Token> = self
            .kept
            .iter()
            .chain([&self.current])
            .flatten()
            .copied()
            .collect();
        let first = self.state(self.index as usize - keep * self.window);
        self.give(Conditioning {
            metre: Some(first.metre),
            tempo: Some(first.tempo),
            ..self.conditionings[0]
        });
        let given = &self.conditionings[0];
        let stream = self.encoding.begun_with(given, &body, first, 0);
        let head = self.encoding.head(given).len();
        let music = stream.and_then(|stream| stream.get(head..).map(<[Token]>::to_vec));
        self.begin_with(&music.unwrap_or_default()).await
    }

    /// Has all sequences say these conditions from the next prompt on.
    pub(super) fn give(&mut self, conditioning: Conditioning) {
        let free = self.request.sampling.guided.without(&conditioning);
        for voices in self.conditionings.chunks_mut(self.voices) {
            voices.fill(free);
            voices[0] = conditioning;
        }
    }

    /// Fills the cache anew: each row's head, and behind it `music`, nothing of which is merged yet.
    pub(super) async fn begin_with(&mut self, music: &[Token]) -> Result<(), GenerationError> {
        let free = self.freely(music);
        let prompt = |(row, conditioning): (usize, &Conditioning)| {
            let head = self.encoding.head(conditioning);
            let stream = match row % self.voices {
                0 => [&head[..], music].concat(),
                _ => [&head[..], &free].concat(),
            };
            (self.encoding.merge(&stream).into_owned(), head.len())
        };
        let rows = self.conditionings.iter().enumerate();
        let prompts: Vec<(Vec<Token>, usize)> = rows.map(prompt).collect();
        self.biases.clear();
        self.biases.read(music);
        self.grammar = self.encoding.grammar();
        prompts[0]
            .0
            .iter()
            .try_for_each(|&token| self.grammar.accept(token))?;
        let split = prompts
            .iter()
            .map(|(stream, head)| self.ends.split(stream, *head));
        let (conditions, sequences): (Vec<_>, Vec<_>) = split.unzip();
        let conditions = conditions.iter().map(|conditions| conditions.to_vec());
        let mut sequences: Vec<&[Token]> = sequences.iter().map(|sequence| &**sequence).collect();
        let begun = self.cache.begin(conditions.collect(), &sequences);
        let begun = begun.map_err(|source| self.engine_error(source))?;
        for (sequence, read) in sequences.iter_mut().zip(begun) {
            *sequence = &sequence[read..];
        }
        self.run(&sequences).await
    }

    pub(super) fn engine_error(&self, source: EngineError) -> GenerationError {
        GenerationError::Engine {
            bar: self.index,
            source,
        }
    }
}

/// The tokens that say chords.
pub(super) fn chords(encoding: &dyn Encoding) -> std::ops::Range<Token> {
    encoding.lexicon().run(Kind::Chord)
}
