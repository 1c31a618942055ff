//! What stands in a cache: the rows of a batch, and the four integer inputs of the step graph.

use crate::encoding::{PAD, Token};
use crate::engine::EngineError;
use crate::graph::EMPTY;
use crate::manifest::Manifest;

/// Slots come in multiples of this many: a step's cost grows with the slots that it looks at, and
/// adding slots copies the caches.
const GRAIN: usize = 128;

/// The rows of a batch. The token at position `p` of a row stands in slot `p` of its cache.
pub(super) struct Rows {
    /// Tokens in each row.
    lengths: Vec<usize>,
    /// The most tokens of a row.
    capacity: usize,
    /// Tokens that the model knows.
    vocabulary: usize,
    /// What each row is conditioned on, of a model that adds it to every token.
    conditions: Option<Vec<Vec<Token>>>,
}

impl Rows {
    /// Empty rows for the model of `manifest`.
    ///
    /// # Errors
    /// No row, no capacity, or more than the model's positions.
    pub(super) fn new(
        manifest: &Manifest,
        batch: usize,
        capacity: usize,
    ) -> Result<Self, EngineError> {
        let most = if manifest.architecture.counts_positions() {
            manifest.context.tokens
        } else {
            EMPTY - 1
        };
        if batch == 0 || !(1..=most).contains(&capacity) {
            return Err(EngineError::Size {
                batch,
                capacity,
                most,
            });
        }
        Ok(Self {
            lengths: vec![0; batch],
            capacity,
            vocabulary: manifest.architecture.vocabulary(),
            conditions: (manifest.architecture.ends().conditioning_scale)
                .map(|_| vec![Vec::new(); batch]),
        })
    }

    /// See [`super::Stream::condition`].
    pub(super) fn condition(&mut self, conditions: &[&[Token]]) -> Result<(), EngineError> {
        self.check(conditions)?;
        if let Some(all) = &mut self.conditions {
            *all = conditions.iter().map(|row| row.to_vec()).collect();
        }
        Ok(())
    }

    /// The further input of a model that adds conditions to every token, for these rows
    /// `[rows, conditions]`, one column at least.
    pub(super) fn conditions<T: Index>(&self, rows: &[usize]) -> Option<([usize; 2], Vec<T>)> {
        let all = self.conditions.as_ref()?;
        let rows: Vec<&[Token]> = rows.iter().map(|&row| &all[row][..]).collect();
        let width = rows.iter().map(|row| row.len()).max().unwrap_or(0).max(1);
        let padded = rows.iter().flat_map(|row| {
            let padding = std::iter::repeat(&PAD);
            row.iter().chain(padding).take(width)
        });
        let ids = padded.map(|&token| T::index(usize::from(token))).collect();
        Some(([rows.len(), width], ids))
    }

    /// What row `row` is conditioned on.
    pub(super) fn added(&self, row: usize) -> &[Token] {
        self.conditions.as_ref().map_or(&[], |all| &all[row])
    }

    /// Refuses another number of rows than the batch, and tokens that the model does not know.
    fn check(&self, tokens: &[&[Token]]) -> Result<(), EngineError> {
        if tokens.len() != self.batch() {
            return Err(EngineError::Batch {
                batch: self.batch(),
                rows: tokens.len(),
            });
        }
        let unknown = |&&token: &&Token| usize::from(token) >= self.vocabulary;
        match tokens.iter().copied().flatten().find(unknown) {
            Some(&token) => Err(EngineError::Token {
                token,
                vocabulary: self.vocabulary,
            }),
            None => Ok(()),
        }
    }

    /// See [`super::Stream::reorder`].
    pub(super) fn reorder(&mut self, rows: &[usize]) -> Result<(), EngineError> {
        let (batch, given) = (self.batch(), rows.len());
        if given != batch {
            return Err(EngineError::Batch { batch, rows: given });
        }
        *self = self.select(rows)?;
        Ok(())
    }

    /// These of the rows; see [`super::Stream::select`].
    pub(super) fn select(&self, rows: &[usize]) -> Result<Self, EngineError> {
        let batch = self.batch();
        let last = rows.iter().max().map_or(0, |row| row + 1);
        if !(1..=batch).contains(&last) {
            return Err(EngineError::Batch { batch, rows: last });
        }
        let conditions = self.conditions.as_ref();
        Ok(Self {
            lengths: rows.iter().map(|&row| self.lengths[row]).collect(),
            conditions: conditions.map(|all| rows.iter().map(|&row| all[row].clone()).collect()),
            ..*self
        })
    }

    pub(super) fn batch(&self) -> usize {
        self.lengths.len()
    }

