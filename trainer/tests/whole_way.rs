//! The whole way by the commands that people type: MIDI files that the tests write, a data set, a
//! model, bundles that play, and figures.

mod music;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use famam_shared::bundle::Bundle;
use famam_shared::encoding::Conditioning;
use famam_shared::engine::{self, Choice, EngineError};
use famam_shared::generation::{Generator, Request};
use famam_shared::manifest::Precision;
use famam_shared::midi;
use famam_shared::score::{Metre, Tempo};
use famam_trainer::checkpoint::{self, BEST, LAST};
use famam_trainer::config::training::{Config, Lora, ModelType};
use famam_trainer::dataset::Dataset;
use music::{song, tiny};
use serde_json::{Value, json};

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_famam-trainer"));
    command
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

/// What a command says, which must succeed.
fn run(folder: &Path, arguments: &[&str]) -> String {
    let output = command(folder, arguments).output().unwrap();
    let said = said(&output);
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

fn write(path: PathBuf, config: &Value) {
    std::fs::write(path, config.to_string()).unwrap();
}

/// A folder with 24 songs of two genres, `build.json`, and the data set `set.h5` built from them.
fn built() -> tempfile::TempDir {
    built_in("multitrack", true)
}

/// The same in another encoding, with velocities or without.
fn built_in(encoder_type: &str, encode_velocity: bool) -> tempfile::TempDir {
    built_by(json!({ "encoder_type": encoder_type, "encode_velocity": encode_velocity }))
}

/// The same with these fields of `build.json`.
fn built_by(fields: Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for genre in ["rock", "waltz"] {
        std::fs::create_dir_all(at("midi").join(genre)).unwrap();
    }
    for i in 0..24 {
        let name = format!("midi/{}/{i}.mid", ["rock", "waltz"][i % 2]);
        midi::write_file(at(&name), &song(i as u64, 8, 12)).unwrap();
    }
    let mut config = json!({
        "name": "whole way", "input_dirs": ["midi"], "output_path": "set.h5", "segment_bars": 4,
        "window_bars": 2,
        "genre_from": "folder", "validation_fraction": 0.2, "test_fraction": 0.2,
    });
    for (field, value) in fields.as_object().into_iter().flatten() {
        config[field] = value.clone();
    }
    write(at("build.json"), &config);
    let said = run(folder.path(), &["build", "build.json"]);
    assert!(said.contains("24 found, 24 used"), "{said}");
    folder
}

/// `built`, and the folder `run` of a model that learned from it.
fn trained(config: &Config) -> tempfile::TempDir {
    trained_on(built(), config)
}

fn trained_on(folder: tempfile::TempDir, config: &Config) -> tempfile::TempDir {
    write(folder.path().join("train.json"), &json!(config));
    let arguments = [
        "train",
        "train.json",
        "--dataset",
        "set.h5",
        "--output",
        "run",
    ];
    let said = run(folder.path(), &arguments);
    assert!(said.contains("done; export run/best"), "{said}");
    folder
}

fn export(folder: &Path, arguments: &[&str]) -> Output {
    let all = [&["export", "run"], arguments].concat();
    command(folder, &all).output().unwrap()
}

/// Exports the run in 32 and in 8 bits; `check` sees each file's name and the bundle.
fn exported(folder: &Path, check: impl Fn(&str, &Bundle)) {
    for (file, int8) in [("fp32.onnx", None), ("int8.onnx", Some("--int8"))] {
        let arguments: Vec<&str> = ["-o", file].into_iter().chain(int8).collect();
        let output = export(folder, &arguments);
        assert!(output.status.success(), "{}", said(&output));
        let bytes = std::fs::read(folder.join(file)).unwrap();
        check(file, &Bundle::read(&bytes).unwrap());
    }
}

/// Panics where the checkpoint and its bundle in 32 bits do not need the same bits a note.
fn same_bits(folder: &Path, encoding: &str, music: &[&str]) {
    let (checkpoint, _) = bits(folder, "run/best.safetensors", music);
    let (bundle, _) = bits(folder, "fp32.onnx", music);
    println!("{encoding}, {music:?}: {checkpoint:?} and {bundle:?} bits a note");
    for (a, b) in std::iter::zip(checkpoint, bundle) {
        assert!((a - b).abs() < 1e-4 * a, "{a} and {b} bits a note");
    }
}

/// Four bars from every engine that is here.
fn play(bundle: &Bundle) {
    for choice in [Choice::Ort, Choice::Rten] {
        let engine = match engine::load(bundle, 1, choice) {
            Err(error @ EngineError::Missing { .. }) => {
                println!("skipped: {error}");
                continue;
            }
            engine => engine.unwrap(),
        };
        let request = Request {
            conditioning: Conditioning {
                genre: bundle.manifest.vocabulary.genre("waltz").unwrap(),
                instruments: None,
                ..Conditioning::default()
            },
            bars: 4,
            metre: Metre::COMMON,
            micros_per_quarter: Tempo::DEFAULT_MICROS,
            seed: 1,
            sampling: bundle.manifest.sampling,
            max_tokens: None,
        };
        let cancel = Arc::new(AtomicBool::new(false));
        let mut generator = Generator::new(&*engine, request, cancel).unwrap();
        let bars: Vec<_> = generator.by_ref().collect::<Result<_, _>>().unwrap();
        assert_eq!(bars.len(), 4, "{}", engine.name());
        let notes: usize = bars.iter().map(|bar| bar.notes.len()).sum();
        assert!(notes > 0, "{}", engine.name());
        assert_eq!(generator.score(&bars).note_count(), notes);
    }
}

/// Bits a note, free and conditioned, and what ran the model.
fn bits(folder: &Path, model: &str, music: &[&str]) -> ([f64; 2], String) {
    let arguments = [&["evaluate", model, "--json", "figures.json"], music].concat();
    run(folder, &arguments);
    let figures = std::fs::read(folder.join("figures.json")).unwrap();
    let figures: Value = serde_json::from_slice(&figures).unwrap();
    let of = |way: &str| figures[way]["bits_a_note"].as_f64().unwrap();
    (
        [of("free"), of("conditioned")],
        figures["engine"].to_string(),
    )
}

#[test]
fn midi_files_become_a_model_that_plays() {
    let folder = trained(&tiny());
    let folder = folder.path();
    for (file, precision, int8) in [
        ("fp32.onnx", Precision::Fp32, None),
        ("int8.onnx", Precision::Int8, Some("--int8")),
    ] {
        let arguments: Vec<&str> = ["-o", file].into_iter().chain(int8).collect();
        let output = export(folder, &arguments);
        assert!(output.status.success(), "{}", said(&output));
        // Both were compared with libtorch, as a prompt and step by step.
        assert!(
            said(&output).matches("differ from libtorch's by").count() >= 2,
            "{}",
            said(&output)
        );
        let bundle = Bundle::read(&std::fs::read(folder.join(file)).unwrap()).unwrap();
        assert_eq!(bundle.manifest.precision, precision);
        assert_eq!(
            bundle.manifest.vocabulary.genres,
            ["any", "rock", "waltz"].map(str::to_owned)
        );
        play(&bundle);
    }
    for (file, lines) in [
        (
            "set.h5",
            &[
                "a data set",
                "whole way",
                "songs       14 train, 5 validation, 5 test",
                "rock 12, waltz 12",
            ][..],
        ),
        (
            "run",
            &["a checkpoint", "1 layers, d = 32", "40 steps", "set.h5"],
        ),
        (
            "int8.onnx",
            &["a bundle", "8-bit integers", "any, rock, waltz", "40 steps"],
        ),
    ] {
        let said = run(folder, &["info", file]);
        for line in lines {
            assert!(said.contains(line), "{file}: {line} is not in {said}");
        }
    }
    for music in [&["--dataset", "set.h5"][..], &["midi"]] {
        let (checkpoint, engine) = bits(folder, "run/best.safetensors", music);
        assert!(engine.contains("libtorch"), "{engine}");
        for (file, share) in [("fp32.onnx", 1e-4), ("int8.onnx", 0.02)] {
            let (bundle, engine) = bits(folder, file, music);
            println!("{music:?}: {checkpoint:?} libtorch, {bundle:?} {file} on {engine}");
            for (a, b) in std::iter::zip(checkpoint, bundle) {
                assert!((a - b).abs() < share * a, "{a} and {b} bits a note");
            }
        }
    }
}

#[test]
fn other_encodings_go_the_same_way() {
    for (encoding, velocities, words) in [
        ("remi", false, "no velocities"),
        ("event", true, "32 "),
        ("mmm", true, "windows of 2 bars"),
        ("grid", true, "coarse durations"),
    ] {
        let folder = trained_on(built_in(encoding, velocities), &tiny());
        let folder = folder.path();
        exported(folder, |_, bundle| play(bundle));
        for file in ["set.h5", "run", "fp32.onnx"] {
            let said = run(folder, &["info", file]);
            let line = format!("{encoding}: ");
            assert!(
                said.contains(&line) && said.contains(words),
                "{file}: {said}"
            );
        }
        for music in [&["--dataset", "set.h5"][..], &["midi"]] {
            same_bits(folder, encoding, music);
        }
    }
}

/// Byte pairs are learned, trained on, exported and played, and a model goes on with a data set that
/// merges others, or none.
#[test]
fn merged_byte_pairs_go_the_same_way() {
    let config = Config {
        dropout_rate: 0.0,
        ..tiny()
    };
    for encoding in ["event"] {
        let fields =
            json!({ "encoder_type": encoding, "enable_transposition": true, "merges": 200 });
        let folder = trained_on(built_by(fields), &config);
        let folder = folder.path();
        exported(folder, |_, bundle| {
            assert!(bundle.manifest.encoding.merges().len() >= 200);
            play(bundle);
        });
        for file in ["set.h5", "run", "fp32.onnx"] {
            let said = run(folder, &["info", file]);
            assert!(said.contains(" byte pairs merged"), "{file}: {said}");
        }
        let said = run(folder, &["info", "set.h5"]);
        assert!(said.contains("\nmerged "), "{said}");
        for music in [&["--dataset", "set.h5"][..], &["midi"]] {
            same_bits(folder, encoding, music);
            let figures = std::fs::read_to_string(folder.join("figures.json")).unwrap();
            let figures: Value = serde_json::from_str(&figures).unwrap();
            assert!(figures["free"]["kinds"]["merged"]["tokens"].as_u64() > Some(0));
        }

        // On a data set with a new genre, which merges others or nothing: by the model's merges.
        for i in 0..12 {
            let genre = folder.join("more").join(["polka", "waltz"][i % 2]);
            std::fs::create_dir_all(&genre).unwrap();
            midi::write_file(genre.join(format!("{i}.mid")), &song(100 + i as u64, 8, 12)).unwrap();
        }
        let build = std::fs::read_to_string(folder.join("build.json")).unwrap();
        let mut build: Value = serde_json::from_str(&build).unwrap();
        build["input_dirs"] = json!(["more"]);
        let tune = Config {
            steps: Some(8),
            ..config.clone()
        };
        write(folder.join("tune.json"), &json!(tune));
        let merges = |run: &str| {
            let stored = checkpoint::read(&folder.join(run).join(LAST)).unwrap();
            stored.state.encoding.merges().to_vec()
        };
        for (other, set) in [(0, "none.h5"), (50, "others.h5")] {
            build["merges"] = json!(other);
            build["output_path"] = json!(set);
            write(folder.join("more.json"), &build);
            run(folder, &["build", "more.json"]);
            let output = format!("on-{other}");
            let arguments = [
                "train",
                "tune.json",
                "--dataset",
                set,
                "--from",
                "int8.onnx",
                "--output",
                &output,
            ];
            let said = run(folder, &arguments);
            assert!(
                said.contains("as the model that is trained on merges them"),
                "{said}"
            );
            assert_eq!(merges(&output), merges("run"));
            run(folder, &["export", &output, "-o", "tuned.onnx"]);
            let tuned = Bundle::read(&std::fs::read(folder.join("tuned.onnx")).unwrap()).unwrap();
            assert!(tuned.manifest.vocabulary.genre("polka").is_some());
            play(&tuned);
            run(folder, &["evaluate", "tuned.onnx", "--dataset", set]);
            // It begins where the model stood.
            let loss = start(folder, &output)["validation_loss"].as_f64().unwrap();
            assert!(loss < 8.0, "{loss}");
        }
    }
}

#[test]
fn recurrent_backbones_go_the_same_way() {
    let rwkv = Config {
        model_type: ModelType::Rwkv,
        ..tiny()
    };
    let lstm = Config {
        model_type: ModelType::Lstm,
        lstm_units: vec![32, 24],
        attention_window: Some(24),
        ..tiny()
    };
    for (config, line) in [
        (rwkv, "RWKV, 1 layers, d = 32"),
        (
            lstm,
            "LSTM of [32, 24] units, d = 32, attention over 24 outputs",
        ),
    ] {
        let folder = trained(&config);
        let folder = folder.path();
        exported(folder, |file, bundle| {
            play(bundle);
            let said = run(folder, &["info", file]);
            assert!(said.contains(line), "{said}");
        });
    }
}

#[test]
fn what_is_none_of_ours_is_told_by_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    for (file, bytes, sentence) in [
        (
            "song.h5",
            &b"\x89HDF\r\n\x1a\n....keras_model_path...."[..],
            "a bundle of the Python Famam",
        ),
        (
            "model.keras",
            b"PK\x03\x04....metadata.json....config.json",
            "a Keras model of the Python Famam",
        ),
        ("other.h5", b"\x89HDF\r\n\x1a\n", "is no data set"),
        ("empty", b"", "is no data set"),
        ("a.json", b"{\"nam\": 1}", "unknown field `nam`"),
        (
            "b.json",
            b"{\"encoder_type\": \"remi\", \"min_tracks\": -1}",
            "min_tracks",
        ),
    ] {
        std::fs::write(folder.path().join(file), bytes).unwrap();
        let output = command(folder.path(), &["info", file]).output().unwrap();
        let said = said(&output);
        assert!(
            !output.status.success() && said.contains(sentence),
            "{said}"
        );
    }
    let output = command(folder.path(), &["info", "none"]).output().unwrap();
    assert!(said(&output).contains("reading none: "));
}

