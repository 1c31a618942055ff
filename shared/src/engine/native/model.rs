//! The Transformer of [`crate::architecture`], a part of the tokens at a time.
//!
//! A part does for its tokens all that needs no others': from the attention of one layer to the queries, keys and
//! values of the next. Between two layers these keys and values go to the caches, where all parts read them.

use std::collections::HashMap;

use super::attention::{self, Head, Query, attend};
use super::elementwise::{gate, gelu, norm};
use super::isa::Isa;
use super::matrix::{Matrix, Quantized};
use crate::architecture::{Activation, Architecture, Ends, Positions, Transformer};
use crate::bundle::Bundle;
use crate::encoding::{PAD, Token};
use crate::engine::rows::Rows;
use crate::graph::{Stacked, angles, sinusoids};
use crate::manifest::Precision;

/// The keys and values of a sequence, of each layer and of each of its key/value heads.
pub(super) type Sequence = Vec<Vec<Head>>;

/// A token that is read.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Its row, and its number among the tokens of this run.
    pub(super) row: usize,
    pub(super) index: usize,
    /// Where it stands in its sequence.
    pub(super) position: usize,
    pub(super) token: Token,
}

/// A Transformer with its weights.
pub(super) struct Model {
    isa: Isa,
    /// Whether keys and values are kept in 16 bits.
    halves: bool,
    transformer: Transformer,
    ends: Ends,
    /// `[vocabulary, d_model]`.
    embedding: Vec<f32>,
    /// `[positions, d_model]`, added to embeddings, where there are such.
    places: Option<Vec<f32>>,
    /// Cosines and signed sines `[positions, head_dim]`, where queries and keys are rotated.
    angles: Option<(Vec<f32>, Vec<f32>)>,
    layers: Vec<Layer>,
    final_norm: Norm,
    head: Matrix,
}

struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

struct Layer {
    attention_norm: Norm,
    qkv: Matrix,
    out: Matrix,
    feed_forward_norm: Norm,
    /// Gates before what they open, where there are such.
    up: Matrix,
    down: Matrix,
}

impl Model {
    /// Of a bundle; why not, where it has no such model.
    pub(super) fn new(bundle: &Bundle, isa: Isa) -> Result<Self, String> {
        let Architecture::Transformer(transformer) = &bundle.manifest.architecture else {
            return Err("it runs Transformers alone".to_owned());
        };
        let t = transformer.clone();
        let stacked = bundle.stacked().map_err(|error| error.to_string())?;
        let weights = Weights(
            stacked
                .into_iter()
                .map(|stacked| (stacked.names.first().cloned().unwrap_or_default(), stacked))
                .collect(),
        );
        let positions = bundle.manifest.context.tokens;
        let (places, angles) = match t.positions {
            Positions::Relative { .. } => {
                return Err("it runs no model with relative positions".to_owned());
            }
            Positions::Rotary { theta } => (None, Some(angles(theta, t.head_dim(), positions))),
            Positions::Sinusoidal => (Some(sinusoids(t.d_model, positions)), None),
            Positions::Learned { .. } => (Some(weights.floats("positions.weight")?), None),
        };
        let embedding = weights.floats("embedding.weight")?;
        let head = if t.tied {
            "embedding.weight"
        } else {
            "head.weight"
        };
        let head = weights.matrix(head, t.d_model)?;
        let layers = (0..t.layers).map(|l| {
            let name = |what: &str| format!("layers.{l}.{what}");
            let up = match t.activation {
                Activation::Gelu => "up.weight",
                Activation::SwiGlu => "gate.weight",
            };
            Ok(Layer {
                attention_norm: weights.norm(&name("attention_norm"))?,
                qkv: weights.matrix(&name("qkv.weight"), t.d_model)?,
                out: weights.matrix(&name("out.weight"), t.heads * t.head_dim())?,
                feed_forward_norm: weights.norm(&name("feed_forward_norm"))?,
                up: weights.matrix(&name(up), t.d_model)?,
                down: weights.matrix(&name("down.weight"), t.d_ff)?,
            })
        });
        Ok(Self {
            isa,
            halves: bundle.manifest.precision == Precision::Int8,
            ends: bundle.manifest.architecture.ends(),
            embedding,
            places,
            angles,
            layers: layers.collect::<Result<_, String>>()?,
            final_norm: weights.norm("final_norm")?,
            head,
            transformer: t,
        })
    }

    /// Layers.
    pub(super) fn layers(&self) -> usize {
        self.layers.len()
    }

    /// An empty sequence.
    pub(super) fn sequence(&self) -> Sequence {
        vec![vec![Head::new(self.halves); self.transformer.kv_heads]; self.layers()]
    }

