//! Bundles: a model in one `.onnx` file whose metadata carries the [`Manifest`]; the format is in
//! `docs/formats.md`.
//!
//! [`Bundle::read`] trusts nothing. What a bundle's graph must be follows from the manifest alone:
//! it is built again by [`crate::graph`], takes only the weights' values from the file, and the
//! result must be the file, byte for byte. So no engine ever sees an operator, a shape, a path to
//! other files or a size that this crate did not write itself.

mod wire;

use std::collections::HashMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use crate::encoding::SettingsError;
use crate::graph::{self, GraphError, Skeleton, Stacked, Weights};
use crate::manifest::{Manifest, VERSION};
use crate::onnx::{Element, Metadata, Model};

/// The metadata key of the manifest.
pub const MANIFEST_KEY: &str = "famam.manifest";
/// The largest bundle in bytes: what one protobuf message can hold.
pub const MAX_BYTES: usize = (1 << 31) - 1;
/// The longest manifest in bytes.
pub const MAX_MANIFEST_BYTES: usize = 1 << 20;

/// The most bars of a context.
pub const MAX_BARS: usize = 65_536;

/// The hexadecimal digits of a SHA-256.
const HASH_DIGITS: usize = 64;

const OTHER_GRAPH: &str =
    "its graph is not the one that Famam writes for the architecture in its manifest";

/// A model and what it says of itself.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The manifest.
    pub manifest: Manifest,
    /// The `.onnx` file, as this crate writes it.
    pub model: Vec<u8>,
}

/// The `.onnx` file for `manifest` with the values of `weights`. The manifest's version, hash and
/// state are filled in.
///
/// # Errors
/// Whatever [`Bundle::read`] would refuse, before anything is written.
pub fn write(manifest: &Manifest, weights: &Weights) -> Result<Vec<u8>, BundleError> {
    let architecture = &manifest.architecture;
    let positions = manifest.context.tokens;
    let mut model = graph::build(architecture, weights, manifest.precision, positions)?;
    let (version, hash) = (VERSION, "0".repeat(HASH_DIGITS));
    let manifest = Manifest {
        version,
        hash,
        state: graph::state(architecture),
        ..manifest.clone()
    };
    let mut text = serde_json::to_string(&manifest).map_err(BundleError::Manifest)?;
    let hash = hash_range(&text, &manifest.hash)?;
    model.metadata.push(metadata(text.clone()));
    text.replace_range(hash, &hexadecimal(Sha256::digest(encode(&model))));
    model.metadata = vec![metadata(text)];
    let bytes = encode(&model);
    Bundle::read(&bytes)?;
    Ok(bytes)
}

impl Bundle {
    /// Opens the bundle in `bytes`. Takes at most a few times their size in memory.
    ///
    /// # Errors
    /// Anything but a bundle as [`write`] makes it: see [`BundleError`].
    pub fn read(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > MAX_BYTES {
            return Err(BundleError::TooLarge { bytes: bytes.len() });
        }
        let file = wire::outline(bytes)?;
        let text = file.manifest;
        if text.len() > MAX_MANIFEST_BYTES {
            return Err(BundleError::Foreign {
                why: "its manifest is longer than 1 MiB",
            });
        }
        let Version { version } = serde_json::from_str(text).map_err(BundleError::Manifest)?;
        if version > VERSION {
            return Err(BundleError::Newer { version });
        }
        let manifest: Manifest = serde_json::from_str(text).map_err(BundleError::Manifest)?;
        let hash = hash_range(text, &manifest.hash)?;
        let start = file.manifest_start + hash.start;
        let digest = Sha256::new()
            .chain_update(&bytes[..start])
            .chain_update([b'0'; HASH_DIGITS])
            .chain_update(&bytes[start + HASH_DIGITS..]);
        if hexadecimal(digest.finalize()) != manifest.hash {
            return Err(BundleError::Damaged);
        }

        let architecture = &manifest.architecture;
        if manifest.vocabulary.genres.first().map(String::as_str) != Some("any") {
            let why = "the genres in its manifest do not begin with any";
            return Err(BundleError::Foreign { why });
        }
        if !(1..=MAX_BARS).contains(&manifest.context.bars) {
            let why = "its context is not 1 to 65,536 bars";
            return Err(BundleError::Foreign { why });
        }
        let encoding = manifest.encoding.build(manifest.vocabulary.genres.len())?;
        if encoding.vocabulary_size() != architecture.vocabulary() {
            let why = "its encoding and its architecture differ in the size of the vocabulary";
            return Err(BundleError::Foreign { why });
        }
        let positions = manifest.context.tokens;
        graph::check(architecture, manifest.precision, positions)?;
        if graph::least_bytes(architecture, manifest.precision, positions) > bytes.len() {
            let why = "it is too small for the architecture that its manifest states";
            return Err(BundleError::Foreign { why });
        }
        if manifest.state != graph::state(architecture) {
            let why = "the state in its manifest is not that of its architecture";
            return Err(BundleError::Foreign { why });
        }
        let skeleton = graph::skeleton(architecture, manifest.precision, positions);
        let mut model = fill(skeleton, file.graph)?;
        model.metadata.push(metadata(text.to_owned()));
        let model = encode(&model);
        if model != bytes {
            return Err(BundleError::Foreign { why: OTHER_GRAPH });
        }
        Ok(Self { manifest, model })
    }

    /// The weights by their names in [`crate::architecture`], row by row; those in 8 bits as the
    /// floats that they stand for.
    pub fn weights(&self) -> Result<HashMap<String, Vec<f32>>, BundleError> {
        self.values(|| 0.0)
    }

