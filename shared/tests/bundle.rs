//! Bundles come back as they were written, and nothing else is opened.

mod model;

use std::collections::HashMap;

use famam_shared::architecture::Transformer;
use famam_shared::bundle::{self, Bundle, BundleError, MANIFEST_KEY};
use famam_shared::engine::{self, Choice};
use famam_shared::graph::GraphError;
use famam_shared::manifest::{Manifest, Precision, VERSION};
use famam_shared::onnx;
use model::{hostile, manifest, mend, rotary, small, tiny, weights};
use prost::Message;

/// The file of [`tiny`].
fn file() -> Vec<u8> {
    hostile::file()
}

fn refused(file: &[u8]) -> BundleError {
    Bundle::read(file)
        .map(|_| ())
        .expect_err("a bundle that must be refused")
}

#[test]
fn a_bundle_comes_back() {
    for precision in [Precision::Fp32, Precision::Int8] {
        let t = small(rotary());
        let weights = weights(&t, 1);
        let file = model::file(&t, &weights, precision, 128);
        assert_eq!(
            file,
            model::file(&t, &weights, precision, 128),
            "the same bytes each time"
        );
        let bundle = Bundle::read(&file).expect("what was written");
        assert_eq!(bundle.model, file);
        let written = Manifest {
            version: VERSION,
            hash: bundle.manifest.hash.clone(),
            state: famam_shared::graph::state(&t.clone().into()),
            ..manifest(&t, precision, 128)
        };
        assert_eq!(bundle.manifest, written);
        assert_eq!(written.state.len(), 2 * t.layers);
    }
}

#[test]
fn weights_come_back_exactly_and_in_8_bits_to_half_a_step() {
    for t in [
        small(rotary()),
        model::medium(rotary()),
        model::medium(model::relative()),
    ] {
        let weights = weights(&t, 1);
        for precision in [Precision::Fp32, Precision::Int8] {
            let file = model::file(&t, &weights, precision, 128);
            let read = Bundle::read(&file).unwrap().weights().unwrap();
            assert_eq!(read.len(), weights.len());
            let mut rounded = 0;
            for (name, shape) in t.weights() {
                let (wrote, read) = (&weights[&name], &read[&name]);
                assert_eq!(wrote.len(), read.len(), "{name}");
                let width = *shape.last().unwrap();
                for (wrote, read) in std::iter::zip(wrote.chunks(width), read.chunks(width)) {
                    let reach = wrote.iter().fold(0f32, |a, w| a.max(w.abs()));
                    for (a, b) in std::iter::zip(wrote, read) {
                        rounded += usize::from(a != b);
                        assert!(
                            (a - b).abs() <= reach / 63.0 * 0.5001,
                            "{name}: {a} and {b}"
                        );
                    }
                }
            }
            assert_eq!(rounded > 0, precision == Precision::Int8);
        }
    }
}

/// A third of a step is lost where the integers are as they were, and kept on average where they
/// are dithered.
#[test]
fn what_training_changes_by_less_than_a_step_is_kept() {
    let t = model::medium(rotary());
    let file = model::file(&t, &weights(&t, 1), Precision::Int8, 128);
    let bundle = Bundle::read(&file).unwrap();
    let plain = bundle.weights().unwrap();
    let dithered = bundle.dithered_weights().unwrap();
    assert_eq!(dithered, bundle.dithered_weights().unwrap());
    let matrices = t
        .weights()
        .into_iter()
        .filter(|(_, shape)| shape.len() == 2);
    let matrices: Vec<(String, usize)> = matrices.map(|(name, shape)| (name, shape[1])).collect();
    // How far the mean weight moves, in steps of its row.
    let moved = |begun: &HashMap<String, Vec<f32>>| {
        let mut changed = begun.clone();
        let steps = |row: &[f32]| row.iter().fold(0f32, |a, w| a.max(w.abs())) / 64.0;
        for (name, width) in &matrices {
            let rows = changed.get_mut(name).unwrap().chunks_mut(*width);
            for (row, of) in std::iter::zip(rows, plain[name].chunks(*width)) {
                // The extremes, which make the scale, stay.
                let extreme = steps(of) * 62.0;
                let inside = row.iter_mut().filter(|w| w.abs() < extreme);
                inside.for_each(|w| *w += steps(of) / 3.0);
            }
        }
        let file = model::file(&t, &changed, Precision::Int8, 128);
        let after = Bundle::read(&file).unwrap().weights().unwrap();
        let (mut sum, mut count) = (0.0, 0.0);
        for (name, width) in &matrices {
            let rows = std::iter::zip(plain[name].chunks(*width), after[name].chunks(*width));
            for (before, after) in rows {
                let change = std::iter::zip(before, after).map(|(a, b)| f64::from(b - a));
                sum += change.sum::<f64>() / f64::from(steps(before));
                count += *width as f64;
            }
        }
        sum / count
    };
    let (lost, kept) = (moved(&plain), moved(&dithered));
    assert!(lost.abs() < 0.05, "{lost}");
    assert!((kept - 1.0 / 3.0).abs() < 0.05, "{kept}");
}

