//! The Transformer of [`crate::architecture`] as a graph. Beside `ids` it takes `pos` and `slot`
//! `[batch, time]` and `kpos` `[batch, capacity]`; its state is two caches for each layer.
//!
//! - Keys and values are written into the caches `[batch, kv_heads, capacity, head_dim]` by
//!   `ScatterND` at `slot`; `kpos` `[batch, capacity]` says which position stands in a slot, or
//!   [`super::EMPTY`]. A key is seen where `pos - kpos >= 0`.
//! - The query heads of one key/value head are *folded* into rows,
//!   `[batch, kv_heads, time * heads / kv_heads, head_dim]`, so that no product has a single row:
//!   engines sum a single row in another order, and a step would differ from a prompt.
//! - Relative embeddings are taken from `q · Erᵀ` by `GatherElements` with the clipped distance.
//! - Rotary angles and sinusoidal positions come from tables: what an engine's sine gives may depend
//!   on where in a tensor an element stands.

use super::builder::{Builder, Dim, Value};
use super::weights::{Form, Stored};
use super::{GraphError, Skeleton, limit, past, present, refuse};
use crate::architecture::{Activation, Ends, Positions, Transformer};
use crate::manifest::{Dimension, Precision, StateTensor};
use crate::onnx::{Attribute, Element};

/// Refuses sizes without a graph; `positions` are those of the context.
pub(super) fn check(
    t: &Transformer,
    precision: Precision,
    positions: usize,
) -> Result<(), GraphError> {
    limit(&[
        ("layers", t.layers, 128),
        ("heads", t.heads, 128),
        ("kv_heads", t.kv_heads, t.heads),
        ("d_ff", t.d_ff, 1 << 15),
    ])?;
    match t.positions {
        Positions::Relative { max_distance } => {
            limit(&[("max_distance", max_distance, 1 << 16)])?;
        }
        Positions::Learned { length } => limit(&[("length", length, 1 << 16)])?,
        Positions::Rotary { .. } | Positions::Sinusoidal => {}
    }
    if !t.d_model.is_multiple_of(t.heads) || !t.head_dim().is_multiple_of(2) {
        return refuse("d_model must be a multiple of heads, and the width of a head even");
    }
    if !t.heads.is_multiple_of(t.kv_heads) {
        return refuse("heads must be a multiple of kv_heads");
    }
    match t.positions {
        Positions::Rotary { theta } if !(theta.is_finite() && theta > 0.0) => {
            return refuse("theta must be a positive finite number");
        }
        Positions::Learned { length } if length < positions => {
            return refuse("the context must not be longer than the learned positions");
        }
        _ => {}
    }
    if precision == Precision::Int8 && (t.kv_heads < 2 || t.heads / t.kv_heads < 2) {
        return refuse(
            "8-bit models need at least 2 key/value heads and at least 2 heads for each of them: with \
             fewer, engines sum in another order for one token than for many. Export it without --int8",
        );
    }
    Ok(())
}

/// The caches, in the order of the graph's inputs.
pub(super) fn state(t: &Transformer) -> Vec<StateTensor> {
    let shape = vec![
        Dimension::Named("batch".to_owned()),
        Dimension::Fixed(t.kv_heads),
        Dimension::Named("capacity".to_owned()),
        Dimension::Fixed(t.head_dim()),
    ];
    let tensor = |l, what| StateTensor {
        input: past(what, l),
        output: present(what, l),
        shape: shape.clone(),
    };
    (0..t.layers)
        .flat_map(|l| [tensor(l, "key"), tensor(l, "value")])
        .collect()
}

/// The bytes of the tables of `positions` positions.
pub(super) fn table_bytes(t: &Transformer, positions: usize) -> usize {
    match t.positions {
        Positions::Relative { .. } | Positions::Learned { .. } => 0,
        Positions::Rotary { .. } => 8 * positions * t.head_dim(),
        Positions::Sinusoidal => 4 * positions * t.d_model,
    }
}

/// What every layer reads: where keys go, which keys a query sees, where it stands.
struct Shared {
    /// Indices for `ScatterND`, `[batch, time, kv_heads, 3]`.
    slots: Value,
    /// 0 or -1e9, `[batch, 1, time * group, capacity]`.
    mask: Value,
    place: Place,
}

