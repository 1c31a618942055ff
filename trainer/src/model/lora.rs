//! Low-rank adapters: Hu et al. 2021, *LoRA: Low-Rank Adaptation of Large Language Models*,
//! section 4.1.
//!
//! A linear map `W` `[out, in]` stays as it is; what is learned is a change of low rank beside it,
//!
//! ```text
//! y = x · Wᵀ + (dropout(x) · Aᵀ) · Bᵀ * alpha / rank        A: [rank, in], B: [out, rank]
//! ```
//!
//! `A` begins as normal numbers with deviation 1/sqrt(in) and `B` as 0, so that the first step sees
//! the model as it was. [`Model::merged`] adds the change to `W`. Rows by which a vocabulary has grown
//! are no change of what was there: they are learned whole, in the place of a table's last rows.
//!
//! Adapters are tensors by name: `lora.W.a`, `lora.W.b` and `lora.W.rows` of the weight `W`.

use std::collections::{BTreeSet, HashMap};

use tch::{Device, Kind, Tensor};

use super::{Dropout, Model, WeightsError, seeded};
use crate::config::training::Lora;

/// What the names of adapters begin with.
const PREFIX: &str = "lora.";
/// The tables, whose rows are tokens.
const TABLES: [&str; 2] = ["embedding.weight", "head.weight"];

