//! Every config that is shipped can be used: read and checked as the commands do, and every one of a data set
//! builds one from music that the test writes.

mod tunes;

use std::fs;
use std::path::{Path, PathBuf};

use famam_trainer::config::{dataset, training};
use tunes::{built, put, tune};

fn configs(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../configs")
        .join(kind);
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    paths.sort();
    paths
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

#[test]
fn every_data_set_config_builds() {
    let folder = tempfile::tempdir().unwrap();
    let midi = folder.path().join("midi");
    // Longer than half a minute, with 80 notes a track.
    for i in 0..10 {
        put(&midi, &format!("Band/Song {i}.mid"), &tune(i, 20));
    }
    let genres: String = (0..10).map(|i| format!("Band/Song {i}\tRock\n")).collect();
    fs::write(midi.join("genre.tsv"), genres).unwrap();
    let mut encodings = std::collections::BTreeSet::new();
    for path in configs("music_dataset") {
        let name = stem(&path);
        let shipped = dataset::Config::read(&path).unwrap();
        let config = dataset::Config {
            input_dirs: vec![midi.display().to_string()],
            output_path: folder
                .path()
                .join(format!("{name}.h5"))
                .display()
                .to_string(),
            genre_tsv_path: None,
            verbose: false,
            ..shipped.clone()
        };
        let (summary, data_set) = built(&config);
        assert_eq!(summary.used, 10, "{name}: {summary}");
        assert!(!data_set.is_empty(), "{name}");
        assert!(
            shipped.without_effect(shipped.max_seq_length).is_empty() || name.contains("rock"),
            "{name}"
        );
        encodings.insert(json(&config.encoder_type));
    }
    // Each encoding that there is has one.
    for encoding in ["multitrack", "remi", "event"] {
        assert!(encodings.contains(&format!("\"{encoding}\"")), "{encoding}");
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

#[test]
fn every_training_config_is_one() {
    let mut backbones = std::collections::BTreeMap::<String, Vec<usize>>::new();
    for path in configs("model_training") {
        let name = stem(&path);
        let config = training::Config::load(&path).unwrap();
        assert!(
            config.warnings().is_empty(),
            "{name}: {:?}",
            config.warnings()
        );
        let weights = config.architecture(500).parameters();
        if let Some((backbone, "small" | "large")) = name.rsplit_once('_') {
            assert_eq!(config.model_name, name);
            backbones
                .entry(backbone.to_owned())
                .or_default()
                .push(weights);
        }
    }
    for (backbone, weights) in backbones {
        // By name: large comes first.
        assert!(
            weights.len() == 2 && weights[0] > weights[1],
            "{backbone}: {weights:?}"
        );
    }
}

/// The values of Famam's own `transformer_large` and `transformer_small`.
#[test]
fn famams_transformers_are_under_their_names() {
    for (name, layers, d_model, heads, d_ff, length, batch, distance, warmup) in [
        ("transformer_large", 12, 768, 12, 3072, 2048, 4, 512, 4000),
        ("transformer_small", 4, 256, 4, 1024, 512, 16, 256, 2000),
    ] {
        let path = configs("model_training")
            .into_iter()
            .find(|path| stem(path) == name);
        let config = training::Config::load(&path.unwrap()).unwrap();
        let expected = training::Config {
            model_name: name.to_owned(),
            num_layers: layers,
            d_model,
            num_heads: heads,
            d_ff,
            max_seq_length: length,
            batch_size: batch,
            max_relative_position: distance,
            warmup_steps: warmup,
            // All else is Famam's default.
            ..training::Config::default()
        };
        assert_eq!(config, expected);
    }
}