    /// The same to go on from: those in 8 bits with noise of one step's width, always the same. Of
    /// integers as they are, what training changes by less than half a step would all be rounded
    /// back to where it began; with the noise it is kept on average (non-subtractive dither:
    /// Lipshitz, Wannamaker and Vanderkooy 1992, section 4).
    pub fn dithered_weights(&self) -> Result<HashMap<String, Vec<f32>>, BundleError> {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        self.values(|| (rng.next_u32() >> 8) as f32 / (1 << 24) as f32 - 0.5)
    }

    /// The weights as the file has them.
    pub(crate) fn stacked(&self) -> Result<Vec<Stacked>, BundleError> {
        let tensors = wire::initializers(wire::outline(&self.model)?.graph);
        let tensors = tensors.collect::<Result<Vec<&[u8]>, _>>()?;
        let Manifest {
            architecture,
            precision,
            context,
            ..
        } = &self.manifest;
        let raw = |i: usize| tensors[i];
        let stacked = graph::stacked(architecture, *precision, context.tokens, raw);
        Ok(stacked)
    }

    /// The weights by name; those in 8 bits as the floats nearest to what they stand for, each moved by
    /// `dither` of a step.
    fn values(
        &self,
        mut dither: impl FnMut() -> f32,
    ) -> Result<HashMap<String, Vec<f32>>, BundleError> {
        let lengths: HashMap<String, usize> = (self.manifest.architecture.weights())
            .into_iter()
            .map(|(name, shape)| (name, shape.iter().product()))
            .collect();
        let mut found = HashMap::new();
        for stacked in self.stacked()? {
            let values = stacked.floats(&mut dither);
            let mut rest = &values[..];
            for name in stacked.names {
                let (own, others) =
                    rest.split_at(lengths.get(&name).copied().unwrap_or(0).min(rest.len()));
                found.insert(name, own.to_vec());
                rest = others;
            }
        }
        Ok(found)
    }
}

/// The only field that every version of the manifest has.
#[derive(serde::Deserialize)]
struct Version {
    version: u32,
}

fn metadata(value: String) -> Metadata {
    Metadata {
        key: MANIFEST_KEY.to_owned(),
        value,
    }
}

fn encode(model: &Model) -> Vec<u8> {
    prost::Message::encode_to_vec(model)
}

fn hexadecimal(digest: impl AsRef<[u8]>) -> String {
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Where `hash` stands in the manifest `text`.
fn hash_range(text: &str, hash: &str) -> Result<std::ops::Range<usize>, BundleError> {
    let mut places = text.match_indices(hash);
    match (hash.len(), places.next(), places.next()) {
        (HASH_DIGITS, Some((start, _)), None) => Ok(start..start + HASH_DIGITS),
        _ => Err(BundleError::Foreign {
            why: "its manifest has no single SHA-256",
        }),
    }
}

/// Gives the weights of `skeleton` the values that stand in the file's `graph` at their places.
fn fill(Skeleton { mut graph, weights }: Skeleton, file: &[u8]) -> Result<Model, BundleError> {
    let mut tensors = wire::initializers(file);
    let mut next = 0;
    for weight in weights {
        let raw = tensors.nth(weight.initializer - next).unwrap_or(Ok(&[]))?;
        next = weight.initializer + 1;
        let tensor = &mut graph.initializers[weight.initializer];
        let floats = tensor.element == Element::F32 as i32;
        let count = tensor.dims.iter().product::<i64>() as usize;
        if raw.len() != count * if floats { 4 } else { 1 } {
            return Err(BundleError::Foreign { why: OTHER_GRAPH });
        }
        let finite = |raw: &[u8]| {
            raw.chunks_exact(4)
                .all(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).is_finite())
        };
        if floats && !finite(raw) {
            return Err(BundleError::Weight {
                name: tensor.name.clone(),
                why: "not finite",
            });
        }
        if !floats && !raw.iter().all(|&b| (-64..=63).contains(&(b as i8))) {
            let why = "outside [-64, 63], where sums would saturate";
            return Err(BundleError::Weight {
                name: tensor.name.clone(),
                why,
            });
        }
        tensor.raw = raw.to_vec();
    }
    Ok(graph::model(graph))
}

/// Why a file is not opened as a bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Not a bundle, or not one that this crate wrote.
    #[error("this is not a bundle of Famam: {why}. Use a file that `famam-trainer export` wrote")]
    Foreign {
        /// What gave it away.
        why: &'static str,
    },
    /// More bytes than a bundle can have.
    #[error("this bundle has {bytes} bytes, more than the 2 GiB that an ONNX file can hold")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The manifest is not the JSON that it should be.
    #[error("this bundle's manifest cannot be read: {0}. Export the model again")]
    Manifest(#[source] serde_json::Error),
    /// A later version of the format.
    #[error(
        "this bundle has format version {version} and this Famam reads up to {VERSION}: update Famam"
    )]
    Newer {
        /// The bundle's version.
        version: u32,
    },
    /// The hash is wrong.
    #[error(
        "this bundle is damaged (its hash does not match its contents): copy or download it again"
    )]
    Damaged,
    /// The encoding's settings make no vocabulary.
    #[error("this bundle's encoding is refused: {0}")]
    Encoding(#[from] SettingsError),
    /// The architecture has no graph.
    #[error("this bundle is refused: {0}")]
    Graph(#[from] GraphError),
    /// A weight is not what the architecture says.
    #[error("this bundle is refused: the values of {name} are {why}")]
    Weight {
        /// The initializer.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
}
