//! The LSTM of [`crate::architecture`] as a graph, by ONNX's operator of that name. Its state is
//! `h` and `c` `[batch, units]` of every layer, as `past_hidden.l` and `past_cell.l`.
//!
//! The operator wants the time before the batch, and one direction more than there is. It also takes
//! the lengths of sequences that differ, which rten ignores: here all are of one length.

use super::builder::{Builder, Dim, Value};
use super::linear::Activation;
use super::weights::{Form, Stored};
use super::{GraphError, Skeleton, limit, past, present, refuse};
use crate::architecture::{Ends, Lstm};
use crate::manifest::{Dimension, Precision, StateTensor};
use crate::onnx::{Attribute, Element};

/// What a layer carries.
const STATE: [&str; 2] = ["hidden", "cell"];

/// Refuses sizes without a graph.
pub(super) fn check(lstm: &Lstm, precision: Precision) -> Result<(), GraphError> {
    limit(&[("layers", lstm.units.len(), 128)])?;
    for &units in &lstm.units {
        limit(&[("units", units, 1 << 13)])?;
    }
    if precision == Precision::Int8 {
        return refuse(
            "an LSTM has none in 8 bits: engines scale all rows of its operator together, so a step \
             would differ from a prompt. Export it without --int8",
        );
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
    let mut x = b.transpose(&x, &[1, 0, 2]);
    for (l, (units, input)) in lstm.layers().enumerate() {
        x = b.lstm(&x, l, units, input);
    }
    let x = b.transpose(&x, &[1, 0, 2]);
    let last = lstm.units.last().copied().unwrap_or(ends.d_model);
    let projection = "projection.weight".to_owned();
    let projection = b.matrix("projection", &[projection], [ends.d_model, last], precision);
    let x = b.linear(&Activation::Fp32(x), &projection);
    b.head(ends, &x, &head, precision)
}

impl Builder {
    /// The hidden states `[time, batch, units]` of layer `l` for inputs `[time, batch, input]`.
    fn lstm(&mut self, x: &Value, l: usize, units: usize, input: usize) -> Value {
        let mut weight = |name: &str, shape: &[usize]| {
            let name = format!("layers.{l}.{name}");
            let stored = Stored {
                names: vec![name.clone()],
                form: Form::Plain,
            };
            self.weight(&name, shape, stored)
        };
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
}