    /// Writes the embedding of `token` at `position`, beside which `added` are.
    fn embed(&self, token: Token, position: usize, added: &[Token], x: &mut [f32]) {
        let width = self.transformer.d_model;
        let row = |token: Token| &self.embedding[usize::from(token) * width..][..width];
        x.copy_from_slice(row(token));
        if let Some(scale) = self.ends.conditioning_scale {
            for (i, x) in x.iter_mut().enumerate() {
                let added = added.iter().filter(|token| **token != PAD);
                let sum = added.fold(0.0, |sum, &token| sum + row(token)[i]);
                *x += sum * scale;
            }
        }
        for x in &mut *x {
            *x *= self.ends.embedding_scale;
        }
        if let Some(places) = &self.places {
            let place = &places[position * width..][..width];
            x.iter_mut().zip(place).for_each(|(x, place)| *x += place);
        }
    }
}

/// Weights by the first of their names.
struct Weights(HashMap<String, Stacked>);

impl Weights {
    fn get(&self, name: &str) -> Result<&Stacked, String> {
        let missing = || format!("the weight {name} is missing");
        self.0.get(name).ok_or_else(missing)
    }

    fn floats(&self, name: &str) -> Result<Vec<f32>, String> {
        Ok(self.get(name)?.floats(|| 0.0))
    }

    fn matrix(&self, name: &str, inputs: usize) -> Result<Matrix, String> {
        let Stacked { values, scales, .. } = self.get(name)?;
        Ok(Matrix::new(values, inputs, scales.as_deref()))
    }

    fn norm(&self, name: &str) -> Result<Norm, String> {
        let floats = |what: &str| self.floats(&format!("{name}.{what}"));
        Ok(Norm {
            weight: floats("weight")?,
            bias: floats("bias")?,
        })
    }
}

/// Some of the tokens of a run, and what was computed of them.
#[derive(Default)]
pub(super) struct Part {
    places: Vec<Place>,
    /// Hidden states, `[tokens, d_model]`.
    x: Vec<f32>,
    /// The same, normed.
    h: Vec<f32>,
    /// Queries, keys and values, `[tokens, (heads + 2 * kv_heads) * head_dim]`.
    qkv: Vec<f32>,
    /// `[tokens, heads * head_dim]`.
    mixed: Vec<f32>,
    /// What linear maps give, and nonlinearities of it.
    y: Vec<f32>,
    gated: Vec<f32>,
    quantized: Quantized,
    attention: attention::Scratch,
}

impl Part {
    /// Takes the tokens at `places`.
    pub(super) fn take(&mut self, places: &[Place]) {
        self.places.clear();
        self.places.extend(places);
    }

    /// Goes up to the first layer's queries, keys and values; `rows` say what is added to tokens.
    pub(super) fn begin(&mut self, model: &Model, rows: &Rows) {
        let width = model.transformer.d_model;
        self.x.resize(self.places.len() * width, 0.0);
        for (place, x) in self.places.iter().zip(self.x.chunks_exact_mut(width)) {
            model.embed(place.token, place.position, rows.added(place.row), x);
        }
        self.begin_layer(model, 0);
    }

    /// Queries, keys and values of `layer`; behind the last one the logits.
    fn begin_layer(&mut self, model: &Model, layer: usize) {
        let isa = model.isa;
        let layer = model.layers.get(layer);
        let Norm { weight, bias } = layer.map_or(&model.final_norm, |layer| &layer.attention_norm);
        self.h.resize(self.x.len(), 0.0);
        norm(isa, &self.x, weight, bias, &mut self.h);
        let Some(layer) = layer else {
            model
                .head
                .apply(isa, &self.h, &mut self.quantized, &mut self.y);
            let scale = model.ends.logit_scale;
            if scale != 1.0 {
                self.y.iter_mut().for_each(|logit| *logit *= scale);
            }
            return;
        };
        layer
            .qkv
            .apply(isa, &self.h, &mut self.quantized, &mut self.qkv);
        let t = &model.transformer;
        let width = t.head_dim();
        let rows = self
            .qkv
            .chunks_exact_mut((t.heads + 2 * t.kv_heads) * width);
        for (place, qkv) in self.places.iter().zip(rows) {
            if let Some((cos, sin)) = &model.angles {
                let at = place.position * width;
                let (cos, sin) = (&cos[at..][..width], &sin[at..][..width]);
                for head in qkv.chunks_exact_mut(width).take(t.heads + t.kv_heads) {
                    rotate(head, cos, sin);
                }
            }
            let root = (width as f64).sqrt().recip() as f32;
            let queries = &mut qkv[..t.heads * width];
            queries.iter_mut().for_each(|query| *query *= root);
        }
    }

