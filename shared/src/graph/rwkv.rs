//! RWKV of [`crate::architecture`] as a graph. Its state is five vectors `[batch, d_model]` of every layer:
//! the last `h` of the time mixing and of the channel mixing, the numerator and the denominator of WKV, and the
//! greatest exponent in them, by which both are scaled.
//!
//! Everything but WKV is computed for all times at once. WKV is a `Loop` over them, so that a sum is the same
//! bits however a prompt is cut. Where nothing came before, the state is zeros: the denominator, which is at least 1
//! after any token, then says that there is no exponent yet.

use super::builder::{Builder, Dim, Value};
use super::{GraphError, Skeleton, limit, past, present};
use crate::architecture::{Ends, Rwkv};
use crate::manifest::{Dimension, Precision, StateTensor};
use crate::onnx::{Attribute, Element};

/// What a layer carries.
const STATE: [&str; 5] = [
    "time_mixing",
    "channel_mixing",
    "numerator",
    "denominator",
    "exponent",
];

/// The exponent of nothing.
const NOTHING: f32 = -1e30;

/// Refuses sizes without a graph.
pub(super) fn check(rwkv: &Rwkv) -> Result<(), GraphError> {
    limit(&[("layers", rwkv.layers, 128), ("d_ff", rwkv.d_ff, 1 << 15)])
}

/// What the layers carry, in the order of the graph's inputs.
pub(super) fn state(rwkv: &Rwkv) -> Vec<StateTensor> {
    let tensor = |l, what| StateTensor {
        input: past(what, l),
        output: present(what, l),
        shape: vec![
            Dimension::Named("batch".to_owned()),
            Dimension::Fixed(rwkv.d_model),
        ],
    };
    (0..rwkv.layers)
        .flat_map(|l| STATE.map(|what| tensor(l, what)))
        .collect()
}

/// The graph without the values of its weights.
pub(super) fn skeleton(rwkv: &Rwkv, ends: Ends, precision: Precision) -> Skeleton {
    let mut b = Builder::new("famam.rwkv");
    let ids = b.input(
        "ids",
        Element::I64,
        &[Dim::Free("batch"), Dim::Free("time")],
    );
    let carried = [Dim::Free("batch"), Dim::Fixed(rwkv.d_model)];
    let names = || (0..rwkv.layers).flat_map(|l| STATE.map(|what| (what, l)));
    for (what, l) in names() {
        b.input(&past(what, l), Element::F32, &carried);
    }
    b.logits(ends);
    for (what, l) in names() {
        b.output(&present(what, l), Element::F32, &carried);
    }

    let (x, head) = b.embed(ends, &ids, precision);
    let mut x = b.norm(&x, "embedding_norm", rwkv.d_model);
    let times = b.times(&ids);
    let mut layers = Layers {
        b,
        rwkv,
        precision,
        times,
    };
    for l in 0..rwkv.layers {
        x = layers.time_mixing(&x, l);
        x = layers.channel_mixing(&x, l);
    }
    let mut b = layers.b;
    let x = b.norm(&x, "final_norm", rwkv.d_model);
    b.head(ends, &x, &head, precision)
}

struct Layers<'a> {
    b: Builder,
    rwkv: &'a Rwkv,
    precision: Precision,
    /// How many times `ids` have.
    times: Value,
}

/// `h` `[batch, time, d_model]` with the times before it.
struct Shifted {
    before: Value,
    /// `h` less what was before.
    change: Value,
}

