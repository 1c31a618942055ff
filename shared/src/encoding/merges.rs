//! Byte pairs: tokens that follow one another often, merged to one token.
//!
//! Source: Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", 2016,
//! section 3.2; over music Fradet et al., "Byte Pair Encoding for Symbolic Music", 2023. A merge
//! makes one token of two that stand side by side; in a stream the earliest learned pair is merged
//! first, and of equal pairs the leftmost, until none is left.
//!
//! Only what a bar plays is merged. The head, BAR, metre, tempo, EOS and what says where tracks begin
//! and end stay tokens of their own, so no merge reaches over one of them, and each bar is merged as
//! if it stood alone.

use std::collections::HashMap;

use super::lexicon::{Kind, Lexicon};
use super::{SettingsError, Token};

/// Two neighbours that become one token.
pub type Pair = (Token, Token);

/// The most base tokens that a merged one stands for.
pub const MAX_EXPANSION: usize = 32;

/// Of a pair that is not merged.
const NO_RANK: u16 = u16::MAX;

/// The merges of a vocabulary. Their tokens stand before its genres, so that it still grows without
/// moving a token.
#[derive(Clone, Debug)]
pub struct Merges {
    /// The first merged token: that of the first genre where nothing is merged.
    first: Token,
    /// Tokens of the vocabulary, merged ones included.
    size: usize,
    /// What each merged token stands for, one after another.
    expanded: Vec<Token>,
    /// Where each merged token's expansion begins, and where the last one ends.
    starts: Vec<u32>,
    /// The token that the pair of each rank becomes.
    merged: Vec<Token>,
    ranks: Ranks,
    /// Whether a base token may be merged.
    music: Vec<bool>,
}

impl Merges {
    /// The merges of `pairs`, the earliest learned first, over the vocabulary of `lexicon`.
    ///
    /// # Errors
    /// Where a pair names no token that was there before it, or one that is not music, where an
    /// expansion is longer than [`MAX_EXPANSION`], and where the vocabulary would have more than
    /// 65,535 tokens.
    pub(super) fn new(lexicon: &Lexicon, pairs: &[Pair]) -> Result<Self, SettingsError> {
        let refused = |value: String, expected| SettingsError {
            field: "merges",
            value,
            expected,
        };
        let size = lexicon.size();
        let room = usize::from(Token::MAX).saturating_sub(size);
        if pairs.len() > room {
            let expected = "expected a vocabulary of at most 65,535 tokens with them";
            return Err(refused(pairs.len().to_string(), expected));
        }
        let first = lexicon.run(Kind::Genre).start;
        let mut merges = Self {
            first,
            size,
            expanded: Vec::new(),
            starts: vec![0],
            merged: Vec::with_capacity(pairs.len()),
            ranks: Ranks::with_room_for(pairs.len()),
            music: (0..first).map(|token| is_music(lexicon, token)).collect(),
        };
        let mut known: HashMap<Vec<Token>, Token> = HashMap::new();
        for (rank, &(left, right)) in pairs.iter().enumerate() {
            let wrong = |expected| refused(format!("({left}, {right})"), expected);
            let there = |token| merges.is_music(token) || merges.tokens().contains(&token);
            if !there(left) || !there(right) {
                let expected = "expected pairs of music's tokens, or of tokens merged before";
                return Err(wrong(expected));
            }
            let (before, after) = (merges.expansion(&left), merges.expansion(&right));
            // Heads have instruments side by side, and nothing of a head is merged.
            let instruments = lexicon.run(Kind::Instrument);
            if before
                .last()
                .is_some_and(|token| instruments.contains(token))
                && after
                    .first()
                    .is_some_and(|token| instruments.contains(token))
            {
                return Err(wrong("expected no instrument before an instrument"));
            }
            let expansion = [before, after].concat();
            if expansion.len() > MAX_EXPANSION {
                return Err(wrong("expected merged tokens of at most 32 base tokens"));
            }
            if !merges.ranks.insert((left, right), rank as u16) {
                return Err(wrong("expected each pair once"));
            }
            // The same tokens, merged in another order, are the same token.
            let token = *known.entry(expansion).or_insert_with_key(|expansion| {
                merges.expanded.extend(expansion);
                merges.starts.push(merges.expanded.len() as u32);
                merges.first + (merges.starts.len() - 2) as Token
            });
            merges.merged.push(token);
        }
        merges.size += merges.tokens().len();
        Ok(merges)
    }

    /// Tokens of the vocabulary, merged ones included.
    pub fn vocabulary_size(&self) -> usize {
        self.size
    }

    /// The merged tokens, ascending.
    pub fn tokens(&self) -> std::ops::Range<Token> {
        self.first..self.first + (self.starts.len() - 1) as Token
    }

    /// What a token of the base vocabulary is in this one: genres stand behind what is merged.
    pub(super) fn moved(&self, base: Token) -> Token {
        match base < self.first {
            true => base,
            false => base + self.tokens().len() as Token,
        }
    }

    /// The token of the base vocabulary that stands in this one as `token`, which is not merged.
    pub(super) fn moved_back(&self, token: Token) -> Token {
        match token < self.first {
            true => token,
            false => token - self.tokens().len() as Token,
        }
    }

    /// The base tokens that `token` stands for; a base token stands for itself.
    pub fn expansion<'t>(&'t self, token: &'t Token) -> &'t [Token] {
        let merged = token.checked_sub(self.first).map(usize::from);
        match merged.and_then(|i| Some((*self.starts.get(i)?, *self.starts.get(i + 1)?))) {
            Some((start, end)) => &self.expanded[start as usize..end as usize],
            None => std::slice::from_ref(token),
        }
    }

