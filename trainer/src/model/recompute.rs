//! Gradient checkpointing: Chen et al. 2016, *Training Deep Nets with Sublinear Memory Cost*,
//! section 4.2, with a checkpoint at every layer.
//!
//! Forwards, only what a layer is given is kept, not what it computes inside; backwards, each layer
//! is run again, with the same dropout, and its gradient taken at once. So the activations of one
//! layer are in memory at a time, for a third more time. Loss and gradients are the same to the bit.

use tch::Tensor;

use super::Dropout;

/// The layers of one pass, in their order.
pub struct Tape<'a> {
    /// `None` where torch keeps all that it needs itself.
    kept: Option<Vec<Kept<'a>>>,
}

/// A layer: hidden states to hidden states.
type Layer<'a> = Box<dyn Fn(&Tensor, &mut Dropout) -> Tensor + 'a>;

/// What is kept of a layer.
struct Kept<'a> {
    /// Its input, with how it came about.
    given: Tensor,
    /// Its output, whose gradient is what comes back to it.
    output: Tensor,
    /// Dropout as it was before the layer.
    dropout: Dropout,
    layer: Layer<'a>,
}

impl<'a> Tape<'a> {
    /// A pass with or without gradient checkpointing.
    pub fn new(checkpointing: bool) -> Self {
        let kept = checkpointing.then(Vec::new);
        Self { kept }
    }

    /// Runs a layer on `x`.
    pub fn layer(
        &mut self,
        x: Tensor,
        dropout: &mut Dropout,
        layer: impl Fn(&Tensor, &mut Dropout) -> Tensor + 'a,
    ) -> Tensor {
        let Some(kept) = &mut self.kept else {
            return layer(&x, dropout);
        };
        let before = dropout.clone();
        let output = tch::no_grad(|| layer(&x, dropout));
        let output = output.detach().set_requires_grad(true);
        kept.push(Kept {
            given: x,
            output: output.shallow_clone(),
            dropout: before,
            layer: Box::new(layer),
        });
        output
    }

    /// Takes the gradients of all layers, from the last to the first, once that of what came after
    /// them is taken.
    pub fn backward(self) {
        for mut kept in self.kept.into_iter().flatten().rev() {
            let gradient = kept.output.grad();
            let input = kept.given.detach().set_requires_grad(true);
            let output = (kept.layer)(&input, &mut kept.dropout);
            // The gradient of this sum by the output is `gradient`, exactly.
            (output * gradient).sum(None).backward();
            if kept.given.requires_grad() {
                (kept.given * input.grad()).sum(None).backward();
            }
        }
    }
}
