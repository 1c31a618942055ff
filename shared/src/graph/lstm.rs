//! The LSTM of [`crate::architecture`] as a graph. Its state is `h` and `c` `[batch, units]` of every
//! layer, as `past_hidden.l` and `past_cell.l`.
//!
//! In 32 bits a layer is ONNX's operator of that name. In 8 bits it is a `Loop` over the times: engines'
//! own operator scales all rows together, so that a step would differ from a prompt.
//!
//! The operator wants the time before the batch, and one direction more than there is. It also takes
//! the lengths of sequences that differ, which rten ignores: here all are of one length.

use super::builder::{Builder, Dim, Value};
use super::{GraphError, Skeleton, limit, past, present};
use crate::architecture::{Ends, Lstm};
use crate::manifest::{Dimension, Precision, StateTensor};
use crate::onnx::{Attribute, Element};

/// What a layer carries.
const STATE: [&str; 2] = ["hidden", "cell"];

/// Refuses sizes without a graph.
pub(super) fn check(lstm: &Lstm) -> Result<(), GraphError> {
    limit(&[("layers", lstm.units.len(), 128)])?;
    for &units in &lstm.units {
        limit(&[("units", units, 1 << 13)])?;
    }
    Ok(())
}

/// What the layers carry, in the order of the graph's inputs.
pub(super) fn state(lstm: &Lstm) -> Vec<StateTensor> {
    let tensor = |l, what, units| StateTensor {
        input: past(what, l),
        output: present(what, l),
        shape: vec![
            Dimension::Named("batch".to_owned()),
            Dimension::Fixed(units),
        ],
    };
    let layers = lstm.units.iter().enumerate();
    layers
        .flat_map(|(l, &units)| STATE.map(|what| tensor(l, what, units)))
        .collect()
}

/// The graph without the values of its weights.
pub(super) fn skeleton(lstm: &Lstm, ends: Ends, precision: Precision) -> Skeleton {
    let mut b = Builder::new("famam.lstm");
    let ids = b.input(
        "ids",
        Element::I64,
        &[Dim::Free("batch"), Dim::Free("time")],
    );
    let carried = |units| [Dim::Free("batch"), Dim::Fixed(units)];
    for (l, &units) in lstm.units.iter().enumerate() {
        for what in STATE {
            b.input(&past(what, l), Element::F32, &carried(units));
        }
    }
    b.logits(ends);
    for (l, &units) in lstm.units.iter().enumerate() {
        for what in STATE {
            b.output(&present(what, l), Element::F32, &carried(units));
        }
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
    let last = lstm.units.last().copied().unwrap_or(ends.d_model);
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
}
