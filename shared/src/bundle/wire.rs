//! Finds the parts of an ONNX file without decoding it: a message of millions of empty fields
//! would take a hundred times its size in memory.

use prost::encoding::{WireType, decode_key, decode_varint};

use super::{BundleError, MANIFEST_KEY};

/// Field numbers of `onnx.proto`.
mod tag {
    pub(super) const MODEL_GRAPH: u32 = 7;
    pub(super) const MODEL_METADATA: u32 = 14;
    pub(super) const METADATA_KEY: u32 = 1;
    pub(super) const METADATA_VALUE: u32 = 2;
    pub(super) const GRAPH_INITIALIZER: u32 = 5;
    pub(super) const TENSOR_RAW: u32 = 9;
}

/// The parts of a bundle's file.
pub(super) struct Outline<'a> {
    /// The graph's message.
    pub(super) graph: &'a [u8],
    /// The manifest's JSON.
    pub(super) manifest: &'a str,
    /// Where it starts in the file.
    pub(super) manifest_start: usize,
}

/// The graph and the manifest of `file`.
pub(super) fn outline(file: &[u8]) -> Result<Outline<'_>, BundleError> {
    let foreign = |why| BundleError::Foreign { why };
    let (mut graph, mut manifest) = (None, None);
    for field in Fields(file) {
        match field? {
            (tag::MODEL_GRAPH, bytes) => graph = Some(bytes),
            (tag::MODEL_METADATA, entry)
                if find(entry, tag::METADATA_KEY)? == MANIFEST_KEY.as_bytes() =>
            {
                manifest = Some(find(entry, tag::METADATA_VALUE)?);
            }
            _ => {}
        }
    }
    let manifest = manifest.ok_or(foreign("it has no manifest"))?;
    Ok(Outline {
        graph: graph.ok_or(foreign("it has no graph"))?,
        manifest: str::from_utf8(manifest).map_err(|_| foreign("its manifest is not text"))?,
        manifest_start: manifest.as_ptr() as usize - file.as_ptr() as usize,
    })
}

/// The raw values of the initializers of the message `graph`, in their order.
pub(super) fn initializers(graph: &[u8]) -> impl Iterator<Item = Result<&[u8], BundleError>> {
    Fields(graph).filter_map(|field| match field {
        Ok((tag::GRAPH_INITIALIZER, tensor)) => Some(find(tensor, tag::TENSOR_RAW)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

/// The last field `tag` of `message`; an empty part of it where there is none.
fn find(message: &[u8], tag: u32) -> Result<&[u8], BundleError> {
    let mut found = &message[..0];
    for field in Fields(message) {
        let (number, bytes) = field?;
        if number == tag {
            found = bytes;
        }
    }
    Ok(found)
}

/// The fields of a message: number and contents, which are empty where they are a number.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, &'a [u8]), BundleError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = field(&mut self.0);
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or(BundleError::Foreign {
            why: "it is not an ONNX file, or cut short",
        }))
    }
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<(u32, &'a [u8])> {
    let (number, kind) = decode_key(rest).ok()?;
    let length = match kind {
        WireType::Varint => {
            decode_varint(rest).ok()?;
            0
        }
        WireType::SixtyFourBit => 8,
        WireType::ThirtyTwoBit => 4,
        WireType::LengthDelimited => usize::try_from(decode_varint(rest).ok()?).ok()?,
        WireType::StartGroup | WireType::EndGroup => return None,
    };
    let (contents, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some((number, contents))
}
