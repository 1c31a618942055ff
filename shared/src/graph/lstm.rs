//! The LSTM of [`crate::architecture`] as a graph. Its state is `h` and `c` `[batch, units]` of every
//! layer, as `past_hidden.l` and `past_cell.l`; with attention also the last outputs, the newest last,
//! `[batch, window, units]`, and which of them there are, `[batch, window]`, as `past_outputs.l` and
//! `past_seen.l` of the last layer.
//!
//! In 32 bits a layer is ONNX's operator of that name. In 8 bits it is a `Loop` over the times: engines'
//! own operator scales all rows together, so that a step would differ from a prompt. Attention is a `Loop`,
//! too: every token then sums over the same places, however a prompt is cut.
//!
//! The operator wants the time before the batch, and one direction more than there is. It also takes
//! the lengths of sequences that differ, which rten ignores: here all are of one length.

use super::builder::{Builder, Dim, Value};
use super::{GraphError, Skeleton, limit, past, present, refuse};
use crate::architecture::{Ends, Lstm};
use crate::manifest::{Dimension, Precision, StateTensor};
use crate::onnx::{Attribute, Element};

/// What a layer carries.
const STATE: [&str; 2] = ["hidden", "cell"];
/// What attention carries.
const ATTENTION: [&str; 2] = ["outputs", "seen"];

/// Refuses sizes without a graph.
pub(super) fn check(lstm: &Lstm) -> Result<(), GraphError> {
    limit(&[("layers", lstm.units.len(), 128)])?;
    for &units in &lstm.units {
        limit(&[("units", units, 1 << 13)])?;
    }
    match lstm.attention_window {
        Some(0 | 1) => refuse("an attention_window must have 2 outputs at least"),
        Some(window) => limit(&[("attention_window", window, 1 << 12)]),
        None => Ok(()),
    }
}

/// What the layers carry, in the order of the graph's inputs.
pub(super) fn state(lstm: &Lstm) -> Vec<StateTensor> {
    let tensor = |(what, l, sizes): (&str, usize, Vec<usize>)| StateTensor {
        input: past(what, l),
        output: present(what, l),
        shape: std::iter::once(Dimension::Named("batch".to_owned()))
            .chain(sizes.into_iter().map(Dimension::Fixed))
            .collect(),
    };
    carried(lstm).map(tensor).collect()
}

/// What is carried, of which layer, and its sizes after the batch's.
fn carried(lstm: &Lstm) -> impl Iterator<Item = (&'static str, usize, Vec<usize>)> {
    let layers = lstm.units.iter().enumerate();
    let layers = layers.flat_map(|(l, &units)| STATE.map(|what| (what, l, vec![units])));
    let last = lstm.units.len().saturating_sub(1);
    let attention = lstm.attention_window.into_iter().flat_map(move |window| {
        let [outputs, seen] = ATTENTION;
        [
            (outputs, last, vec![window, lstm.width()]),
            (seen, last, vec![window]),
        ]
    });
    layers.chain(attention)
}

/// The graph without the values of its weights.
pub(super) fn skeleton(lstm: &Lstm, ends: Ends, precision: Precision) -> Skeleton {
    let mut b = Builder::new("famam.lstm");
    let ids = b.input(
        "ids",
        Element::I64,
        &[Dim::Free("batch"), Dim::Free("time")],
    );
    let shape = |sizes: Vec<usize>| -> Vec<Dim> {
        let sizes = sizes.into_iter().map(Dim::Fixed);
        std::iter::once(Dim::Free("batch")).chain(sizes).collect()
    };
    for (what, l, sizes) in carried(lstm) {
        b.input(&past(what, l), Element::F32, &shape(sizes));
    }
    b.logits(ends);
    for (what, l, sizes) in carried(lstm) {
        b.output(&present(what, l), Element::F32, &shape(sizes));
    }

    let (x, head) = b.embed(ends, &ids, precision);
    let x = match precision {
        Precision::Fp32 => {
            let mut x = b.transpose(&x, &[1, 0, 2]);
            for (l, (units, input)) in lstm.layers().enumerate() {
                x = b.lstm(&x, l, units, input);
            }
            b.transpose(&x, &[1, 0, 2])
        }
        Precision::Int8 => {
            let (times, mut x) = (b.times(&ids), x);
            for (l, (units, input)) in lstm.layers().enumerate() {
                x = b.lstm_in_8_bits(&x, l, [units, input], &times);
            }
            x
        }
    };
    let last = lstm.width();
    let x = match lstm.attention_window {
        Some(window) => {
            let times = b.times(&ids);
            b.attend(&x, lstm.units.len() - 1, [window, last], precision, &times)
        }
        None => x,
    };
    let projection = "projection.weight".to_owned();
    let projection = b.matrix("projection", &[projection], [ends.d_model, last], precision);
    let x = b.activation(&x, precision);
    let x = b.linear(&x, &projection);
    b.head(ends, &x, &head, precision)
}

