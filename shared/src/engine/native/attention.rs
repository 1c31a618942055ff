//! Causal attention over the keys and values that a sequence has, in floats.

use super::elementwise::softmax;
use super::isa::{Isa, LANES, Lanes, Sums, for_each_isa};

/// Blocks of keys whose scores are summed at once.
const BLOCKS: usize = 4;
/// Queries that read keys and values at once.
const QUERIES: usize = 4;
/// Registers of a value that are summed at once.
const PARTS: usize = 4;

/// Keys and values of one key/value head, of one sequence.
#[derive(Clone, Default)]
pub(super) struct Head {
    /// `[slots / 16, width]`: of 16 slots one element after the other.
    keys: Vec<Lanes>,
    /// `[slots, width / 16]`.
    values: Vec<Lanes>,
}

impl Head {
    /// Writes the key and the value of position `slot`.
    pub(super) fn store(&mut self, slot: usize, key: &[f32], value: &[f32]) {
        let (block, lane) = (slot / LANES * key.len(), slot % LANES);
        if self.keys.len() < block + key.len() {
            self.keys.resize(block + key.len(), Lanes::ZERO);
        }
        for (keys, element) in self.keys[block..].iter_mut().zip(key) {
            keys[lane] = *element;
        }
        let width = value.len().div_ceil(LANES);
        if self.values.len() < (slot + 1) * width {
            self.values.resize((slot + 1) * width, Lanes::ZERO);
        }
        let values = &mut self.values[slot * width..][..width];
        for (lanes, elements) in values.iter_mut().zip(value.chunks(LANES)) {
            lanes.0[..elements.len()].copy_from_slice(elements);
        }
    }
}

/// A query `[width]`, scaled, which sees the first `seen` slots, and where what it gets goes.
pub(super) struct Query<'a> {
    pub(super) query: &'a [f32],
    pub(super) seen: usize,
    pub(super) mixed: &'a mut [f32],
}

/// What has to be remembered of some queries at once.
#[derive(Default)]
pub(super) struct Scratch {
    /// `[queries, blocks]`.
    scores: Vec<Lanes>,
    /// `[queries, width / 16]`.
    sums: Vec<Lanes>,
}

/// The values of `head` that each of `queries` sees, mixed by its shares.
pub(super) fn attend(isa: Isa, head: &Head, queries: &mut [Query], scratch: &mut Scratch) {
    let mut rest = queries;
    while !rest.is_empty() {
        let count = match rest.len() {
            QUERIES.. => QUERIES,
            2.. => 2,
            _ => 1,
        };
        let (some, others) = rest.split_at_mut(count);
        match count {
            QUERIES => attend_at_once::<QUERIES>(isa, head, some, scratch),
            2 => attend_at_once::<2>(isa, head, some, scratch),
            _ => attend_at_once::<1>(isa, head, some, scratch),
        }
        rest = others;
    }
}

fn attend_at_once<const N: usize>(
    isa: Isa,
    head: &Head,
    queries: &mut [Query],
    scratch: &mut Scratch,
) {
    let width = queries[0].query.len();
    let most = queries.iter().map(|query| query.seen).max().unwrap_or(0);
    let (blocks, parts) = (most.div_ceil(LANES), width.div_ceil(LANES));
    let Scratch { scores, sums } = scratch;
    scores.resize(N * blocks, Lanes::ZERO);
    sums.resize(N * parts, Lanes::ZERO);
    let vectors: [&[f32]; N] = std::array::from_fn(|i| queries[i].query);
    score::<N>(isa, vectors, &head.keys[..blocks * width], scores);
    let mut totals = [0.0; N];
    for ((scores, query), total) in scores
        .chunks_exact_mut(blocks)
        .zip(&*queries)
        .zip(&mut totals)
    {
        softmax(isa, scores, query.seen, total);
    }
    mix::<N>(isa, scores, &head.values[..most * parts], sums);
    for ((query, sums), total) in queries.iter_mut().zip(sums.chunks_exact(parts)).zip(totals) {
        let sums = sums.iter().flat_map(|lanes| &lanes.0);
        query
            .mixed
            .iter_mut()
            .zip(sums)
            .for_each(|(mixed, sum)| *mixed = sum / total);
    }
}