/// A bundle that this version wrote is taken as it is.
#[test]
fn the_default_model_opens_unchanged() {
    let file = include_bytes!("../../models/famam.onnx");
    let bundle = Bundle::read(file).expect("the default model");
    assert!(bundle.model == file, "not the same bytes");
}

/// Any ONNX tool finds the manifest.
#[test]
fn the_manifest_is_in_the_metadata() {
    let model = rten::Model::load(file()).expect("an ONNX model");
    let text = model
        .metadata()
        .get(MANIFEST_KEY)
        .expect("the manifest")
        .to_owned();
    let manifest: Manifest = serde_json::from_str(&text).expect("a manifest");
    assert_eq!(manifest.name, "random");
}

#[test]
fn every_damaged_byte_is_noticed() {
    let file = file();
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 1 << (at % 8);
        refused(&damaged);
    }
    let mut damaged = file.clone();
    let weight = file.len() / 2;
    damaged[weight] ^= 1;
    assert!(matches!(refused(&damaged), BundleError::Damaged));
}

/// Changes the manifest's JSON in the file and mends the hash.
fn with_manifest(change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let mut model = onnx::Model::decode(&*file()).expect("an ONNX model");
    let mut manifest = serde_json::from_str(&model.metadata[0].value).expect("a manifest");
    change(&mut manifest);
    model.metadata[0].value = manifest.to_string();
    mend(model.encode_to_vec())
}

#[test]
fn a_newer_version_is_refused_with_a_sentence() {
    let newer = with_manifest(|manifest| {
        *manifest = serde_json::json!({ "version": 2, "hash": "0".repeat(64), "unheard": "of" });
    });
    let error = refused(&newer);
    assert!(matches!(error, BundleError::Newer { version: 2 }));
    assert_eq!(
        error.to_string(),
        "this bundle has format version 2 and this Famam reads up to 1: update Famam"
    );
}

#[test]
fn unknown_keys_of_the_manifest_are_ignored() {
    let file = with_manifest(|manifest| manifest["comment"] = "made by hand".into());
    Bundle::read(&file).expect("a bundle with a comment");
}

#[test]
fn a_vocabulary_without_any_and_a_context_without_bars_are_refused() {
    for genres in [
        &[][..],
        &["rock"],
        &["rock", "any", "jazz", "pop"],
        &["Any", "a", "b", "c"],
    ] {
        let file = with_manifest(|manifest| manifest["vocabulary"]["genres"] = genres.into());
        let error = refused(&file).to_string();
        assert!(error.contains("do not begin with any"), "{error}");
    }
    for bars in [0, 65_537, u64::MAX] {
        let file = with_manifest(|manifest| manifest["context"]["bars"] = bars.into());
        let error = refused(&file).to_string();
        assert!(error.contains("1 to 65,536 bars"), "{error}");
    }
    Bundle::read(&with_manifest(|manifest| {
        manifest["context"]["bars"] = 65_536.into()
    }))
    .expect("many bars");
}

#[test]
fn absurd_sizes_are_refused() {
    let sizes: [u64; 7] = [0, 1, 3, 255, 1 << 16, 1 << 40, u64::MAX];
    for field in [
        "vocabulary",
        "layers",
        "d_model",
        "heads",
        "kv_heads",
        "d_ff",
    ] {
        for size in sizes {
            let file = with_manifest(|manifest| manifest["architecture"][field] = size.into());
            let same = tiny().layers as u64 == size && field == "layers";
            assert!(same || Bundle::read(&file).is_err(), "{field} {size}");
        }
    }
    for size in sizes {
        refused(&with_manifest(|manifest| {
            manifest["context"]["tokens"] = size.into()
        }));
        refused(&with_manifest(|manifest| {
            manifest["architecture"]["positions"] =
                serde_json::json!({ "kind": "relative", "max_distance": size });
        }));
        refused(&with_manifest(|manifest| {
            manifest["architecture"]["positions"] =
                serde_json::json!({ "kind": "learned", "length": size });
        }));
        refused(&with_manifest(|manifest| {
            manifest["encoding"]["velocity_bins"] = size.into();
        }));
    }
    for theta in [-1.0, 0.0, 1e300] {
        refused(&with_manifest(|manifest| {
            manifest["architecture"]["positions"]["theta"] = theta.into();
        }));
    }
    for field in ["embedding_scale", "logit_scale"] {
        let scale = with_manifest(|manifest| manifest["architecture"][field] = 1e300.into());
        assert!(matches!(
            refused(&scale),
            BundleError::Graph(GraphError::Architecture { .. })
        ));
    }
}

#[test]
fn a_state_of_another_architecture_is_refused() {
    refused(&with_manifest(|manifest| {
        manifest["state"][0]["input"] = "elsewhere".into()
    }));
    refused(&with_manifest(|manifest| {
        manifest["state"] = serde_json::json!([])
    }));
}