enum Place {
    /// Cosines and signed sines, `[batch, time, 1, head_dim]`.
    Rotary { cos: Value, sin: Value },
    /// Clipped distances, `[batch, kv_heads, time * group, capacity]`.
    Relative { distance: Value, max: usize },
    /// The embeddings say it.
    Absolute,
}

/// The graph without the values of its weights; `positions` bounds `pos` with rotary and sinusoidal
/// positions.
pub(super) fn skeleton(
    t: &Transformer,
    ends: Ends,
    precision: Precision,
    positions: usize,
) -> Skeleton {
    let mut b = Builder::new("famam.transformer");
    let tokens = [Dim::Free("batch"), Dim::Free("time")];
    let slots = [Dim::Free("batch"), Dim::Free("capacity")];
    let ids = b.input("ids", Element::I64, &tokens);
    let pos = b.input("pos", Element::I64, &tokens);
    let slot = b.input("slot", Element::I64, &tokens);
    let kpos = b.input("kpos", Element::I64, &slots);
    let (fixed, head_dim) = (Dim::Fixed(t.kv_heads), Dim::Fixed(t.head_dim()));
    let cache = [Dim::Free("batch"), fixed, Dim::Free("capacity"), head_dim];
    for l in 0..t.layers {
        b.input(&past("key", l), Element::F32, &cache);
        b.input(&past("value", l), Element::F32, &cache);
    }
    b.logits(ends);
    for l in 0..t.layers {
        b.output(&present("key", l), Element::F32, &cache);
        b.output(&present("value", l), Element::F32, &cache);
    }

    let (mut x, head) = b.embed(ends, &ids, precision);
    let place = match t.positions {
        Positions::Sinusoidal => {
            let table = b.floats(&[positions, t.d_model], &sinusoids(t.d_model, positions));
            Some(b.gather(&table, &pos, 0))
        }
        Positions::Learned { length } => {
            let table = b.table("positions.weight", [length, t.d_model], precision);
            Some(b.rows(&table, &pos))
        }
        Positions::Relative { .. } | Positions::Rotary { .. } => None,
    };
    if let Some(place) = place {
        x = b.op("Add", &[&x, &place]);
    }

    let mut b = Layers { b, t, precision };
    let shared = b.shared(&ids, &pos, &slot, &kpos, positions);
    for l in 0..t.layers {
        x = b.attention(&x, l, &shared);
        x = b.feed_forward(&x, l);
    }
    let x = b.norm(&x, "final_norm");
    b.b.head(ends, &x, &head, precision)
}

struct Layers<'a> {
    b: Builder,
    t: &'a Transformer,
    precision: Precision,
}

