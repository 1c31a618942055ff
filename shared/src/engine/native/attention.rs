//! Causal attention over the keys and values that a sequence has, in floats.

use super::elementwise::softmax;
use super::isa::{Halves, Isa, LANES, Lanes, Register, for_each_isa};

/// Blocks of keys whose scores are summed at once.
const BLOCKS: usize = 4;
/// Queries that read keys and values at once.
const QUERIES: usize = 4;
/// Registers of a value that are summed at once.
const PARTS: usize = 4;

/// Keys and values of one key/value head, of one sequence.
#[derive(Clone)]
pub(super) struct Head {
    /// `[slots / 16, width]`: of 16 slots one element after the other.
    keys: Cells,
    /// `[slots, width / 16]`.
    values: Cells,
}

/// Numbers in memory.
#[derive(Clone)]
enum Cells {
    Floats(Vec<Lanes>),
    /// In 16 bits, half as much to read: what models in 8 bits do not tell from floats.
    Halves(Vec<Halves>),
}

/// The greatest number of 16 bits.
const GREATEST: f32 = 65_504.0;

impl Cells {
    /// Makes room for `count` of them.
    fn reserve(&mut self, count: usize) {
        match self {
            Self::Floats(all) if all.len() < count => all.resize(count, Lanes::ZERO),
            Self::Halves(all) if all.len() < count => all.resize(count, Halves::default()),
            Self::Floats(_) | Self::Halves(_) => {}
        }
    }
}

impl Head {
    /// An empty one, in 16 bits or in floats.
    pub(super) fn new(halves: bool) -> Self {
        let cells = || match halves {
            true => Cells::Halves(Vec::new()),
            false => Cells::Floats(Vec::new()),
        };
        let (keys, values) = (cells(), cells());
        Self { keys, values }
    }