#[test]
fn graphs_that_are_not_ours_are_refused() {
    for (what, file) in hostile::graphs() {
        let error = refused(&file);
        assert!(
            matches!(
                error,
                BundleError::Foreign { .. } | BundleError::Weight { .. }
            ),
            "{what}: {error}"
        );
    }
}

/// Millions of empty messages in a small file.
#[test]
fn a_file_is_not_unpacked_before_it_is_checked() {
    for tag in [0x0a, 0x2a, 0x3a, 0x42, 0x72] {
        let empty = [tag, 0].repeat(4 << 20);
        refused(&empty);
        let file = [file(), empty].concat();
        refused(&mend(file));
    }
}

#[test]
fn values_that_do_not_compute_are_refused() {
    let t = tiny();
    for bad in [f32::NAN, f32::INFINITY] {
        let mut weights = weights(&t, 1);
        weights.get_mut("final_norm.bias").expect("a weight")[3] = bad;
        let values = |name: &str| weights.get(name).map(Vec::as_slice);
        let error = bundle::write(&manifest(&t, Precision::Int8, 64), &values);
        assert!(matches!(
            error,
            Err(BundleError::Graph(GraphError::NotFinite { .. }))
        ));
    }
    let tamper = |form: i32, bytes: &[u8]| {
        let mut model = onnx::Model::decode(&*file()).expect("an ONNX model");
        let graph = model.graph.as_mut().expect("a graph");
        let weight = graph
            .initializers
            .iter_mut()
            .find(|t| t.element == form && t.dims.len() == 2);
        weight.expect("a weight").raw[..bytes.len()].copy_from_slice(bytes);
        mend(model.encode_to_vec())
    };
    let saturates = refused(&tamper(onnx::Element::I8 as i32, &[64]));
    assert!(
        matches!(saturates, BundleError::Weight { .. }),
        "{saturates}"
    );
}

#[test]
fn int8_wants_heads_that_sum_alike() {
    for (heads, kv_heads) in [(4, 1), (2, 2), (4, 4)] {
        let t = Transformer {
            heads,
            kv_heads,
            ..tiny()
        };
        let weights = weights(&t, 1);
        let values = |name: &str| weights.get(name).map(Vec::as_slice);
        bundle::write(&manifest(&t, Precision::Fp32, 64), &values).expect("fp32 has no such need");
        let error = bundle::write(&manifest(&t, Precision::Int8, 64), &values);
        assert!(matches!(
            error,
            Err(BundleError::Graph(GraphError::Architecture { .. }))
        ));
    }
}

#[test]
fn missing_and_misshapen_weights_are_named() {
    let t = tiny();
    let all = weights(&t, 1);
    let without = |name: &str| (name != "layers.0.up.weight").then(|| &*all[name]);
    let error = bundle::write(&manifest(&t, Precision::Fp32, 64), &without);
    assert!(error.is_err_and(|e| e.to_string().contains("layers.0.up.weight is missing")));
    let short = |name: &str| Some(&all[name][1..]);
    let error = bundle::write(&manifest(&t, Precision::Fp32, 64), &short);
    assert!(matches!(
        error,
        Err(BundleError::Graph(GraphError::Length { .. }))
    ));
}

/// Streams refuse what would make an engine fail.
#[test]
fn streams_refuse_what_is_not_theirs() {
    let bundle = Bundle::read(&file()).expect("a bundle");
    let vocabulary = bundle.manifest.architecture.vocabulary();
    for choice in model::choices_of(&bundle.manifest.architecture) {
        let engine = engine::load(&bundle, 1, choice).expect("an engine");
        assert!(engine.open(0, 10).is_err() && engine.open(1, 0).is_err());
        assert!(
            engine.open(1, 65).is_err(),
            "more positions than the table has"
        );
        let mut stream = engine.open(2, 10).expect("a stream");
        assert!(stream.run(&[&[1]]).is_err(), "a row is missing");
        assert!(stream.run(&[&[], &[]]).is_err(), "nothing to run");
        assert!(
            stream.run(&[&[vocabulary as u16], &[1]]).is_err(),
            "no such token"
        );
        assert!(stream.run(&[&[1; 11], &[]]).is_err(), "too many");
        stream.run(&[&[1; 10], &[]]).expect("a full row");
        assert!(stream.run(&[&[1], &[1]]).is_err(), "full");
        stream.run(&[&[], &[1; 3]]).expect("the other row");
        assert_eq!([stream.len(0), stream.len(1)], [10, 3]);
        stream.clear();
        assert!(stream.is_empty());
        stream.run(&[&[1], &[1; 10]]).expect("after clearing");
    }
    let fallback = engine::load(&bundle, 1, Choice::Auto)
        .expect("an engine")
        .fallback()
        .is_some();
    let native = model::choices_of(&bundle.manifest.architecture).contains(&Choice::Native);
    assert_eq!(fallback, !native && engine::find_onnxruntime().is_err());
}