/// A weight of one channel that nothing reads, so large that with one scale a token hardly a step
/// is left to the others: nothing changes in 32 bits, and all is lost in 8.
#[test]
fn a_model_that_loses_too_much_in_8_bits_is_not_exported() {
    let folder = trained(&Config {
        tied: false,
        ..tiny()
    });
    let folder = folder.path();
    let path = folder.join("run").join(BEST);
    let mut stored = checkpoint::read(&path).unwrap();
    let tensors: Vec<_> = stored
        .tensors
        .drain()
        .map(|(name, tensor)| {
            if name.starts_with("first.") || name.starts_with("second.") {
                return (name, tensor);
            }
            if name.ends_with("norm.bias") {
                let _ = tensor.get(0).fill_(1e4);
            }
            if ["qkv.weight", "up.weight", "head.weight"]
                .iter()
                .any(|end| name.ends_with(end))
            {
                let _ = tensor.select(1, 0).fill_(0.0);
            }
            (name, tensor)
        })
        .collect();
    checkpoint::write(&path, &stored.state, &tensors).unwrap();
    let output = export(folder, &["-o", "fp32.onnx"]);
    assert!(output.status.success(), "{}", said(&output));
    let output = export(folder, &["-o", "int8.onnx", "--int8"]);
    assert!(!output.status.success());
    assert!(
        said(&output).contains("in 8 bits the validation loss rises"),
        "{}",
        said(&output)
    );
    assert!(!folder.join("int8.onnx").exists());
}