    /// Writes the key and the value of position `slot`.
    pub(super) fn store(&mut self, isa: Isa, slot: usize, key: &[f32], value: &[f32]) {
        let (width, parts) = (key.len(), value.len().div_ceil(LANES));
        let (block, lane, first) = (slot / LANES * width, slot % LANES, slot * parts);
        self.keys.reserve(block + width);
        self.values.reserve(first + parts);
        let lanes = |elements: &[f32]| {
            let mut lanes = Lanes::ZERO;
            lanes.0[..elements.len()].copy_from_slice(elements);
            lanes
        };
        for (part, (key, value)) in key.chunks(LANES).zip(value.chunks(LANES)).enumerate() {
            let (at, count) = (block + part * LANES, key.len());
            match (&mut self.keys, &mut self.values) {
                (Cells::Floats(keys), Cells::Floats(values)) => {
                    let keys = keys[at..][..count].iter_mut();
                    keys.zip(key).for_each(|(keys, key)| keys[lane] = *key);
                    values[first + part] = lanes(value);
                }
                (Cells::Halves(keys), Cells::Halves(values)) => {
                    let mut halves = Halves::default();
                    halve(isa, &lanes(key), &mut halves);
                    let keys = keys[at..][..count].iter_mut();
                    keys.zip(&halves.0)
                        .for_each(|(keys, key)| keys.0[lane] = *key);
                    halve(isa, &lanes(value), &mut values[first + part]);
                }
                _ => unreachable!("keys and values are of one kind"),
            }
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
    score::<N>(isa, vectors, &head.keys, scores);
    let mut totals = [0.0; N];
    for ((scores, query), total) in scores
        .chunks_exact_mut(blocks)
        .zip(&*queries)
        .zip(&mut totals)
    {
        softmax(isa, scores, query.seen, total);
    }
    mix::<N>(isa, scores, &head.values, most, sums);
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
    /// Products of `N` queries with keys, as many as `scores` `[N, blocks]` has a place for.
    fn score<S, const N: usize>(queries: [&[f32]; N], keys: &Cells, scores: &mut [Lanes]) {
        // SAFETY: `S` is this processor's.
        unsafe {
            match keys {
                Cells::Floats(keys) => score_all::<S, _, N>(queries, keys, |keys| S::load(keys), scores),
                Cells::Halves(keys) => score_all::<S, _, N>(queries, keys, |keys| S::widen(keys), scores),
            }
        }
    }

    /// Sums of `values` of the first `slots` times `N` times as many `shares` `[N, blocks]`, into `sums`
    /// `[N, parts]`.
    fn mix<S, const N: usize>(shares: &[Lanes], values: &Cells, slots: usize, sums: &mut [Lanes]) {
        // SAFETY: `S` is this processor's.
        unsafe {
            match values {
                Cells::Floats(values) => mix_all::<S, _, N>(shares, values, |values| S::load(values), slots, sums),
                Cells::Halves(values) => mix_all::<S, _, N>(shares, values, |values| S::widen(values), slots, sums),
            }
        }
    }

    /// 16 numbers in 16 bits.
    fn halve<S>(lanes: &Lanes, halves: &mut Halves) {
        let lanes = Lanes(lanes.0.map(|x| x.clamp(-GREATEST, GREATEST)));
        // SAFETY: `S` is this processor's.
        *halves = unsafe { S::load(&lanes).halves() };
    }
}

/// All blocks that `scores` has a place for.
///
/// # Safety
/// The processor has the instructions of `S`.
#[inline(always)]
unsafe fn score_all<S: Register, E, const N: usize>(
    queries: [&[f32]; N],
    keys: &[E],
    load: impl Fn(&E) -> S + Copy,
    scores: &mut [Lanes],
) {
    let width = queries[0].len();
    let (count, mut block) = (scores.len() / N, 0);
    while block < count {
        let keys = &keys[block * width..];
        // SAFETY: the caller's.
        block += unsafe {
            match count - block {
                BLOCKS.. => score_blocks::<S, E, N, BLOCKS>(queries, keys, load, scores, block),
                _ => score_blocks::<S, E, N, 1>(queries, keys, load, scores, block),
            }
        };
    }
}

/// `B` blocks, the first of `keys`, whose scores are those from `block` on; how many.
///
/// # Safety
/// The processor has the instructions of `S`.
#[inline(always)]
unsafe fn score_blocks<S: Register, E, const N: usize, const B: usize>(
    queries: [&[f32]; N],
    keys: &[E],
    load: impl Fn(&E) -> S,
    scores: &mut [Lanes],
    block: usize,
) -> usize {
    let width = queries[0].len();
    let queries = queries.map(|query| &query[..width]);
    let keys: [&[E]; B] = std::array::from_fn(|block| &keys[block * width..][..width]);
    // SAFETY: the caller's.
    let mut sums = [[unsafe { S::zero() }; N]; B];
    for i in 0..width {
        for (sums, keys) in sums.iter_mut().zip(&keys) {
            let keys = load(&keys[i]);
            for (sum, query) in sums.iter_mut().zip(&queries) {
                // SAFETY: the caller's.
                *sum = unsafe { sum.add_product(query[i], keys) };
            }
        }
    }
    let blocks = scores.len() / N;
    for (of, sums) in sums.into_iter().enumerate() {
        for (scores, sum) in scores.chunks_exact_mut(blocks).zip(sums) {
            // SAFETY: the caller's.
            scores[block + of] = unsafe { sum.lanes() };
        }
    }
    B
}

/// All parts that `sums` has a place for.
///
/// # Safety
/// The processor has the instructions of `S`.
#[inline(always)]
unsafe fn mix_all<S: Register, E, const N: usize>(
    shares: &[Lanes],
    values: &[E],
    load: impl Fn(&E) -> S + Copy,
    slots: usize,
    sums: &mut [Lanes],
) {
    let (parts, mut part) = (sums.len() / N, 0);
    let values = &values[..slots * parts];
    while part < parts {
        // SAFETY: the caller's.
        part += unsafe {
            match parts - part {
                // Heads of 80: no second time over all values for the last of them.
                5 => mix_parts::<S, E, N, 5>(shares, values, load, part, sums),
                PARTS.. => mix_parts::<S, E, N, PARTS>(shares, values, load, part, sums),
                _ => mix_parts::<S, E, N, 1>(shares, values, load, part, sums),
            }
        };
    }
}

/// `P` of the parts from `part` on; how many.
///
/// # Safety
/// The processor has the instructions of `S`.
#[inline(always)]
unsafe fn mix_parts<S: Register, E, const N: usize, const P: usize>(
    shares: &[Lanes],
    values: &[E],
    load: impl Fn(&E) -> S,
    part: usize,
    sums: &mut [Lanes],
) -> usize {
    let (blocks, parts) = (shares.len() / N, sums.len() / N);
    let shares: [&[Lanes]; N] = std::array::from_fn(|i| &shares[i * blocks..][..blocks]);
    // SAFETY: the caller's.
    let mut mixed = [[unsafe { S::zero() }; N]; P];
    for (block, values) in values.chunks(LANES * parts).enumerate() {
        let shares = shares.map(|shares| &shares[block]);
        for (lane, values) in values.chunks_exact(parts).take(LANES).enumerate() {
            for (mixed, values) in mixed.iter_mut().zip(&values[part..part + P]) {
                let values = load(values);
                for (sum, shares) in mixed.iter_mut().zip(shares) {
                    // SAFETY: the caller's.
                    *sum = unsafe { sum.add_product(shares.0[lane], values) };
                }
            }
        }
    }
    for (of, mixed) in mixed.into_iter().enumerate() {
        for (sums, sum) in sums.chunks_exact_mut(parts).zip(mixed) {
            // SAFETY: the caller's.
            sums[part + of] = unsafe { sum.lanes() };
        }
    }
    P
}