    /// Every token in place of what it was merged of.
    pub fn expand(&self, tokens: &[Token]) -> Vec<Token> {
        let expanded = tokens.iter().flat_map(|token| self.expansion(token));
        expanded.copied().collect()
    }

    /// `tokens`, which are base tokens, with their pairs merged.
    pub fn merge(&self, tokens: &[Token]) -> Vec<Token> {
        let mut stream = Vec::with_capacity(tokens.len());
        let (mut word, mut ranks) = (Vec::new(), Vec::new());
        for run in tokens.chunk_by(|&a, &b| self.is_music(a) && self.is_music(b)) {
            if run.len() < 2 {
                stream.extend_from_slice(run);
                continue;
            }
            word.clear();
            word.extend_from_slice(run);
            self.merge_word(&mut word, &mut ranks);
            stream.extend_from_slice(&word);
        }
        stream
    }

    /// Merges the pairs of `word`; `ranks` is scratch. A pass over the word merges all pairs of the
    /// least rank, from the left on, so its cost is the word's length times the ranks that occur.
    fn merge_word(&self, word: &mut Vec<Token>, ranks: &mut Vec<u16>) {
        ranks.clear();
        ranks.extend(word.windows(2).map(|pair| self.ranks.get(pair[0], pair[1])));
        loop {
            let least = ranks.iter().copied().fold(NO_RANK, u16::min);
            let Some(begin) = ranks
                .iter()
                .position(|&rank| rank == least && rank < NO_RANK)
            else {
                return;
            };
            let token = self.merged[usize::from(least)];
            // What is read, what is written, and the rank of the pair that was written last with
            // what follows it.
            let (mut read, mut write, mut with_next) = (begin, begin, None);
            let mut merging = true;
            while read < word.len() {
                if merging && ranks.get(read) == Some(&least) {
                    read += 2;
                    let next = word
                        .get(read)
                        .map_or(NO_RANK, |&next| self.ranks.get(token, next));
                    if let Some(before) = write.checked_sub(1) {
                        ranks[before] = self.ranks.get(word[before], token);
                        merging = ranks[before] >= least;
                    }
                    // A token that is merged in two ways may be in a pair that comes first.
                    merging &= next >= least;
                    with_next = Some(next);
                    word[write] = token;
                } else {
                    if let Some(before) = write.checked_sub(1) {
                        ranks[before] = with_next.take().unwrap_or(ranks[read - 1]);
                    }
                    word[write] = word[read];
                    read += 1;
                }
                write += 1;
            }
            word.truncate(write);
            ranks.truncate(write - 1);
        }
    }

    fn is_music(&self, token: Token) -> bool {
        self.music.get(usize::from(token)) == Some(&true)
    }
}

/// The parts of bars, given without a head, inside of which tokens may be merged.
pub fn words<'t>(lexicon: &Lexicon, bars: &'t [Token]) -> impl Iterator<Item = &'t [Token]> {
    let words = bars.split(|&token| !is_music(lexicon, token));
    words.filter(|word| word.len() > 1)
}

/// Whether a bar plays it.
fn is_music(lexicon: &Lexicon, token: Token) -> bool {
    lexicon.word(token).is_some_and(|(kind, _)| match kind {
        Kind::Pad
        | Kind::Bos
        | Kind::Eos
        | Kind::Bar
        | Kind::AnyInstruments
        | Kind::Metre
        | Kind::Tempo
        | Kind::Chord
        | Kind::Rest
        | Kind::Track
        | Kind::Density
        | Kind::BarStart
        | Kind::BarEnd
        | Kind::TrackEnd
        | Kind::Placeholder
        | Kind::FillStart
        | Kind::FillEnd
        | Kind::At
        | Kind::Wanted
        | Kind::Separator
        | Kind::Done
        | Kind::Polyphony
        | Kind::Register
        | Kind::Key
        | Kind::Genre => false,
        Kind::Position
        | Kind::Offset
        | Kind::Shift
        | Kind::Instrument
        | Kind::Drum
        | Kind::Pitch
        | Kind::End
        | Kind::Duration
        | Kind::Velocity => true,
    })
}

/// Pairs and their ranks: a hash table with linear probing, at most half full.
#[derive(Clone, Debug)]
struct Ranks {
    /// Both tokens and the rank. No pair is 0: PAD is not merged.
    slots: Vec<(u32, u16)>,
    /// Bits of a hash that are not used.
    shift: u32,
}

impl Ranks {
    fn with_room_for(pairs: usize) -> Self {
        let slots = (2 * pairs).next_power_of_two().max(2);
        Self {
            slots: vec![(0, NO_RANK); slots],
            shift: u32::BITS - slots.trailing_zeros(),
        }
    }

    /// The slot in which a pair is, or the empty one in which it would be.
    fn slot(&self, pair: u32) -> usize {
        // The golden ratio's fraction spreads neighbours (Knuth, volume 3, section 6.4).
        let mut slot = (pair.wrapping_mul(0x9E37_79B1) >> self.shift) as usize;
        while self.slots[slot].0 != pair && self.slots[slot].0 != 0 {
            slot = (slot + 1) % self.slots.len();
        }
        slot
    }

    /// Puts a pair in; whether it was not there.
    fn insert(&mut self, (left, right): (Token, Token), rank: u16) -> bool {
        let pair = u32::from(left) << 16 | u32::from(right);
        let slot = self.slot(pair);
        let new = self.slots[slot].0 == 0;
        self.slots[slot] = (pair, rank);
        new
    }

    fn get(&self, left: Token, right: Token) -> u16 {
        self.slots[self.slot(u32::from(left) << 16 | u32::from(right))].1
    }
}