impl Layers<'_> {
    fn shared(
        &mut self,
        ids: &Value,
        pos: &Value,
        slot: &Value,
        kpos: &Value,
        positions: usize,
    ) -> Shared {
        let (b, t) = (&mut self.b, self.t);
        let (kv, group) = (t.kv_heads, t.heads / t.kv_heads);

        let shape = b.op("Shape", &[ids]);
        let (first, zero, one) = (b.ints(&[], &[0]), b.ints(&[], &[0]), b.ints(&[], &[1]));
        let batch = b.gather(&shape, &first, 0);
        let rows = b.op("Range", &[&zero, &batch, &one]);
        let rows = b.reshape(&rows, &[-1, 1, 1, 1]);
        let row_axis = b.ints(&[1, 1, 1, 3], &[1, 0, 0]);
        let rows = b.op("Mul", &[&rows, &row_axis]);
        let slots = b.unsqueeze(slot, &[2, 3]);
        let slot_axis = b.ints(&[1, 1, 1, 3], &[0, 0, 1]);
        let slots = b.op("Mul", &[&slots, &slot_axis]);
        let slots = b.op("Add", &[&slots, &rows]);
        let heads: Vec<i64> = (0..kv as i64).flat_map(|head| [0, head, 0]).collect();
        let heads = b.ints(&[1, 1, kv, 3], &heads);
        let slots = b.op("Add", &[&slots, &heads]);

        let folded = b.unsqueeze(pos, &[2]);
        let group = b.list(&[1, 1, group as i64]);
        let folded = b.op("Expand", &[&folded, &group]);
        let folded = b.reshape(&folded, &[0, -1]);
        let folded = b.unsqueeze(&folded, &[1, 3]);
        let keys = b.unsqueeze(kpos, &[1, 2]);
        let distance = b.op("Sub", &[&folded, &keys]);
        let seen = b.op("GreaterOrEqual", &[&distance, &zero]);
        let (keep, drop) = (b.float(0.0), b.float(-1e9));
        let mask = b.op("Where", &[&seen, &keep, &drop]);

        let place = match t.positions {
            Positions::Relative { max_distance: max } => {
                let far = b.ints(&[], &[max as i64]);
                let distance = b.op("Clip", &[&distance, &zero, &far]);
                let every = b.list(&[1, kv as i64, 1, 1]);
                Place::Relative {
                    distance: b.op("Expand", &[&distance, &every]),
                    max,
                }
            }
            Positions::Sinusoidal | Positions::Learned { .. } => Place::Absolute,
            Positions::Rotary { theta } => {
                let (cos, sin) = angles(theta, t.head_dim(), positions);
                let table = [positions, t.head_dim()];
                let mut row = |values: &[f32]| {
                    let table = b.floats(&table, values);
                    let row = b.gather(&table, pos, 0);
                    b.unsqueeze(&row, &[2])
                };
                Place::Rotary {
                    cos: row(&cos),
                    sin: row(&sin),
                }
            }
        };
        Shared { slots, mask, place }
    }

    fn attention(&mut self, x: &Value, l: usize, shared: &Shared) -> Value {
        let t = self.t;
        let (heads, kv, hd) = (t.heads, t.kv_heads, t.head_dim());
        let wide = (heads / kv * hd) as i64;
        let h = self.norm(x, &format!("layers.{l}.attention_norm"));
        let qkv = self.linear(
            &h,
            &format!("layers.{l}.qkv"),
            &["qkv"],
            l,
            [(heads + 2 * kv) * hd, t.d_model],
        );
        let b = &mut self.b;
        let qkv = b.reshape(&qkv, &[0, 0, (heads + 2 * kv) as i64, hd as i64]);
        let (q, k, v) = match &shared.place {
            Place::Rotary { cos, sin } => {
                let parts = b.split(&qkv, 2, &[heads + kv, kv]);
                let halves = b.split(&parts[0], 3, &[hd / 2, hd / 2]);
                let turned = b.concat(&[&halves[1], &halves[0]]);
                let kept = b.op("Mul", &[&parts[0], cos]);
                let turned = b.op("Mul", &[&turned, sin]);
                let rotated = b.op("Add", &[&kept, &turned]);
                let rotated = b.split(&rotated, 2, &[heads, kv]);
                (rotated[0].clone(), rotated[1].clone(), parts[1].clone())
            }
            Place::Relative { .. } | Place::Absolute => {
                let parts = b.split(&qkv, 2, &[heads, kv, kv]);
                (parts[0].clone(), parts[1].clone(), parts[2].clone())
            }
        };
        let keys = b.store("key", l, &shared.slots, &k);
        let values = b.store("value", l, &shared.slots, &v);

        let root = b.float((hd as f64).sqrt().recip() as f32);
        let q = b.op("Mul", &[&q, &root]);
        let q = b.reshape(&q, &[0, 0, kv as i64, wide]);
        let q = b.transpose(&q, &[0, 2, 1, 3]);
        let q = b.reshape(&q, &[0, 0, -1, hd as i64]);
        let keys = b.transpose(&keys, &[0, 1, 3, 2]);
        let mut scores = b.op("MatMul", &[&q, &keys]);
        if let Place::Relative { distance, max } = &shared.place {
            let name = format!("layers.{l}.relative.weight");
            let stored = Stored {
                names: vec![name.clone()],
                form: Form::Transposed,
            };
            let table = b.weight(&name, &[kv, hd, max + 1], stored);
            let table = b.op("MatMul", &[&q, &table]);
            let axis = vec![Attribute::int("axis", 3)];
            let relative = b.op_with("GatherElements", &[&table, distance], axis);
            scores = b.op("Add", &[&scores, &relative]);
        }
        let scores = b.op("Add", &[&scores, &shared.mask]);
        let shares = b.op_with("Softmax", &[&scores], vec![Attribute::int("axis", -1)]);
        let mixed = b.op("MatMul", &[&shares, &values]);
        let mixed = b.reshape(&mixed, &[0, 0, -1, wide]);
        let mixed = b.transpose(&mixed, &[0, 2, 1, 3]);
        let mixed = b.reshape(&mixed, &[0, 0, (heads * hd) as i64]);
        let y = self.linear(
            &mixed,
            &format!("layers.{l}.out"),
            &["out"],
            l,
            [t.d_model, heads * hd],
        );
        self.b.op("Add", &[x, &y])
    }

    fn feed_forward(&mut self, x: &Value, l: usize) -> Value {
        let (d, ff) = (self.t.d_model, self.t.d_ff);
        let h = self.norm(x, &format!("layers.{l}.feed_forward_norm"));
        let h = match self.t.activation {
            Activation::Gelu => {
                let h = self.linear(&h, &format!("layers.{l}.up"), &["up"], l, [ff, d]);
                self.b.gelu(&h)
            }
            Activation::SwiGlu => {
                let name = format!("layers.{l}.gate_up");
                let h = self.linear(&h, &name, &["gate", "up"], l, [2 * ff, d]);
                let parts = self.b.split(&h, 2, &[ff, ff]);
                let open = self.b.op("Sigmoid", &[&parts[0]]);
                let gate = self.b.op("Mul", &[&parts[0], &open]);
                self.b.op("Mul", &[&gate, &parts[1]])
            }
        };
        let y = self.linear(&h, &format!("layers.{l}.down"), &["down"], l, [d, ff]);
        self.b.op("Add", &[x, &y])
    }

    fn norm(&mut self, x: &Value, name: &str) -> Value {
        self.b.norm(x, name, self.t.d_model)
    }

    /// A linear map of layer `l` whose weights are `parts`, stacked, of shape `[out, in]`.
    fn linear(
        &mut self,
        x: &Value,
        name: &str,
        parts: &[&str],
        l: usize,
        shape: [usize; 2],
    ) -> Value {
        let names: Vec<String> = parts
            .iter()
            .map(|part| format!("layers.{l}.{part}.weight"))
            .collect();
        let x = self.b.activation(x, self.precision);
        let matrix = self.b.matrix(name, &names, shape, self.precision);
        self.b.linear(&x, &matrix)
    }
}

