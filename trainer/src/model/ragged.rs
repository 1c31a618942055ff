//! Ragged batches.

use famam_shared::encoding::Token;
use tch::{Device, Kind, Tensor};

/// A batch of sequences, one after another.
pub struct Ragged {
    /// All tokens, int64 `[tokens]`.
    pub ids: Tensor,
    /// Tokens of each sequence.
    pub lengths: Vec<i64>,
    /// Indices into `ids` whose next token is scored, int64 `[n]`.
    pub scored: Tensor,
    /// Those next tokens, int64 `[n]`.
    pub targets: Tensor,
}

impl Ragged {
    /// The batch of some streams, each with the index of its first token that is scored (not 0).
    /// A stream's last token is only a target.
    pub fn new<'a>(streams: impl Iterator<Item = (&'a [Token], usize)>, device: Device) -> Self {
        let (mut ids, mut lengths) = (Vec::new(), Vec::new());
        let (mut scored, mut targets) = (Vec::new(), Vec::new());
        for (tokens, first) in streams {
            let (begin, inputs) = (ids.len(), tokens.len() - 1);
            ids.extend(tokens[..inputs].iter().map(|&token| i64::from(token)));
            lengths.push(inputs as i64);
            scored.extend((first - 1..inputs).map(|i| (begin + i) as i64));
            targets.extend(tokens[first..].iter().map(|&token| i64::from(token)));
        }
        let tensor = |indices: Vec<i64>| {
            let indices = Tensor::from_slice(&indices);
            match device.is_cuda() {
                // From memory that the GPU reads by itself, while this goes on.
                true => indices
                    .pin_memory(device)
                    .to_device_(device, Kind::Int64, true, false),
                false => indices.to_device(device),
            }
        };
        Self {
            ids: tensor(ids),
            lengths,
            scored: tensor(scored),
            targets: tensor(targets),
        }
    }
}