/// Whether a tensor of this name is an adapter's.
pub fn is_adapter(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// The name of a part of a weight's adapter.
fn name_of(weight: &str, part: &str) -> String {
    format!("{PREFIX}{weight}.{part}")
}

/// The adapters of a model.
pub(super) struct Adapters {
    /// alpha / rank.
    pub(super) scale: f64,
    /// By name.
    pub(super) tensors: Vec<(String, Tensor)>,
}

/// A linear map, with its adapter where it has one.
pub(super) struct Linear {
    weight: Tensor,
    adapter: Option<Adapter>,
}

/// What is added to a linear map.
struct Adapter {
    /// `[rank, in]`.
    a: Tensor,
    /// `[out, rank]`.
    b: Tensor,
    scale: f64,
}

/// A table with a row for each token.
pub(super) struct Table {
    weight: Tensor,
    /// What stands in the place of its last rows.
    rows: Option<Tensor>,
}

impl Adapters {
    fn find(&self, weight: &str, part: &str) -> Option<Tensor> {
        let name = name_of(weight, part);
        let mut tensors = self.tensors.iter();
        tensors
            .find(|(other, _)| *other == name)
            .map(|(_, tensor)| tensor.shallow_clone())
    }
}

impl Linear {
    pub(super) fn new(name: &str, weight: Tensor, adapters: Option<&Adapters>) -> Self {
        let adapter = adapters.and_then(|adapters| {
            Some(Adapter {
                a: adapters.find(name, "a")?,
                b: adapters.find(name, "b")?,
                scale: adapters.scale,
            })
        });
        Self { weight, adapter }
    }

    /// The width of what it takes.
    pub(super) fn input(&self) -> i64 {
        self.weight.size()[1]
    }

    /// The same for many products in `kind`.
    pub(super) fn to_kind(&self, kind: Kind) -> Self {
        Self {
            weight: self.weight.to_kind(kind),
            adapter: self.adapter.as_ref().map(|adapter| Adapter {
                a: adapter.a.to_kind(kind),
                b: adapter.b.to_kind(kind),
                scale: adapter.scale,
            }),
        }
    }

    /// `[.., out]` of `x` `[.., in]`, multiplied in `kind`.
    pub(super) fn apply(&self, x: &Tensor, kind: Kind, dropout: &mut Dropout) -> Tensor {
        let x = x.to_kind(kind);
        let y = x.linear::<&Tensor>(&self.weight.to_kind(kind), None);
        let Some(Adapter { a, b, scale }) = &self.adapter else {
            return y;
        };
        let inner = dropout.adapter(x).linear::<&Tensor>(&a.to_kind(kind), None);
        y + inner.linear::<&Tensor>(&b.to_kind(kind), None) * *scale
    }

    /// The one weight that does the same.
    fn merged(&self) -> Tensor {
        match &self.adapter {
            Some(Adapter { a, b, scale }) => &self.weight + b.matmul(a) * *scale,
            None => self.weight.copy(),
        }
    }
}

impl Table {
    pub(super) fn new(name: &str, weight: Tensor, adapters: Option<&Adapters>) -> Self {
        let rows = adapters.and_then(|adapters| adapters.find(name, "rows"));
        Self { weight, rows }
    }

    /// All rows `[vocabulary, d_model]`.
    pub(super) fn rows(&self) -> Tensor {
        match &self.rows {
            Some(rows) => {
                let known = self.weight.size()[0] - rows.size()[0];
                Tensor::cat(&[&self.weight.narrow(0, 0, known), rows], 0)
            }
            None => self.weight.shallow_clone(),
        }
    }

    /// Where it is.
    pub(super) fn device(&self) -> Device {
        self.weight.device()
    }
}

/// What begins as [`Adapters`]: those of a model's linear maps, and the last `grown` rows of its
/// tables. A function of `seed`.
fn fresh(
    model: &Model,
    lora: &Lora,
    grown: usize,
    seed: u64,
) -> Result<HashMap<String, Tensor>, WeightsError> {
    let _alone = seeded(seed);
    let rank = lora.rank as i64;
    let mut tensors = HashMap::new();
    for name in chosen(model, lora)? {
        let weight = model.weight(&name);
        let (size, options) = (weight.size(), (Kind::Float, weight.device()));
        let a = Tensor::randn([rank, size[1]], options) * (size[1] as f64).powf(-0.5);
        tensors.insert(name_of(&name, "a"), a);
        let b = Tensor::zeros([size[0], rank], options);
        tensors.insert(name_of(&name, "b"), b);
    }
    for (name, weight) in model.weights() {
        if grown > 0 && TABLES.contains(&&name[..]) {
            let (all, grown) = (weight.size()[0], grown as i64);
            let rows = weight.detach().narrow(0, all - grown, grown).copy();
            tensors.insert(name_of(name, "rows"), rows);
        }
    }
    Ok(tensors)
}

/// The linear maps that the config names, in the model's order.
fn chosen(model: &Model, lora: &Lora) -> Result<Vec<String>, WeightsError> {
    let mut chosen = vec![false; model.linear_maps.len()];
    for matrices in &lora.matrices {
        let pattern = glob::Pattern::new(matrices);
        let here = model
            .linear_maps
            .iter()
            .map(|name| pattern.as_ref().is_ok_and(|pattern| pattern.matches(name)));
        let here: Vec<bool> = here.collect();
        if !here.contains(&true) {
            let layer = |part| match str::parse::<usize>(part) {
                Ok(_) => "*",
                Err(_) => part,
            };
            let maps = model.linear_maps.iter();
            let maps: BTreeSet<String> = maps
                .map(|name| name.split('.').map(layer).collect::<Vec<_>>().join("."))
                .collect();
            return Err(WeightsError::Unmatched {
                pattern: matrices.clone(),
                maps: Vec::from_iter(maps).join(", "),
            });
        }
        for (chosen, here) in std::iter::zip(&mut chosen, here) {
            *chosen |= here;
        }
    }
    let names = std::iter::zip(&model.linear_maps, chosen);
    Ok(names
        .filter(|(_, chosen)| *chosen)
        .map(|(name, _)| name.clone())
        .collect())
}

impl Model {
    /// The model with fresh adapters, a function of `seed`, which are then all that is trained, with
    /// the last `grown` rows of its tables.
    ///
    /// # Errors
    /// Where a pattern of the config names no linear map.
    pub fn adapt(self, lora: &Lora, grown: usize, seed: u64) -> Result<Self, WeightsError> {
        let tensors = fresh(&self, lora, grown, seed)?;
        self.with_adapters(lora, tensors)
    }

    /// The model with these adapters, by name; more than it needs may be given.
    ///
    /// # Errors
    /// Where one is missing or has another shape.
    pub fn with_adapters(
        self,
        lora: &Lora,
        mut given: HashMap<String, Tensor>,
    ) -> Result<Self, WeightsError> {
        let mut tensors = Vec::new();
        let mut take = |name: String, fits: &dyn Fn(&[i64]) -> Option<Vec<i64>>| {
            let Some(tensor) = given.remove(&name) else {
                return Err(WeightsError::Missing { name });
            };
            let found = tensor.size();
            if let Some(expected) = fits(&found) {
                return Err(WeightsError::Shape {
                    name,
                    found,
                    expected,
                });
            }
            tensors.push((name, tensor.to_device(self.device()).to_kind(Kind::Float)));
            Ok(())
        };
        let rank = lora.rank as i64;
        for name in chosen(&self, lora)? {
            let size = self.weight(&name).size();
            for (part, expected) in [("a", [rank, size[1]]), ("b", [size[0], rank])] {
                take(name_of(&name, part), &|found| {
                    (found != expected).then(|| expected.to_vec())
                })?;
            }
        }
        for (name, weight) in self.weights() {
            let (size, name) = (weight.size(), name_of(name, "rows"));
            let fits = |found: &[i64]| match found {
                [rows, width] if *rows <= size[0] && *width == size[1] => None,
                _ => Some(size.clone()),
            };
            match take(name, &fits) {
                Err(WeightsError::Missing { .. }) => {}
                taken => taken?,
            }
        }
        let adapters = Adapters {
            scale: lora.alpha / lora.rank as f64,
            tensors,
        };
        Ok(
            Self::assemble(&self.architecture, self.weights, Some(adapters))
                .with_precision(self.precision),
        )
    }

    /// The model without adapters that computes the same: their changes are in its weights. Its
    /// weights are its own.
    pub fn merged(&self) -> Self {
        let adapters = self.adapters.as_ref();
        let weights = self.weights.iter().map(|(name, weight)| {
            let weight = weight.detach();
            let merged = match TABLES.contains(&&name[..]) {
                true => Table::new(name, weight, adapters).rows().copy(),
                false => Linear::new(name, weight, adapters).merged(),
            };
            (name.clone(), merged.detach())
        });
        Self::assemble(&self.architecture, weights.collect(), None).with_precision(self.precision)
    }
}
