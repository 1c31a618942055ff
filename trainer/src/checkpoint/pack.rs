//! A `safetensors` file of 32-bit tensors, with a text and a hash over both in its metadata.

use std::collections::HashMap;
use std::fmt::Display;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use crate::dataset;

/// The metadata's key of the hash over the text and the tensors.
const HASH: &str = "famam.hash";

/// The file of `tensors`, with `text` under `key`; or what is wrong with them.
pub(crate) fn pack(key: &str, text: &str, tensors: &[(String, Tensor)]) -> Result<Vec<u8>, String> {
    let mut data = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let tensor = tensor
            .detach()
            .to_device(Device::Cpu)
            .to_kind(Kind::Float)
            .contiguous();
        let mut bytes = vec![0; tensor.numel() * size_of::<f32>()];
        tensor
            .f_copy_data_u8(&mut bytes, tensor.numel())
            .map_err(said)?;
        let shape: Vec<usize> = tensor
            .size()
            .into_iter()
            .map(|size| size as usize)
            .collect();
        data.push((name.as_str(), shape, bytes));
    }
    let views = data.iter().map(|(name, shape, bytes)| {
        Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?))
    });
    let views: Result<Vec<_>, safetensors::SafeTensorError> = views.collect();
    let bytes = views.and_then(|views| {
        let hash = hash(text, views.iter().cloned());
        let metadata = [(key.to_owned(), text.to_owned()), (HASH.to_owned(), hash)];
        safetensors::serialize(views, Some(HashMap::from(metadata)))
    });
    bytes.map_err(said)
}

/// The text under `key` of the file in `bytes`.
pub(crate) fn text(key: &str, bytes: &[u8]) -> Result<String, String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(said)?;
    let text = metadata.metadata().as_ref().and_then(|keys| keys.get(key));
    text.cloned()
        .ok_or_else(|| format!("no {key} in its metadata"))
}

/// The tensors of the file in `bytes`, whose text is `text`.
pub(crate) fn tensors(text: &str, bytes: &[u8]) -> Result<HashMap<String, Tensor>, String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(said)?;
    let stored = SafeTensors::deserialize(bytes).map_err(said)?;
    // Checkpoints of the first days have no hash.
    let stated = metadata.metadata().as_ref().and_then(|keys| keys.get(HASH));
    if stated.is_some_and(|stated| *stated != hash(text, stored.iter())) {
        let what = "its hash does not match its contents; go on from another, or copy it again";
        return Err(what.to_owned());
    }
    let mut tensors = HashMap::new();
    for (name, view) in stored.tensors() {
        if view.dtype() != Dtype::F32 {
            return Err(format!("{name} is {:?}", view.dtype()));
        }
        let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &shape, Kind::Float);
        tensors.insert(name, tensor.map_err(said)?);
    }
    Ok(tensors)
}

fn said(error: impl Display) -> String {
    error.to_string()
}

/// SHA-256, in hexadecimal, over the text and then, in the order of their names, of each tensor the
/// name, the sizes and the bytes, numbers as u64 and each list behind its length.
fn hash<'a>(text: &str, tensors: impl Iterator<Item = (&'a str, TensorView<'a>)>) -> String {
    let mut hash = Sha256::new();
    let mut take = |length: usize, bytes: &[u8]| {
        hash.update((length as u64).to_le_bytes());
        hash.update(bytes);
    };
    take(text.len(), text.as_bytes());
    let mut tensors: Vec<_> = tensors.collect();
    tensors.sort_by_key(|&(name, _)| name);
    for (name, tensor) in &tensors {
        take(name.len(), name.as_bytes());
        let sizes = tensor.shape().iter();
        let sizes: Vec<u8> = sizes
            .flat_map(|&size| (size as u64).to_le_bytes())
            .collect();
        take(tensor.shape().len(), &sizes);
        take(tensor.data().len(), tensor.data());
    }
    dataset::hex(hash)
}
