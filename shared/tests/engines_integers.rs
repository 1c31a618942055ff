//! The extremes of 8-bit products: weights of 63 and -64 against activations of 0 and 255 give exact
//! integers on both engines, with VNNI and, emulated, without it (where pairs of products are summed
//! in 16 bits and larger weights would saturate).

mod model;

use famam_shared::engine;
use famam_shared::onnx::{self, Element, Graph, Model, Node, OperatorSet, Shape, Size, ValueInfo};
use model::emulated;
use ort::session::Session;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rten_tensor::prelude::*;

/// Rows, depths and columns: single rows, tails of every kernel, the widths of real models.
const SIZES: [[usize; 3]; 7] = [
    [1, 256, 768],
    [1, 2048, 512],
    [2, 64, 33],
    [5, 100, 48],
    [8, 1024, 256],
    [37, 513, 65],
    [3, 7, 5],
];

#[test]
fn extremes_do_not_saturate() {
    for [rows, depth, columns] in SIZES {
        for pattern in 0..4 {
            let mut rng = ChaCha8Rng::seed_from_u64(pattern);
            let mut coin = move || rng.next_u32() & 1 == 0;
            let x: Vec<u8> = (0..rows * depth)
                .map(|_| {
                    if pattern == 0 || (pattern > 1 && coin()) {
                        255
                    } else {
                        pattern as u8 & 1
                    }
                })
                .collect();
            let w: Vec<i8> = (0..depth * columns)
                .map(|i| {
                    if pattern < 2 && i % columns % 2 == 0 || pattern > 1 && coin() {
                        63
                    } else {
                        -64
                    }
                })
                .collect();
            let exact: Vec<i32> = (0..rows * columns)
                .map(|i| {
                    let (row, column) = (i / columns, i % columns);
                    let product = |k: usize| {
                        (i32::from(x[row * depth + k]) - 128) * i32::from(w[k * columns + column])
                    };
                    (0..depth).map(product).sum()
                })
                .collect();
            let file = product(depth, columns, &w);
            let what = format!("{rows} x {depth} x {columns}, pattern {pattern}");
            assert!(in_rten(&file, rows, depth, &x) == exact, "rten, {what}");
            match engine::find_onnxruntime() {
                Ok(_) => assert!(
                    in_ort(&file, rows, depth, &x) == exact,
                    "ONNX Runtime, {what}"
                ),
                Err(error) => eprintln!("ONNX Runtime's part is skipped: {error}"),
            }
        }
    }
}

#[test]
fn extremes_do_not_saturate_without_vnni() {
    emulated("extremes_do_not_saturate");
}

/// A model of one `MatMulInteger` with the weights `[depth, columns]`.
fn product(depth: usize, columns: usize, weights: &[i8]) -> Vec<u8> {
    let of = |name: &str, element: Element, sizes: &[Option<usize>]| {
        let size = |size: &Option<usize>| Size {
            value: size.map(|v| v as i64),
            name: size.is_none().then(|| "rows".to_owned()),
        };
        let shape = Some(Shape {
            sizes: sizes.iter().map(size).collect(),
        });
        let tensor = Some(onnx::TensorType {
            element: element as i32,
            shape,
        });
        ValueInfo {
            name: name.to_owned(),
            of: Some(onnx::Type { tensor }),
        }
    };
    let tensor = |name: &str, element: Element, dims: Vec<i64>, raw: Vec<u8>| onnx::Tensor {
        dims,
        element: element as i32,
        name: name.to_owned(),
        raw,
    };
    let raw = weights.iter().map(|&w| w as u8).collect();
    let graph = Graph {
        nodes: vec![Node {
            inputs: ["x", "w", "zero"].map(str::to_owned).to_vec(),
            outputs: vec!["y".to_owned()],
            op: "MatMulInteger".to_owned(),
            attributes: Vec::new(),
        }],
        name: "product".to_owned(),
        initializers: vec![
            tensor("w", Element::I8, vec![depth as i64, columns as i64], raw),
            tensor("zero", Element::U8, Vec::new(), vec![128]),
        ],
        inputs: vec![of("x", Element::U8, &[None, Some(depth)])],
        outputs: vec![of("y", Element::I32, &[None, Some(columns)])],
    };
    let model = Model {
        ir_version: onnx::IR_VERSION,
        producer: String::new(),
        graph: Some(graph),
        opsets: vec![OperatorSet {
            domain: String::new(),
            version: onnx::OPSET,
        }],
        metadata: Vec::new(),
    };
    prost::Message::encode_to_vec(&model)
}

fn in_ort(file: &[u8], rows: usize, depth: usize, x: &[u8]) -> Vec<i32> {
    let environment = engine::onnxruntime(None).expect("ONNX Runtime");
    let run = || -> ort::Result<Vec<i32>> {
        let mut session = Session::builder(environment)?
            .with_intra_threads(1)?
            .commit_from_memory(file)?;
        let x = ort::value::Tensor::from_array(([rows, depth], x.to_vec()))?;
        let outputs = session.run(ort::inputs![x])?;
        Ok(outputs[0].try_extract_tensor::<i32>()?.1.to_vec())
    };
    run().expect("sums")
}

fn in_rten(file: &[u8], rows: usize, depth: usize, x: &[u8]) -> Vec<i32> {
    let mut options = rten::ModelOptions::with_all_ops();
    let model = options
        .prepack_weights(true)
        .load(file.to_vec())
        .expect("a model");
    let x = rten_tensor::NdTensorView::from_data([rows, depth], x);
    let y = model.run_one(x.into(), None).expect("sums");
    y.into_tensor::<i32>().expect("integers").to_vec()
}
