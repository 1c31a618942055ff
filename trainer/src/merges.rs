//! Byte pairs of a data set's music, learned by the `tokenizers` crate while it is built.
//!
//! Pairs are learned from pieces of the training split, drawn until their tokens fill a sample of
//! bounded size. Where training transposes, each of them is moved by one of its shifts, drawn too:
//! else the pairs would fit the keys that the files happen to be in. What may be merged is a bar's
//! music alone, see [`famam_shared::encoding::merges`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use famam_shared::encoding::merges::{MAX_EXPANSION, words};
use famam_shared::encoding::{BarState, Body, Conditioning, Encoding, Pair, Token};
use sha2::{Digest, Sha256};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::tokenizer::Trainer;

/// Tokens that pairs are learned from at most, unless one piece alone is longer.
const SAMPLE_TOKENS: usize = 1 << 20;

/// A pair that occurs less often is not merged.
const LEAST_FREQUENCY: u64 = 2;

/// The character that stands for token 0; those of all tokens are valid.
const FIRST_CHARACTER: u32 = 0x10000;

/// What pairs are learned from: some of the pieces that it is shown.
pub struct Sample {
    seed: u64,
    /// Those with the least lots.
    pieces: BTreeMap<[u8; 32], Drawn>,
    /// Their tokens.
    tokens: usize,
    shown: usize,
}

/// A piece of the sample.
struct Drawn {
    /// Its number among those that were shown.
    number: usize,
    tokens: Vec<Token>,
    /// What is in force in its first bar.
    first: BarState,
}

impl Sample {
    /// Of nothing yet; `seed` decides what is drawn.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            pieces: BTreeMap::new(),
            tokens: 0,
            shown: 0,
        }
    }

    /// Shows it the next piece.
    pub fn show(&mut self, body: &Body) {
        let number = self.shown;
        self.shown += 1;
        let Some(&first) = body.states.first() else {
            return;
        };
        let mut lot = Sha256::new_with_prefix(self.seed.to_le_bytes());
        lot.update((number as u64).to_le_bytes());
        let lot: [u8; 32] = lot.finalize().into();
        let last = self.pieces.last_key_value();
        if self.tokens >= SAMPLE_TOKENS && last.is_some_and(|(last, _)| *last < lot) {
            return;
        }
        let tokens = body.tokens.clone();
        self.tokens += tokens.len();
        let drawn = Drawn {
            number,
            tokens,
            first,
        };
        self.pieces.insert(lot, drawn);
        while let Some(last) = self.pieces.last_entry()
            && self.tokens - last.get().tokens.len() >= SAMPLE_TOKENS
        {
            self.tokens -= last.remove().tokens.len();
        }
    }

    /// What merges do to it, in the keys that its pieces are in.
    pub fn measured(&self, encoding: &dyn Encoding) -> Measured {
        Measured::of(
            encoding,
            self.pieces.values().map(|piece| &piece.tokens[..]),
        )
    }

    /// At most `count` pairs of `encoding`, the most frequent first; fewer where music has no more
    /// that occur twice. Learned from the pieces of which `learned_from` says so by their numbers,
    /// each moved by one of `shifts`, in semitones.
    ///
    /// # Errors
    /// What the crate says where it fails.
    pub fn learn(
        &self,
        learned_from: impl Fn(usize) -> bool,
        encoding: &dyn Encoding,
        shifts: &[i32],
        count: usize,
    ) -> Result<Vec<Pair>, tokenizers::Error> {
        let mut texts: Vec<String> = Vec::new();
        let mut alphabet: BTreeSet<Token> = BTreeSet::new();
        let given = Conditioning::default();
        let head = encoding.head(&given).len();
        for (lot, piece) in &self.pieces {
            if !learned_from(piece.number) {
                continue;
            }
            let drawn = u64::from_le_bytes(*lot.first_chunk().unwrap_or(&[0; 8]));
            let shift = drawn.checked_rem(shifts.len() as u64);
            let shift = shift.map_or(0, |i| shifts[i as usize]);
            let moved = |shift| encoding.segment(&given, &piece.tokens, piece.first, shift);
            let stream = moved(shift).or_else(|| moved(0)).unwrap_or_default();
            for word in words(encoding.lexicon(), stream.get(head..).unwrap_or_default()) {
                alphabet.extend(word);
                texts.push(word.iter().filter_map(|&token| character(token)).collect());
            }
        }
        let mut trainer = BpeTrainer::builder()
            .show_progress(false)
            .vocab_size(alphabet.len() + count)
            .min_frequency(LEAST_FREQUENCY)
            .max_token_length(Some(MAX_EXPANSION))
            .build();
        trainer.feed(texts.iter(), |text| Ok(vec![text.to_owned()]))?;
        let mut model = BPE::default();
        trainer.train(&mut model)?;
        let genre = encoding.head(&given).get(1).copied().unwrap_or_default();
        Ok(pairs(&serde_json::to_value(&model)?, genre))
    }
}

/// The character that stands for a token.
fn character(token: Token) -> Option<char> {
    char::from_u32(FIRST_CHARACTER + u32::from(token))
}

/// The token that a character stands for.
fn token(character: char) -> Option<Token> {
    let token = u32::from(character).checked_sub(FIRST_CHARACTER)?;
    Token::try_from(token).ok()
}

/// The pairs of a model in its JSON: those that can be merged one after another, to tokens from
/// `first` on.
fn pairs(model: &serde_json::Value, first: Token) -> Vec<Pair> {
    let mut numbers: HashMap<String, u16> = HashMap::new();
    let mut pairs = Vec::new();
    for merge in model["merges"].as_array().into_iter().flatten() {
        let (Some(left), Some(right)) = (merge[0].as_str(), merge[1].as_str()) else {
            continue;
        };
        let number = |text: &str| {
            let mut characters = text.chars();
            match (characters.next(), characters.next()) {
                (Some(only), None) => token(only),
                _ => numbers.get(text).copied(),
            }
        };
        // The crate ranks a pair anew that it meets again, which may be after a pair of its token.
        let (Some(left_number), Some(right_number)) = (number(left), number(right)) else {
            continue;
        };
        let whole = [left, right].concat();
        if whole.chars().count() > MAX_EXPANSION {
            continue;
        }
        pairs.push((left_number, right_number));
        let next = first + numbers.len() as u16;
        numbers.entry(whole).or_insert(next);
    }
    pairs
}

/// What merges do to music.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Merged tokens.
    pub merged: usize,
    /// Tokens of some music.
    pub before: usize,
    /// Those that a model sees of it.
    pub after: usize,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let share = 100.0 * self.after as f64 / self.before.max(1) as f64;
        write!(
            f,
            "{} merged tokens; a model sees {} of {} tokens, {share:.1} %",
            self.merged, self.after, self.before
        )
    }
}

impl Measured {
    /// Of pieces with nothing merged.
    pub fn of<'b>(encoding: &dyn Encoding, pieces: impl IntoIterator<Item = &'b [Token]>) -> Self {
        let mut measured = Self {
            merged: encoding.merges().map_or(0, |merges| merges.tokens().len()),
            before: 0,
            after: 0,
        };
        for tokens in pieces {
            measured.before += tokens.len();
            measured.after += encoding.merge(tokens).len();
        }
        measured
    }
}