impl Builder {
    /// The cache after `new` `[batch, time, kv_heads, head_dim]` went to `slots`.
    fn store(&mut self, what: &str, l: usize, slots: &Value, new: &Value) -> Value {
        let name = present(what, l);
        self.named(
            "ScatterND",
            &[&past(what, l), slots, new],
            Vec::new(),
            &[&name],
        );
        name
    }

    /// `x * (1 + erf(x / sqrt(2))) / 2`.
    fn gelu(&mut self, x: &Value) -> Value {
        let (root, one, half) = (
            self.float(std::f32::consts::FRAC_1_SQRT_2),
            self.float(1.0),
            self.float(0.5),
        );
        let scaled = self.op("Mul", &[x, &root]);
        let erf = self.op("Erf", &[&scaled]);
        let erf = self.op("Add", &[&erf, &one]);
        let y = self.op("Mul", &[x, &erf]);
        self.op("Mul", &[&y, &half])
    }
}

/// Cosines and sines of every position, `[positions, head_dim]`; the first half of the sines has
/// the sign of the rotation.
pub(crate) fn angles(theta: f32, head_dim: usize, positions: usize) -> (Vec<f32>, Vec<f32>) {
    let half = head_dim / 2;
    let frequency = |i: usize| libm::pow(f64::from(theta), -2.0 * i as f64 / head_dim as f64);
    let frequencies: Vec<f64> = (0..half).map(frequency).collect();
    let angle = |pos: usize, i: usize| pos as f64 * frequencies[i % half];
    let places = || (0..positions).flat_map(|pos| (0..head_dim).map(move |i| (pos, i)));
    let cos = places()
        .map(|(pos, i)| libm::cos(angle(pos, i)) as f32)
        .collect();
    let sign = |i: usize| if i < half { -1.0 } else { 1.0 };
    let sin = places()
        .map(|(pos, i)| (sign(i) * libm::sin(angle(pos, i))) as f32)
        .collect();
    (cos, sin)
}

/// Sines and cosines of every position, in turns, `[positions, d_model]`.
pub(crate) fn sinusoids(d_model: usize, positions: usize) -> Vec<f32> {
    let pair = |pos: usize, i: usize| {
        let angle = pos as f64 * libm::pow(10_000.0, -2.0 * i as f64 / d_model as f64);
        [libm::sin(angle) as f32, libm::cos(angle) as f32]
    };
    (0..positions)
        .flat_map(|pos| (0..d_model / 2).flat_map(move |i| pair(pos, i)))
        .collect()
}