impl Builder {
    /// The hidden states `[time, batch, units]` of layer `l` for inputs `[time, batch, input]`.
    fn lstm(&mut self, x: &Value, l: usize, units: usize, input: usize) -> Value {
        let mut weight =
            |name: &str, shape: &[usize]| self.plain(&format!("layers.{l}.{name}"), shape);
        let w = weight("input.weight", &[1, 4 * units, input]);
        let r = weight("recurrent.weight", &[1, 4 * units, units]);
        let bias = weight("bias", &[1, 4 * units]);
        // The operator has a second bias, of the recurrent products.
        let zeros = self.floats(&[1, 4 * units], &vec![0.0; 4 * units]);
        let bias = self.concat(&[&bias, &zeros]);
        let [h, c] = STATE.map(|what| self.unsqueeze(&past(what, l), &[0]));
        let name = |what: &str| format!("layers.{l}.{what}");
        let (y, last_h, last_c) = (name("y"), name("hidden"), name("cell"));
        self.named(
            "LSTM",
            &[x, &w, &r, &bias, &String::new(), &h, &c],
            vec![Attribute::int("hidden_size", units as i64)],
            &[&y, &last_h, &last_c],
        );
        let first = self.list(&[0]);
        for (what, last) in std::iter::zip(STATE, [&last_h, &last_c]) {
            let name = present(what, l);
            self.named("Squeeze", &[last, &first], Vec::new(), &[&name]);
        }
        let direction = self.list(&[1]);
        self.op("Squeeze", &[&y, &direction])
    }

    /// The hidden states `[batch, time, units]` of layer `l` for inputs `[batch, time, input]`.
    fn lstm_in_8_bits(
        &mut self,
        x: &Value,
        l: usize,
        [units, input]: [usize; 2],
        times: &Value,
    ) -> Value {
        let name = |part: &str| format!("layers.{l}.{part}");
        let mut matrix = |part: &str, inputs| {
            let weight = [name(&format!("{part}.weight"))];
            self.matrix(&name(part), &weight, [4 * units, inputs], Precision::Int8)
        };
        let (w, r) = (matrix("input", input), matrix("recurrent", units));
        let bias = self.plain(&name("bias"), &[4 * units]);
        let x = self.activation(x, Precision::Int8);
        let from_x = self.linear(&x, &w);
        let from_x = self.op("Add", &[&from_x, &bias]);
        let [h, c] = STATE.map(|what| past(what, l));
        let (carried, y) = self.each_time(times, [&h, &c], |b, time, [h, c]| {
            let from_x = b.gather(&from_x, time, 1);
            let h = b.activation(h, Precision::Int8);
            let from_h = b.linear(&h, &r);
            let gates = b.op("Add", &[&from_x, &from_h]);
            let parts = b.split(&gates, 1, &[3 * units, units]);
            let opened = b.op("Sigmoid", &[&parts[0]]);
            let opened = b.split(&opened, 1, &[units; 3]);
            let [i, o, f] = [&opened[0], &opened[1], &opened[2]];
            let g = b.op("Tanh", &[&parts[1]]);
            let kept = b.op("Mul", &[f, c]);
            let added = b.op("Mul", &[i, &g]);
            let c = b.op("Add", &[&kept, &added]);
            let shown = b.op("Tanh", &[&c]);
            let h = b.op("Mul", &[o, &shown]);
            let y = b.op("Identity", &[&h]);
            ([h, c], y)
        });
        for (what, last) in std::iter::zip(STATE, &carried) {
            self.named("Identity", &[last], Vec::new(), &[&present(what, l)]);
        }
        self.transpose(&y, &[1, 0, 2])
    }

    /// What `x` `[batch, time, units]` of layer `l` and its last outputs are combined to, of the same shape.
    fn attend(
        &mut self,
        x: &Value,
        l: usize,
        [window, units]: [usize; 2],
        precision: Precision,
        times: &Value,
    ) -> Value {
        let mut matrix = |part: &str, inputs| {
            let name = format!("attention.{part}");
            let weight = [format!("{name}.weight")];
            self.matrix(&name, &weight, [units, inputs], precision)
        };
        let (score, combine) = (matrix("score", units), matrix("combine", 2 * units));
        let read = self.activation(x, precision);
        let queries = self.linear(&read, &score);
        let root = self.float((units as f64).sqrt().recip() as f32);
        let queries = self.op("Mul", &[&queries, &root]);
        let [outputs, seen] = ATTENTION.map(|what| past(what, l));
        let (carried, mixed) = self.each_time(times, [&outputs, &seen], |b, time, past| {
            let query = b.gather(&queries, time, 1);
            let query = b.unsqueeze(&query, &[2]);
            let output = b.gather(x, time, 1);
            let output = b.unsqueeze(&output, &[1]);
            // The oldest goes, the newest comes.
            let (second, end, axis) = (b.list(&[1]), b.list(&[window as i64]), b.list(&[1]));
            let [kept, seen] = past.map(|all| b.op("Slice", &[all, &second, &end, &axis]));
            let along = vec![Attribute::int("axis", 1)];
            let outputs = b.op_with("Concat", &[&kept, &output], along);
            let (one, after) = (b.float(1.0), b.list(&[0, 0, 0, 1]));
            let seen = b.op("Pad", &[&seen, &after, &one]);

            let last = b.list(&[2]);
            let scores = b.op("MatMul", &[&outputs, &query]);
            let scores = b.op("Squeeze", &[&scores, &last]);
            let (zero, unseen) = (b.float(0.0), b.float(-1e9));
            let is_seen = b.op("Greater", &[&seen, &zero]);
            let scores = b.op("Where", &[&is_seen, &scores, &unseen]);
            let shares = b.op_with("Softmax", &[&scores], vec![Attribute::int("axis", -1)]);
            let shares = b.unsqueeze(&shares, &[1]);
            let mixed = b.op("MatMul", &[&shares, &outputs]);
            let mixed = b.op("Squeeze", &[&mixed, &axis]);
            ([outputs, seen], mixed)
        });
        for (what, last) in std::iter::zip(ATTENTION, &carried) {
            self.named("Identity", &[last], Vec::new(), &[&present(what, l)]);
        }
        let mixed = self.transpose(&mixed, &[1, 0, 2]);
        let both = self.concat(&[&mixed, x]);
        let both = self.activation(&both, precision);
        let y = self.linear(&both, &combine);
        self.op("Tanh", &[&y])
    }
}
