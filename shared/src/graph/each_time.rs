//! `Loop` over the times of a sequence: what recurs and cannot be computed for all of them at once.

use super::builder::{Builder, Value, tensor_type};
use crate::onnx::{Attribute, Element, Graph, Shape, ValueInfo};

impl Builder {
    /// How many times `ids` `[batch, time]` have, of rank 0.
    pub(super) fn times(&mut self, ids: &Value) -> Value {
        let shape = self.op("Shape", &[ids]);
        let second = self.ints(&[], &[1]);
        self.gather(&shape, &second, 0)
    }

    /// `body` for each time from 0 to `times`. It gets the time, of rank 0, and what is carried, and gives what
    /// goes on and what the time gives. The result is what is carried in the end and what was given, stacked
    /// along a new first axis. All of it is floats.
    pub(super) fn each_time<const N: usize>(
        &mut self,
        times: &Value,
        first: [&Value; N],
        body: impl FnOnce(&mut Self, &Value, [&Value; N]) -> ([Value; N], Value),
    ) -> ([Value; N], Value) {
        let name = self.fresh("Loop");
        let part = |part: &str| format!("{name}_{part}");
        let (time, go, on) = (part("time"), part("go"), part("on"));
        let before: [Value; N] = std::array::from_fn(|i| part(&format!("before_{i}")));
        let ([carried, given], nodes) = self.inside(|b| {
            let (carried, given) = body(b, &time, before.each_ref());
            b.named("Identity", &[&go], Vec::new(), &[&on]);
            [carried.to_vec(), vec![given]]
        });
        let info = |name: &Value, element, shape| ValueInfo {
            name: name.clone(),
            of: Some(tensor_type(element, shape)),
        };
        // ONNX Runtime wants to know the rank of the first two.
        let scalar = |name, element| info(name, element, Some(Shape::default()));
        let floats = |values: &[Value]| -> Vec<ValueInfo> {
            let floats = values.iter();
            floats.map(|name| info(name, Element::F32, None)).collect()
        };
        let inputs = vec![scalar(&time, Element::I64), scalar(&go, Element::Bool)];
        let outputs = vec![scalar(&on, Element::Bool)];
        let body = Graph {
            nodes,
            name: part("body"),
            initializers: Vec::new(),
            inputs: [inputs, floats(&before)].concat(),
            outputs: [outputs, floats(&carried), floats(&given)].concat(),
        };
        let after: [Value; N] = std::array::from_fn(|i| part(&format!("after_{i}")));
        let all = part("all");
        let always = Value::new();
        let inputs: Vec<&Value> = [times, &always].into_iter().chain(first).collect();
        let outputs: Vec<&str> = after.iter().chain([&all]).map(String::as_str).collect();
        self.named(
            "Loop",
            &inputs,
            vec![Attribute::graph("body", body)],
            &outputs,
        );
        (after, all)
    }
}