    pub(super) fn len(&self, row: usize) -> usize {
        self.lengths.get(row).copied().unwrap_or(0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lengths.iter().all(|&length| length == 0)
    }

    /// See [`super::Stream::keep`].
    pub(super) fn keep(&mut self, lengths: &[usize]) {
        for (length, &kept) in self.lengths.iter_mut().zip(lengths) {
            *length = kept.min(*length);
        }
    }

    pub(super) fn clear(&mut self) {
        self.lengths.fill(0);
    }

    /// The slots that the caches start with.
    pub(super) fn first_slots(&self) -> usize {
        self.slots_for(0)
    }

    /// Slots for rows of `tokens`: one more than the capacity where padding needs a place of its
    /// own beside a full row.
    fn slots_for(&self, tokens: usize) -> usize {
        let spare = usize::from(self.batch() > 1);
        (tokens + spare)
            .div_ceil(GRAIN)
            .max(1)
            .saturating_mul(GRAIN)
            .min(self.capacity + spare)
    }

    /// The length of the longest of `tokens` and the slots that the caches should have for them,
    /// where they have `slots` now: they only shrink while they are empty.
    ///
    /// # Errors
    /// Another number of rows than the batch, no token at all, or more than the capacity.
    pub(super) fn plan(
        &self,
        tokens: &[&[Token]],
        slots: usize,
    ) -> Result<(usize, usize), EngineError> {
        self.check(tokens)?;
        let time = tokens.iter().map(|row| row.len()).max().unwrap_or(0);
        if time == 0 {
            return Err(EngineError::NoToken);
        }
        let mut end = 0;
        for (&len, row) in self.lengths.iter().zip(tokens) {
            if row.len() > self.capacity - len {
                return Err(EngineError::Full {
                    capacity: self.capacity,
                    len,
                    tokens: row.len(),
                });
            }
            end = end.max(len + row.len());
        }
        let needed = self.slots_for(end);
        Ok((
            time,
            if self.is_empty() {
                needed
            } else {
                needed.max(slots)
            },
        ))
    }

    /// Writes `ids`, `pos`, `slot` `[batch, time]` for `tokens` and marks their slots in `kpos`
    /// `[batch, slots]`. Padding repeats the row's last position in a slot that stays empty.
    pub(super) fn fill<T: Index>(&self, tokens: &[&[Token]], inputs: Inputs<'_, T>) {
        let Inputs {
            ids,
            pos,
            slot,
            kpos,
        } = inputs;
        let (time, slots) = (ids.len() / self.batch(), kpos.len() / self.batch());
        for (row, (&len, tokens)) in self.lengths.iter().zip(tokens).enumerate() {
            let end = len + tokens.len();
            for i in 0..time {
                let at = row * time + i;
                let token = tokens.get(i).copied();
                ids[at] = T::index(usize::from(token.unwrap_or(0)));
                pos[at] = T::index(if token.is_some() {
                    len + i
                } else {
                    end.saturating_sub(1)
                });
                slot[at] = T::index(if token.is_some() { len + i } else { end });
            }
            for p in len..end {
                kpos[row * slots + p] = T::index(p);
            }
        }
    }

    /// Writes `kpos` `[batch, slots]` for the tokens that are in the cache.
    pub(super) fn mark<T: Index>(&self, kpos: &mut [T]) {
        kpos.fill(T::index(EMPTY));
        let slots = kpos.len() / self.batch();
        for (row, &len) in kpos.chunks_exact_mut(slots).zip(&self.lengths) {
            row.iter_mut()
                .enumerate()
                .take(len)
                .for_each(|(p, slot)| *slot = T::index(p));
        }
    }

    /// The tokens are in the cache.
    pub(super) fn advance(&mut self, tokens: &[&[Token]]) {
        for (length, row) in self.lengths.iter_mut().zip(tokens) {
            *length += row.len();
        }
    }
}

/// An integer of an engine.
pub(super) trait Index: Copy {
    /// `value`, which is at most [`EMPTY`].
    fn index(value: usize) -> Self;
}

impl Index for i64 {
    fn index(value: usize) -> Self {
        value as i64
    }
}

impl Index for i32 {
    fn index(value: usize) -> Self {
        value as i32
    }
}

/// Copies what fits of `rows` matrices `[slots, width]` into matrices with more or fewer slots.
pub(super) fn carry(from: &[f32], to: &mut [f32], rows: usize) {
    let (from_size, to_size) = (from.len() / rows, to.len() / rows);
    let size = from_size.min(to_size);
    for (from, to) in from
        .chunks_exact(from_size)
        .zip(to.chunks_exact_mut(to_size))
    {
        to[..size].copy_from_slice(&from[..size]);
    }
}

/// Has each of the rows in `numbers`, `rows.len()` of one size, become a copy of row `rows[row]`.
pub(super) fn copy_rows(numbers: &mut [f32], rows: &[usize]) {
    let size = numbers.len() / rows.len().max(1);
    let others = rows.iter().enumerate().filter(|(to, from)| to != *from);
    let others = others.map(|(to, &from)| (to, numbers[from * size..][..size].to_vec()));
    for (to, copy) in others.collect::<Vec<_>>() {
        numbers[to * size..][..size].copy_from_slice(&copy);
    }
}

/// Writes `rows` of the `batch` rows of one size in `from`, one after the other.
pub(super) fn select_rows(from: &[f32], batch: usize, rows: &[usize], to: &mut [f32]) {
    let size = from.len() / batch;
    for (to, &row) in to.chunks_exact_mut(size).zip(rows) {
        to.copy_from_slice(&from[row * size..][..size]);
    }
}

/// The integer inputs of the step graph.
pub(super) struct Inputs<'a, T> {
    pub(super) ids: &'a mut [T],
    pub(super) pos: &'a mut [T],
    pub(super) slot: &'a mut [T],
    pub(super) kpos: &'a mut [T],
}