    /// Writes the keys and values of `layer` into the `sequences` of its tokens.
    pub(super) fn store(&self, model: &Model, layer: usize, sequences: &mut [Sequence]) {
        let t = &model.transformer;
        let width = t.head_dim();
        let rows = self.qkv.chunks_exact((t.heads + 2 * t.kv_heads) * width);
        for (place, qkv) in self.places.iter().zip(rows) {
            let (keys, values) = qkv[t.heads * width..].split_at(t.kv_heads * width);
            let stored = keys.chunks_exact(width).zip(values.chunks_exact(width));
            let heads = sequences[place.row][layer].iter_mut();
            for (head, (key, value)) in heads.zip(stored) {
                head.store(model.isa, place.position, key, value);
            }
        }
    }

    /// The rest of `layer`, and what [`Self::begin_layer`] does of the next.
    pub(super) fn layer(&mut self, model: &Model, layer: usize, sequences: &[Sequence]) {
        let isa = model.isa;
        let of = &model.layers[layer];
        self.attend(model, layer, sequences);
        of.out
            .apply(isa, &self.mixed, &mut self.quantized, &mut self.y);
        self.add();
        let Norm { weight, bias } = &of.feed_forward_norm;
        norm(isa, &self.x, weight, bias, &mut self.h);
        of.up.apply(isa, &self.h, &mut self.quantized, &mut self.y);
        match model.transformer.activation {
            Activation::Gelu => {
                gelu(isa, &mut self.y);
                std::mem::swap(&mut self.y, &mut self.gated);
            }
            Activation::SwiGlu => {
                self.gated.resize(self.y.len() / 2, 0.0);
                gate(isa, model.transformer.d_ff, &self.y, &mut self.gated);
            }
        }
        of.down
            .apply(isa, &self.gated, &mut self.quantized, &mut self.y);
        self.add();
        self.begin_layer(model, layer + 1);
    }

    fn add(&mut self) {
        self.x.iter_mut().zip(&self.y).for_each(|(x, y)| *x += y);
    }

    fn attend(&mut self, model: &Model, layer: usize, sequences: &[Sequence]) {
        let t = &model.transformer;
        let (width, group) = (t.head_dim(), t.heads / t.kv_heads);
        let row = (t.heads + 2 * t.kv_heads) * width;
        self.mixed.resize(self.places.len() * t.heads * width, 0.0);
        let (mut all, mut mixed) = (&self.qkv[..], &mut self.mixed[..]);
        for places in self.places.chunk_by(|a, b| a.row == b.row) {
            let (own, others) = all.split_at(places.len() * row);
            all = others;
            let (to, others) = mixed.split_at_mut(places.len() * t.heads * width);
            mixed = others;
            // The queries of each key/value head, of all tokens, one token after the other.
            let mut heads: Vec<Vec<Query>> = vec![];
            heads.resize_with(t.kv_heads, || Vec::with_capacity(places.len() * group));
            let tokens = own
                .chunks_exact(row)
                .zip(to.chunks_exact_mut(t.heads * width));
            for (place, (qkv, to)) in places.iter().zip(tokens) {
                let queries = qkv.chunks_exact(width).zip(to.chunks_exact_mut(width));
                for (head, (query, mixed)) in queries.enumerate() {
                    heads[head / group].push(Query {
                        query,
                        seen: place.position + 1,
                        mixed,
                    });
                }
            }
            let caches = &sequences[places[0].row][layer];
            for (cache, queries) in caches.iter().zip(&mut heads) {
                attend(model.isa, cache, queries, &mut self.attention);
            }
        }
    }

    /// The logits behind each of its tokens.
    pub(super) fn logits<'a>(
        &'a self,
        model: &Model,
    ) -> impl Iterator<Item = (&'a Place, &'a [f32])> {
        self.places
            .iter()
            .zip(self.y.chunks_exact(model.ends.vocabulary))
    }
}

/// Rotates a head `[width]`, element `i` with `i + width / 2`.
fn rotate(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (first, second) = head.split_at_mut(cos.len() / 2);
    let ((cos, _), (minus, plus)) = (cos.split_at(cos.len() / 2), sin.split_at(sin.len() / 2));
    let pairs = first.iter_mut().zip(second);
    for (((first, second), cos), (minus, plus)) in pairs.zip(cos).zip(minus.iter().zip(plus)) {
        let (a, b) = (*first, *second);
        *first = a * cos + b * minus;
        *second = b * cos + a * plus;
    }
}
