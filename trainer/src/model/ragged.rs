//! Ragged batches.

use famam_shared::architecture::Ends;
use famam_shared::encoding::Token;
use tch::{Device, Kind, Tensor};

/// A batch of sequences, one after another.
pub struct Ragged {
    /// All tokens, int64 `[tokens]`.
    pub ids: Tensor,
    /// Tokens of each sequence.
    pub lengths: Vec<i64>,
    /// What is added to every token, of a model that does.
    pub conditions: Option<Conditions>,
    /// Indices into `ids` whose next token is scored, int64 `[n]`.
    pub scored: Tensor,
    /// Those next tokens, int64 `[n]`.
    pub targets: Tensor,
}

/// The conditions of the sequences of a batch.
pub struct Conditions {
    /// Those of all sequences, as tokens, int64 `[n]`.
    ids: Tensor,
    /// The sequence that each is of, int64 `[n]`.
    of: Tensor,
    /// The sequence of every token of the batch, int64 `[tokens]`.
    sequences: Tensor,
}

impl Conditions {
    /// The sums of the embeddings of each token's conditions, `[tokens, d_model]`, of a table
    /// `[vocabulary, d_model]`.
    pub(super) fn sums(&self, table: &Tensor, sequences: usize) -> Tensor {
        let embedded = Tensor::embedding(table, &self.ids, -1, false, false);
        let shape = [sequences as i64, table.size()[1]];
        Tensor::zeros(shape, (Kind::Float, table.device()))
            .index_add(0, &self.of, &embedded)
            .index_select(0, &self.sequences)
    }
}

impl Ragged {
    /// The batch of some streams for a model with these `ends`, each with the length of its head and
    /// the index of its first token that is scored (none of the head). A stream's last token is only
    /// a target.
    pub fn new<'a>(
        ends: Ends,
        streams: impl Iterator<Item = (&'a [Token], usize, usize)>,
        device: Device,
    ) -> Self {
        let (mut ids, mut lengths) = (Vec::new(), Vec::new());
        let (mut scored, mut targets) = (Vec::new(), Vec::new());
        let (mut conditions, mut of, mut sequences) = (Vec::new(), Vec::new(), Vec::new());
        for (tokens, head, first) in streams {
            let (given, sequence) = ends.split(tokens, head);
            let (begin, inputs) = (ids.len(), sequence.len() - 1);
            let first = first - given.len();
            of.extend(given.iter().map(|_| lengths.len() as i64));
            conditions.extend(given.iter().map(|&token| i64::from(token)));
            sequences.extend((0..inputs).map(|_| lengths.len() as i64));
            ids.extend(sequence[..inputs].iter().map(|&token| i64::from(token)));
            lengths.push(inputs as i64);
            scored.extend((first - 1..inputs).map(|i| (begin + i) as i64));
            targets.extend(sequence[first..].iter().map(|&token| i64::from(token)));
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
            conditions: ends.conditioning_scale.map(|_| Conditions {
                ids: tensor(conditions),
                of: tensor(of),
                sequences: tensor(sequences),
            }),
            lengths,
            scored: tensor(scored),
            targets: tensor(targets),
        }
    }
    /// Sequences of `lengths` tokens in `ids` `[tokens]` (int64), under no condition and not scored.
    pub fn unscored(ids: &Tensor, lengths: &[i64]) -> Self {
        let none = || Tensor::empty([0], (Kind::Int64, ids.device()));
        Self {
            ids: ids.shallow_clone(),
            lengths: lengths.to_vec(),
            conditions: None,
            scored: none(),
            targets: none(),
        }
    }
}