/// From another folder, by another path, to another place, on other threads, silent and not.
#[test]
fn the_same_files_give_the_same_data_set_wherever_they_are_named() {
    let folder = built();
    let at = |name: &str| folder.path().join(name);
    let (midi, config) = (at("midi/rock"), at("quiet.json"));
    let mut quiet: Value =
        serde_json::from_slice(&std::fs::read(at("build.json")).unwrap()).unwrap();
    quiet["verbose"] = false.into();
    write(config.clone(), &quiet);
    let absolute = [
        "build",
        "build.json",
        midi.to_str().unwrap(),
        "-o",
        "absolute.h5",
    ];
    run(
        folder.path(),
        &[&absolute[..], &["--threads", "1"]].concat(),
    );
    let relative = [
        "build",
        config.to_str().unwrap(),
        ".",
        "-o",
        "../../elsewhere/relative.h5",
    ];
    run(&midi, &[&relative[..], &["--threads", "3"]].concat());
    let read = |name: &str| std::fs::read(at(name)).unwrap();
    let (absolute, relative) = (read("absolute.h5"), read("elsewhere/relative.h5"));
    assert!(absolute == relative);
    let told = String::from_utf8_lossy(&absolute);
    assert!(
        !told.contains(folder.path().to_str().unwrap()),
        "it names no place"
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_stops_and_the_same_command_goes_on() {
    let folder = built();
    let long = Config {
        steps: Some(1_000_000),
        ..tiny()
    };
    write(folder.path().join("train.json"), &json!(long));
    let mut step = 0;
    for sitting in 0..2 {
        let arguments = [
            "train",
            "train.json",
            "--dataset",
            "set.h5",
            "--output",
            "run",
        ];
        let mut child = command(folder.path(), &arguments)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = Vec::new();
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            let line = line.unwrap();
            // Once it has learned something.
            if validated(&line) && !lines.iter().any(|line: &String| validated(line)) {
                let interrupt = Command::new("kill")
                    .args(["-INT", &child.id().to_string()])
                    .status();
                assert!(interrupt.unwrap().success());
            }
            lines.push(line);
        }
        assert!(child.wait().unwrap().success(), "{lines:?}");
        assert!(
            lines
                .last()
                .is_some_and(|line| line.contains("stopped and saved")),
            "{lines:?}"
        );
        let going_on = format!("going on at step {step} of 1000000");
        assert_eq!(lines.contains(&going_on), sitting == 1, "{lines:?}");
        let progress = checkpoint::read(&folder.path().join("run").join(LAST))
            .unwrap()
            .state
            .progress;
        assert!(progress.step > step && progress.step < 1_000_000);
        step = progress.step;
    }
}

#[cfg(unix)]
fn validated(line: &str) -> bool {
    line.contains("validation loss")
}

#[test]
fn a_folder_is_analyzed() {
    let folder = built();
    let folder = folder.path();
    let midi = folder.join("midi");
    std::fs::copy(midi.join("rock/0.mid"), midi.join("rock/again.mid")).unwrap();
    std::fs::write(midi.join("rock/broken.mid"), "no music").unwrap();
    let table = "rock/0.mid\trock\nwaltz/1.mid\twaltz\n";
    std::fs::write(folder.join("genres.tsv"), table).unwrap();
    let arguments = [
        "analyze",
        "midi",
        "--genres",
        "genres.tsv",
        "-o",
        "all.json",
        "--page",
        "all.html",
    ];
    let said = run(folder, &arguments);
    for line in [
        "26 found, 25 read",
        "duplicates  1",
        "broken.mid",
        "multitrack: ",
        "remi: ",
        "event: ",
    ] {
        assert!(said.contains(line), "{line} is not in {said}");
    }
    let text = std::fs::read_to_string(folder.join("all.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let file = |name: &str| {
        let files = report["files"].as_array().unwrap();
        files.iter().find(|file| file["name"] == name).unwrap()
    };
    let score = midi::read_file(midi.join("rock/0.mid")).unwrap();
    let notes: usize = score.tracks.iter().map(|track| track.notes.len()).sum();
    assert_eq!(file("rock/0.mid")["notes"], notes);
    assert_eq!(file("rock/0.mid")["genre"], "rock");
    assert_eq!(file("rock/2.mid")["genre"], Value::Null);
    assert_eq!(file("rock/again.mid")["duplicate_of"], "rock/0.mid");
    assert_eq!(file("waltz/1.mid")["duplicate_of"], Value::Null);
    assert_eq!(report["unreadable"][0]["name"], "rock/broken.mid");

    // What it recommends holds what a data set of the same files has.
    let tokens = &report["tokens"]["multitrack"];
    let dataset = Dataset::open(&folder.join("set.h5")).unwrap();
    let lengths = (0..dataset.len()).map(|i| dataset.piece(i).unwrap().body.tokens.len());
    let again = file_tokens(&dataset, "rock/0.mid");
    assert_eq!(tokens["tokens"], lengths.sum::<usize>() + again);

    let page = std::fs::read_to_string(folder.join("all.html")).unwrap();
    assert!(page.contains("<svg") && !page.contains("http"), "{page}");
}

/// Tokens of a piece of a data set.
fn file_tokens(dataset: &Dataset, name: &str) -> usize {
    let pieces = (0..dataset.len()).map(|i| dataset.piece(i).unwrap());
    let mut pieces = pieces.filter(|piece| piece.name == name);
    pieces.next().unwrap().body.tokens.len()
}

/// The first record of a run's history.
fn start(folder: &Path, run: &str) -> Value {
    let text = std::fs::read_to_string(folder.join(run).join("history.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()[0].clone()
}

#[test]
fn a_model_goes_on_with_other_music() {
    let config = Config {
        dropout_rate: 0.0,
        ..tiny()
    };
    let folder = trained(&config);
    let folder = folder.path();
    let output = export(folder, &["-o", "int8.onnx", "--int8"]);
    assert!(output.status.success(), "{}", said(&output));
    let tune = |from: &str, set: &str, output: &str| {
        let arguments = [
            "train",
            "tune.json",
            "--dataset",
            set,
            "--from",
            from,
            "--output",
            output,
        ];
        command(folder, &arguments).output().unwrap()
    };
    // The architecture is the model's, whatever the config says.
    let config = Config {
        steps: Some(8),
        d_model: 64,
        num_layers: 3,
        ..config
    };
    write(folder.join("tune.json"), &json!(config));

    let best = checkpoint::read(&folder.join("run").join(BEST)).unwrap();
    let reached = best.state.progress.best.unwrap();
    let loss = |run: &str| start(folder, run)["validation_loss"].as_f64().unwrap();
    for (from, run, most) in [("run", "again", 1e-9), ("int8.onnx", "from8", 0.01)] {
        let output = tune(from, "set.h5", run);
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(start(folder, run)["step"], 0);
        let rise = loss(run) / reached - 1.0;
        assert!(rise.abs() <= most, "{from}: {reached} to {}", loss(run));
    }

    // A genre that it never saw, and one that it did.
    for genre in ["polka", "waltz"] {
        std::fs::create_dir_all(folder.join("more").join(genre)).unwrap();
    }
    for i in 0..12 {
        let name = format!("more/{}/{i}.mid", ["polka", "waltz"][i % 2]);
        midi::write_file(folder.join(name), &song(100 + i as u64, 8, 12)).unwrap();
    }
    let mut build: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("build.json")).unwrap()).unwrap();
    build["input_dirs"] = json!(["more"]);
    build["output_path"] = json!("more.h5");
    write(folder.join("more.json"), &build);
    run(folder, &["build", "more.json"]);
    let output = tune("int8.onnx", "more.h5", "tuned");
    assert!(output.status.success(), "{}", said(&output));
    let tuned = checkpoint::read(&folder.join("tuned").join(LAST))
        .unwrap()
        .state;
    assert_eq!(tuned.vocabulary.genres, ["any", "rock", "waltz", "polka"]);
    assert_eq!(
        tuned.from.as_ref().unwrap().name,
        best.state.config.model_name
    );
    run(
        folder,
        &["export", "tuned/last", "-o", "tuned.onnx", "--int8"],
    );
    let bundle = Bundle::read(&std::fs::read(folder.join("tuned.onnx")).unwrap()).unwrap();
    assert!(bundle.manifest.vocabulary.genre("polka").is_some());
    play(&bundle);
    run(folder, &["evaluate", "tuned.onnx", "--dataset", "more.h5"]);

    // Beside its weights.
    let adapted = Config {
        lora: Some(Lora::default()),
        ..config
    };
    write(folder.join("tune.json"), &json!(adapted));
    let output = tune("int8.onnx", "more.h5", "beside");
    assert!(output.status.success(), "{}", said(&output));
    let about = run(folder, &["info", "beside"]);
    assert!(about.contains("adapters    of rank 8, beside *"), "{about}");
    run(folder, &["export", "beside/last", "-o", "beside.onnx"]);
    play(&Bundle::read(&std::fs::read(folder.join("beside.onnx")).unwrap()).unwrap());
    write(
        folder.join("tune.json"),
        &json!(Config {
            lora: None,
            ..adapted
        }),
    );

    // What it started from belongs to the run.
    let arguments = [
        "train",
        "tune.json",
        "--dataset",
        "set.h5",
        "--output",
        "again",
    ];
    let output = command(folder, &arguments).output().unwrap();
    assert!(
        said(&output).contains("another model that it started from (--from)"),
        "{}",
        said(&output)
    );
    build["positions_per_bar"] = json!(16);
    build["output_path"] = json!("coarse.h5");
    write(folder.join("coarse.json"), &build);
    run(folder, &["build", "coarse.json"]);
    let output = tune("int8.onnx", "coarse.h5", "no");
    assert!(
        said(&output).contains("\"positions_per_bar\":"),
        "{}",
        said(&output)
    );
    assert!(!folder.join("no").exists());
}
