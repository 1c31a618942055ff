//! What a step costs on one thread: CPU time, through [`famam_shared::engine`] and in a bare loop of
//! `ort` over the same graph, at several contexts. Prints medians and their ratio.
//!
//! ```sh
//! cargo bench -p famam-shared --bench step [BUNDLE.onnx]
//! ```

#[path = "../tests/model/mod.rs"]
mod model;

use std::path::PathBuf;

use famam_shared::architecture::{Positions, Transformer};
use famam_shared::bundle::Bundle;
use famam_shared::engine::{self, Choice};
use famam_shared::manifest::{Architecture, Precision};
use ort::memory::Allocator;
use ort::session::Session;
use ort::value::Tensor;

/// Runs whose median is taken.
const RUNS: usize = 400;
/// The contexts that are measured.
const CONTEXTS: [usize; 3] = [0, 512, 1008];
/// Steps at one context, so that it hardly changes.
const STEPS: usize = 16;

fn main() {
    let bundles = match std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'))
    {
        Some(path) => {
            let bytes = std::fs::read(PathBuf::from(&path)).expect("the bundle");
            vec![(path, Bundle::read(&bytes).expect("a bundle"))]
        }
        None => [
            ("4 layers, d = 256", small()),
            ("6 layers, d = 512", large()),
        ]
        .into_iter()
        .flat_map(|(name, t)| {
            let weights = model::weights(&t, 1);
            [Precision::Int8, Precision::Fp32].map(|precision| {
                let bytes = model::file(&t, &weights, precision, 1024);
                (
                    format!("{name}, {precision:?}"),
                    Bundle::read(&bytes).expect("a bundle"),
                )
            })
        })
        .collect(),
    };
    println!(
        "median CPU time of a step on one thread, ms, at contexts {CONTEXTS:?}; load {}",
        load()
    );
    for (name, bundle) in bundles {
        println!("{name} ({} kB)", bundle.model.len() / 1024);
        let bare = bare(&bundle).expect("ONNX Runtime");
        for choice in model::choices() {
            let ours = ours(&bundle, choice);
            print!("  {choice:?}");
            ours.iter().for_each(|time| print!("  {:.3}", time));
            if choice == Choice::Ort {
                print!("   bare loop");
                bare.iter().for_each(|time| print!("  {:.3}", time));
                print!("   ratio");
                let ratios = ours.iter().zip(&bare).map(|(a, b)| a / b);
                ratios.for_each(|ratio| print!("  {ratio:.2}"));
            }
            println!();
        }
    }
}

fn small() -> Transformer {
    model::medium(model::rotary())
}

fn large() -> Transformer {
    Transformer {
        layers: 6,
        d_model: 512,
        heads: 8,
        d_ff: 2048,
        ..small()
    }
}

/// The medians of a step through our engines.
fn ours(bundle: &Bundle, choice: Choice) -> [f64; 3] {
    let engine = engine::load(bundle, 1, choice).expect("an engine");
    CONTEXTS.map(|context| {
        let mut stream = engine.open(1, context + STEPS).expect("a stream");
        let mut times = Vec::new();
        while times.len() < RUNS {
            stream.clear();
            if context > 0 {
                stream.run(&[&vec![1; context]]).expect("a prompt");
                stream.run(&[&[1]]).expect("a step");
            }
            for _ in 1..STEPS {
                let start = cpu_time();
                std::hint::black_box(stream.run(&[&[2]]).expect("a step"));
                times.push(cpu_time() - start);
            }
        }
        median(times)
    })
}

/// The medians of a step in a bare loop: tensors bound once, a token and its place written for each
/// step, caches of the context's size.
fn bare(bundle: &Bundle) -> ort::Result<[f64; 3]> {
    let environment = engine::onnxruntime(None).expect("ONNX Runtime");
    let mut session = Session::builder(environment)?
        .with_intra_threads(1)?
        .with_intra_op_spinning(false)?
        .commit_from_memory(&bundle.model)?;
    let Architecture::Transformer(t) = &bundle.manifest.architecture;
    let cpu = Allocator::default();
    let mut medians = [0.0; 3];
    for (median_of, context) in medians.iter_mut().zip(CONTEXTS) {
        let slots = context + STEPS;
        let mut binding = session.create_binding()?;
        let mut integers = Vec::new();
        for (name, width) in [("ids", 1), ("pos", 1), ("slot", 1), ("kpos", slots)] {
            let mut tensor = Tensor::<i64>::new(&cpu, [1, width])?;
            tensor
                .extract_tensor_mut()
                .1
                .fill(if name == "kpos" { 1 << 20 } else { 0 });
            binding.bind_input(name, &tensor)?;
            integers.push(tensor);
        }
        for state in &bundle.manifest.state {
            let mut tensor = Tensor::<f32>::new(&cpu, [1, t.kv_heads, slots, t.head_dim()])?;
            tensor.extract_tensor_mut().1.fill(0.1);
            binding.bind_input(&*state.input, &tensor)?;
            binding.bind_output(&*state.output, tensor)?;
        }
        let mut logits = Tensor::<f32>::new(&cpu, [1, 1, t.vocabulary])?;
        binding.bind_output("logits", &mut logits)?;
        let mut times = Vec::new();
        for run in 0..RUNS {
            let place = context + run % STEPS;
            let start = cpu_time();
            integers[0].extract_tensor_mut().1[0] = 2;
            integers[1].extract_tensor_mut().1[0] = place as i64;
            integers[2].extract_tensor_mut().1[0] = place as i64;
            integers[3].extract_tensor_mut().1[place] = place as i64;
            session.run_binding(&binding)?;
            std::hint::black_box(logits.extract_tensor().1);
            times.push(cpu_time() - start);
        }
        *median_of = median(times);
    }
    Ok(medians)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// CPU time of this process, whose other threads wait meanwhile, milliseconds: rten computes on a
/// thread of its own even where it has one.
fn cpu_time() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes only into `time`.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// The machine's load over the last minute.
fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("unknown").to_owned()
}
