//! Files that attack a reader of bundles.

use famam_shared::manifest::Precision;
use famam_shared::onnx::{self, Node};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::{mend, tiny, weights};

/// A small bundle.
pub fn file() -> Vec<u8> {
    let t = tiny();
    super::file(&t, &weights(&t, 1), Precision::Int8, 64)
}

/// A small bundle of an LSTM.
pub fn lstm() -> Vec<u8> {
    let lstm = super::lstm::tiny();
    super::file(&lstm, &weights(&lstm, 1), Precision::Fp32, 64)
}

/// A small bundle of RWKV, which has a graph inside its graph.
pub fn rwkv() -> Vec<u8> {
    let rwkv = super::rwkv::tiny();
    super::file(&rwkv, &weights(&rwkv, 1), Precision::Int8, 64)
}

/// Bundles whose graph does or is what ours never does or is, each with its hash mended.
pub fn graphs() -> Vec<(&'static str, Vec<u8>)> {
    let model = onnx::Model::decode(&*file()).expect("an ONNX model");
    let graph = model.graph.clone().expect("a graph");
    let around = |graph: Vec<u8>| {
        let mut file = onnx::Model {
            graph: None,
            metadata: Vec::new(),
            ..model.clone()
        }
        .encode_to_vec();
        file.extend(field(7, &graph));
        file.extend(
            onnx::Model {
                metadata: model.metadata.clone(),
                ..Default::default()
            }
            .encode_to_vec(),
        );
        file
    };
    let changed = |change: &dyn Fn(&mut onnx::Graph)| {
        let mut graph = graph.clone();
        change(&mut graph);
        onnx::Model {
            graph: Some(graph),
            ..model.clone()
        }
        .encode_to_vec()
    };
    let with_tensor = |extra: Vec<u8>| {
        let mut graph = graph.clone();
        let mut tensor = graph.initializers.remove(0);
        tensor.raw.clear();
        let tensor = [tensor.encode_to_vec(), extra].concat();
        around([graph.encode_to_vec(), field(5, &tensor)].concat())
    };
    let external = |path: &str| {
        let entry = |key: &str, value: &str| {
            field(
                13,
                &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat(),
            )
        };
        let location = [vec![0x70, 1], entry("location", path)].concat();
        with_tensor([location, entry("offset", "0"), entry("length", "1000000")].concat())
    };
    let with_node = |extra: Vec<u8>| {
        let node = graph.nodes[0].encode_to_vec();
        around([graph.encode_to_vec(), field(1, &[node, extra].concat())].concat())
    };
    let subgraph = field(
        5,
        &[
            field(1, b"body"),
            field(6, &graph.encode_to_vec()),
            vec![0xa0, 1, 5],
        ]
        .concat(),
    );
    let opset = |domain: &str, version| {
        let mut model = model.clone();
        model.opsets.push(onnx::OperatorSet {
            domain: domain.to_owned(),
            version,
        });
        model.encode_to_vec()
    };
    let files = vec![
        ("external data", external("/etc/passwd")),
        (
            "external data above the folder",
            external("../../../../etc/passwd"),
        ),
        ("external data of a device", external("/dev/zero")),
        (
            "a function",
            [
                file(),
                field(25, &[field(1, b"f"), field(10, b"evil")].concat()),
            ]
            .concat(),
        ),
        (
            "training information",
            [file(), field(20, &field(1, &graph.encode_to_vec()))].concat(),
        ),
        ("a foreign domain", opset("com.evil", 1)),
        ("Microsoft's domain", opset("com.microsoft", 1)),
        ("another version", opset("", 99)),
        (
            "a node of a foreign domain",
            with_node(field(7, b"com.evil")),
        ),
        ("a subgraph", with_node(subgraph)),
        (
            "a loop",
            changed(&|graph| graph.nodes[0].op = "Loop".to_owned()),
        ),
        (
            "another operator",
            changed(&|graph| graph.nodes[5].op = "Gemm".to_owned()),
        ),
        (
            "a node more",
            changed(&|graph| graph.nodes.push(graph.nodes[0].clone())),
        ),
        ("a node less", changed(&|graph| drop(graph.nodes.pop()))),
        (
            "nodes in another order",
            changed(&|graph| graph.nodes.swap(0, 1)),
        ),
        (
            "a cycle",
            changed(&|graph| graph.nodes[0].inputs[0] = graph.nodes[1].outputs[0].clone()),
        ),
        (
            "a million nodes",
            changed(&|graph| graph.nodes.resize(1 << 20, Node::default())),
        ),
        ("no nodes", changed(&|graph| graph.nodes.clear())),
        (
            "a value of no node",
            changed(&|graph| graph.nodes[3].inputs[0] = "nothing".to_owned()),
        ),
        (
            "an attribute's value",
            changed(&|graph| {
                graph
                    .nodes
                    .iter_mut()
                    .flat_map(|node| &mut node.attributes)
                    .for_each(|a| a.i = Some(i64::MIN));
            }),
        ),
        (
            "an absurd shape",
            changed(&|graph| graph.initializers[0].dims = vec![i64::MAX, i64::MAX]),
        ),
        (
            "a negative shape",
            changed(&|graph| graph.initializers[0].dims[0] = -1),
        ),
        (
            "a wrong shape",
            changed(&|graph| graph.initializers[0].dims.reverse()),
        ),
        (
            "a wrong type",
            changed(&|graph| graph.initializers[0].element = 7),
        ),
        (
            "no values",
            changed(&|graph| graph.initializers[0].raw.clear()),
        ),
        (
            "one byte",
            changed(&|graph| graph.initializers[0].raw.truncate(1)),
        ),
        (
            "a byte long",
            changed(&|graph| graph.initializers[0].raw.push(0)),
        ),
        (
            "values for a constant's shape",
            changed(&|graph| {
                let constant = graph
                    .initializers
                    .iter_mut()
                    .find(|t| t.element == 7)
                    .expect("a shape");
                constant.raw.fill(0x7f);
            }),
        ),
        (
            "fewer initializers",
            changed(&|graph| drop(graph.initializers.pop())),
        ),
        (
            "no initializers",
            changed(&|graph| graph.initializers.clear()),
        ),
        (
            "an input more",
            changed(&|graph| graph.inputs.push(graph.inputs[0].clone())),
        ),
        (
            "an output less",
            changed(&|graph| drop(graph.outputs.pop())),
        ),
        (
            "another IR version",
            onnx::Model {
                ir_version: i64::MAX,
                ..model.clone()
            }
            .encode_to_vec(),
        ),
        (
            "a second graph",
            [file(), field(7, &graph.encode_to_vec())].concat(),
        ),
        (
            "a second manifest",
            [
                file(),
                onnx::Model {
                    metadata: model.metadata.clone(),
                    ..Default::default()
                }
                .encode_to_vec(),
            ]
            .concat(),
        ),
        (
            "more metadata",
            [
                file(),
                field(14, &[field(1, b"k"), field(2, b"v")].concat()),
            ]
            .concat(),
        ),
        (
            "a field that nobody knows",
            [file(), field(99, b"?")].concat(),
        ),
        (
            "no graph",
            onnx::Model {
                graph: None,
                ..model.clone()
            }
            .encode_to_vec(),
        ),
    ];
    files
        .into_iter()
        .map(|(what, file)| (what, mend(file)))
        .collect()
}

fn field(number: u32, contents: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut bytes);
    encode_varint(contents.len() as u64, &mut bytes);
    bytes.extend(contents);
    bytes
}
