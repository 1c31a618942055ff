//! What stands before and behind every backbone: the embedding and the head.

use super::builder::{Builder, Dim, Value};
use super::linear::Matrix;
use super::{CONDITIONS, Skeleton};
use crate::architecture::Ends;
use crate::manifest::Precision;
use crate::onnx::Element;

impl Builder {
    /// The output `logits`; its value comes with [`Self::head`].
    pub(super) fn logits(&mut self, ends: Ends) {
        let (batch, time) = (Dim::Free("batch"), Dim::Free("time"));
        let shape = [batch, time, Dim::Fixed(ends.vocabulary)];
        self.output("logits", Element::F32, &shape);
    }

    /// The embeddings `[batch, time, d_model]` of `ids`, scaled, and the head's matrix.
    pub(super) fn embed(
        &mut self,
        ends: Ends,
        ids: &Value,
        precision: Precision,
    ) -> (Value, Matrix) {
        let size = [ends.vocabulary, ends.d_model];
        let embedding = "embedding.weight".to_owned();
        let (x, head) = if ends.tied {
            let head = self.matrix("embedding", &[embedding], size, precision);
            let x = self.columns(&head, ids);
            let x = self.condition(x, ends, |b, ids| b.columns(&head, ids));
            (x, head)
        } else {
            let table = self.table(&embedding, size, precision);
            let x = self.rows(&table, ids);
            let x = self.condition(x, ends, |b, ids| b.rows(&table, ids));
            let head = self.matrix("head", &["head.weight".to_owned()], size, precision);
            (x, head)
        };
        if ends.embedding_scale == 1.0 {
            return (x, head);
        }
        let scale = self.float(ends.embedding_scale);
        (self.op("Mul", &[&x, &scale]), head)
    }

    /// Adds to `x` `[batch, time, d_model]` what the model adds to every token: the scaled sum of the
    /// embeddings of a further input, [`CONDITIONS`] `[batch, conditions]`, of which PAD counts as
    /// nothing.
    fn condition(
        &mut self,
        x: Value,
        ends: Ends,
        embed: impl Fn(&mut Self, &Value) -> Value,
    ) -> Value {
        let Some(scale) = ends.conditioning_scale else {
            return x;
        };
        let shape = [Dim::Free("batch"), Dim::Free("conditions")];
        let ids = self.input(CONDITIONS, Element::I64, &shape);
        let embedded = embed(self, &ids);
        let one = self.float(1.0);
        let counts = self.cast(&ids, Element::F32);
        let counts = self.op("Min", &[&counts, &one]);
        let counts = self.unsqueeze(&counts, &[2]);
        let embedded = self.op("Mul", &[&embedded, &counts]);
        // One after the other: with `ReduceSum` padding would change the order, and so the last bits.
        let (axis, last) = (self.ints(&[], &[1]), self.list(&[-1]));
        let sums = self.op("CumSum", &[&embedded, &axis]);
        let sum = self.gather(&sums, &last, 1);
        let scale = self.float(scale);
        let sum = self.op("Mul", &[&sum, &scale]);
        self.op("Add", &[&x, &sum])
    }

    /// The graph, whose `logits` are those of the last hidden states `x`.
    pub(super) fn head(
        mut self,
        ends: Ends,
        x: &Value,
        head: &Matrix,
        precision: Precision,
    ) -> Skeleton {
        let x = self.activation(x, precision);
        let mut logits = self.linear(&x, head);
        if ends.logit_scale != 1.0 {
            let scale = self.float(ends.logit_scale);
            logits = self.op("Mul", &[&logits, &scale]);
        }
        self.named("Identity", &[&logits], Vec::new(), &["logits"]);
        self.finish()
    }
}
