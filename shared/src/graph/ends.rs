//! What stands before and behind every backbone: the embedding and the head.

use super::Skeleton;
use super::builder::{Builder, Dim, Value};
use super::linear::Matrix;
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
            (self.columns(&head, ids), head)
        } else {
            let x = self.rows(&embedding, size, ids, precision);
            let head = self.matrix("head", &["head.weight".to_owned()], size, precision);
            (x, head)
        };
        if ends.embedding_scale == 1.0 {
            return (x, head);
        }
        let scale = self.float(ends.embedding_scale);
        (self.op("Mul", &[&x, &scale]), head)
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