for_each_isa! {
    /// Products of `N` queries with `keys` `[blocks, width]`, into `scores` `[N, blocks]`.
    fn score<S, const N: usize>(queries: [&[f32]; N], keys: &[Lanes], scores: &mut [Lanes]) {
        let width = queries[0].len();
        let count = keys.len() / width;
        let mut block = 0;
        while block < count {
            let keys = &keys[block * width..];
            // SAFETY: `S` is this processor's.
            unsafe {
                match count - block {
                    BLOCKS.. => score_blocks::<S, N, BLOCKS>(queries, keys, scores, block),
                    _ => score_blocks::<S, N, 1>(queries, keys, scores, block),
                }
            }
            block += if count - block >= BLOCKS { BLOCKS } else { 1 };
        }
    }

    /// Sums of `values` `[slots, parts]` times `N` times as many `shares` `[N, blocks]`, into `sums` `[N, parts]`.
    fn mix<S, const N: usize>(shares: &[Lanes], values: &[Lanes], sums: &mut [Lanes]) {
        let (blocks, parts) = (shares.len() / N, sums.len() / N);
        let mut part = 0;
        while part < parts {
            // SAFETY: `S` is this processor's.
            unsafe {
                match parts - part {
                    PARTS.. => mix_parts::<S, N, PARTS>(shares, blocks, values, parts, part, sums),
                    _ => mix_parts::<S, N, 1>(shares, blocks, values, parts, part, sums),
                }
            }
            part += if parts - part >= PARTS { PARTS } else { 1 };
        }
    }
}

/// `B` blocks, the first of `keys`, whose scores are those from `block` on.
///
/// # Safety
/// The processor has the instructions of `S`.
#[inline(always)]
unsafe fn score_blocks<S: Sums, const N: usize, const B: usize>(
    queries: [&[f32]; N],
    keys: &[Lanes],
    scores: &mut [Lanes],
    block: usize,
) {
    let width = queries[0].len();
    let queries = queries.map(|query| &query[..width]);
    let keys: [&[Lanes]; B] = std::array::from_fn(|block| &keys[block * width..][..width]);
    // SAFETY: the caller's.
    let mut sums = [[unsafe { S::zero() }; B]; N];
    for i in 0..width {
        for (sums, query) in sums.iter_mut().zip(&queries) {
            for (sum, keys) in sums.iter_mut().zip(&keys) {
                // SAFETY: the caller's.
                *sum = unsafe { sum.add_product(query[i], &keys[i]) };
            }
        }
    }
    let blocks = scores.len() / N;
    for (scores, sums) in scores.chunks_exact_mut(blocks).zip(sums) {
        for (score, sum) in scores[block..].iter_mut().zip(sums) {
            // SAFETY: the caller's.
            *score = unsafe { sum.lanes() };
        }
    }
}

/// `P` of the parts from `part` on.
///
/// # Safety
/// The processor has the instructions of `S`.
#[inline(always)]
unsafe fn mix_parts<S: Sums, const N: usize, const P: usize>(
    shares: &[Lanes],
    blocks: usize,
    values: &[Lanes],
    parts: usize,
    part: usize,
    sums: &mut [Lanes],
) {
    let shares: [&[Lanes]; N] = std::array::from_fn(|i| &shares[i * blocks..][..blocks]);
    // SAFETY: the caller's.
    let mut mixed = [[unsafe { S::zero() }; P]; N];
    for (block, values) in values.chunks(LANES * parts).enumerate() {
        let shares = shares.map(|shares| &shares[block]);
        for (lane, values) in values.chunks_exact(parts).take(LANES).enumerate() {
            let values = &values[part..part + P];
            for (mixed, shares) in mixed.iter_mut().zip(shares) {
                for (sum, values) in mixed.iter_mut().zip(values) {
                    // SAFETY: the caller's.
                    *sum = unsafe { sum.add_product(shares.0[lane], values) };
                }
            }
        }
    }
    for (sums, mixed) in sums.chunks_exact_mut(parts).zip(mixed) {
        for (sum, mixed) in sums[part..].iter_mut().zip(mixed) {
            // SAFETY: the caller's.
            *sum = unsafe { mixed.lanes() };
        }
    }
}