impl Layers<'_> {
    fn time_mixing(&mut self, x: &Value, l: usize) -> Value {
        let d = self.rwkv.d_model;
        let name = |part: &str| format!("layers.{l}.{part}");
        let h = self.b.norm(x, &name("time_mixing_norm"), d);
        let shifted = self.shift(&h, "time_mixing", l);
        let [r, k, v] = ["receptance", "key", "value"].map(|part| {
            let mixed = self.mix(&shifted, &name(&format!("time_mixing.mix_{part}")));
            self.linear(&mixed, &name(&format!("time_mixing.{part}")), [d, d])
        });
        let r = self.b.op("Sigmoid", &[&r]);
        let wkv = self.wkv(&k, &v, l);
        let read = self.b.op("Mul", &[&r, &wkv]);
        let y = self.linear(&read, &name("time_mixing.output"), [d, d]);
        self.b.op("Add", &[x, &y])
    }

    fn channel_mixing(&mut self, x: &Value, l: usize) -> Value {
        let (d, ff) = (self.rwkv.d_model, self.rwkv.d_ff);
        let name = |part: &str| format!("layers.{l}.{part}");
        let h = self.b.norm(x, &name("channel_mixing_norm"), d);
        let shifted = self.shift(&h, "channel_mixing", l);
        let [r, k] = [("receptance", d), ("key", ff)].map(|(part, width)| {
            let mixed = self.mix(&shifted, &name(&format!("channel_mixing.mix_{part}")));
            self.linear(&mixed, &name(&format!("channel_mixing.{part}")), [width, d])
        });
        let r = self.b.op("Sigmoid", &[&r]);
        let k = self.b.op("Relu", &[&k]);
        let k = self.b.op("Mul", &[&k, &k]);
        let v = self.linear(&k, &name("channel_mixing.value"), [d, ff]);
        let y = self.b.op("Mul", &[&r, &v]);
        self.b.op("Add", &[x, &y])
    }

    /// `h` and what was before it; the last of it is the state `what` of layer `l`.
    fn shift(&mut self, h: &Value, what: &str, l: usize) -> Shifted {
        let b = &mut self.b;
        let first = b.unsqueeze(&past(what, l), &[1]);
        let axis = |axis| vec![Attribute::int("axis", axis)];
        let all = b.op_with("Concat", &[&first, h], axis(1));
        let last = present(what, l);
        b.named("Gather", &[&all, &self.times], axis(1), &[&last]);
        let (begin, end, time) = (b.list(&[0]), b.list(&[-1]), b.list(&[1]));
        let before = b.op("Slice", &[&all, &begin, &end, &time]);
        let change = b.op("Sub", &[h, &before]);
        Shifted { before, change }
    }

    /// `h[t] * mix + h[t-1] * (1 - mix)`.
    fn mix(&mut self, shifted: &Shifted, name: &str) -> Value {
        let mix = self.b.plain(name, &[self.rwkv.d_model]);
        let share = self.b.op("Mul", &[&shifted.change, &mix]);
        self.b.op("Add", &[&shifted.before, &share])
    }

    fn linear(&mut self, x: &Value, name: &str, shape: [usize; 2]) -> Value {
        let x = self.b.activation(x, self.precision);
        let weight = format!("{name}.weight");
        let matrix = self.b.matrix(name, &[weight], shape, self.precision);
        self.b.linear(&x, &matrix)
    }

    /// WKV `[batch, time, d_model]` of keys and values of that shape.
    fn wkv(&mut self, k: &Value, v: &Value, l: usize) -> Value {
        let (b, d) = (&mut self.b, self.rwkv.d_model);
        let weight = |part: &str| format!("layers.{l}.time_mixing.{part}");
        let decay = b.plain(&weight("decay"), &[d]);
        let decay = b.op("Exp", &[&decay]);
        let bonus = b.plain(&weight("bonus"), &[d]);
        let now = b.op("Add", &[k, &bonus]);
        let [numerator, denominator, exponent] = [2, 3, 4].map(|i| past(STATE[i], l));
        let (zero, nothing) = (b.float(0.0), b.float(NOTHING));
        let something = b.op("Greater", &[&denominator, &zero]);
        let exponent = b.op("Where", &[&something, &exponent, &nothing]);
        let (carried, wkv) = b.each_time(
            &self.times,
            [&numerator, &denominator, &exponent],
            |b, time, [numerator, denominator, exponent]| {
                let [k, v, now] = [k, v, &now].map(|all| b.gather(all, time, 1));
                let wkv = {
                    let sums = [numerator, denominator];
                    let ([above, below], _) = b.add_to_sums(sums, exponent, &now, &v);
                    b.op("Div", &[&above, &below])
                };
                let faded = b.op("Sub", &[exponent, &decay]);
                let sums = [numerator, denominator];
                let ([above, below], exponent) = b.add_to_sums(sums, &faded, &k, &v);
                ([above, below, exponent], wkv)
            },
        );
        for (value, i) in std::iter::zip(&carried, [2, 3, 4]) {
            b.named("Identity", &[value], Vec::new(), &[&present(STATE[i], l)]);
        }
        b.transpose(&wkv, &[1, 0, 2])
    }
}

impl Builder {
    /// Sums `[numerator, denominator]`, scaled by `exponent`, with `e^k v` and `e^k` added to them, and
    /// what they are scaled by then.
    fn add_to_sums(
        &mut self,
        [numerator, denominator]: [&Value; 2],
        exponent: &Value,
        k: &Value,
        v: &Value,
    ) -> ([Value; 2], Value) {
        let greatest = self.op("Max", &[exponent, k]);
        let [old, new] = [exponent, k].map(|exponent| {
            let below = self.op("Sub", &[exponent, &greatest]);
            self.op("Exp", &[&below])
        });
        let kept = self.op("Mul", &[&old, numerator]);
        let added = self.op("Mul", &[&new, v]);
        let numerator = self.op("Add", &[&kept, &added]);
        let kept = self.op("Mul", &[&old, denominator]);
        let denominator = self.op("Add", &[&kept, &new]);
        ([numerator, denominator], greatest)
    }
}
