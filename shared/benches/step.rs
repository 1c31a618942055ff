//! What a step costs on one thread: CPU time, through [`famam_shared::engine`] and in a bare loop of
//! `ort` over the same graph, at several contexts. Prints medians and their ratio.
//!
//! ```sh
//! cargo bench -p famam-shared --bench step [BUNDLE.onnx]
//! ```

mod measure;
#[path = "../tests/model/mod.rs"]
mod model;

use famam_shared::architecture::{Architecture, Lstm, Rwkv, Transformer};
use famam_shared::bundle::Bundle;
use famam_shared::engine::{self, Choice, Engine};
use famam_shared::manifest::Precision;
use measure::{cpu_time, default_model, large, load, median};
use ort::memory::Allocator;
use ort::session::{IoBinding, Session};
use ort::value::Tensor;

/// Runs whose median is taken.
const RUNS: usize = 190;
/// The contexts that are measured.
const CONTEXTS: [usize; 3] = [0, 512, 960];
/// Steps from one context on.
const STEPS: usize = 64;
/// The model that the figure is said of, beside those with random weights.
const DEFAULT_MODEL: &str = "the default model";

fn main() {
    let bundles = match std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'))
    {
        Some(path) => {
            let bytes = std::fs::read(&path).expect("the bundle");
            vec![(path, Bundle::read(&bytes).expect("a bundle"))]
        }
        None => [(DEFAULT_MODEL.to_owned(), default_model())]
            .into_iter()
            .chain(
                [
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
                }),
            )
            .collect(),
    };
    println!(
        "median CPU time of a step on one thread, ms, at contexts {CONTEXTS:?}; load {}",
        load()
    );
    for (name, bundle) in bundles {
        let cached = bundle.manifest.state.iter().all(|state| state.is_cache());
        println!("{name} ({} kB)", bundle.model.len() / 1024);
        for choice in model::choices_of(&bundle.manifest.architecture) {
            let engine = engine::load(&bundle, 1, choice).expect("an engine");
            let mut bare = (choice != Choice::Rten && cached)
                .then(|| Bare::load(&bundle).expect("ONNX Runtime"));
            let times = CONTEXTS.map(|context| steps(&*engine, bare.as_mut(), context));
            print!("  {choice:?}");
            times.iter().for_each(|[ours, _]| print!("  {ours:.3}"));
            if bare.is_some() {
                print!("   bare loop");
                times.iter().for_each(|[_, bare]| print!("  {bare:.3}"));
                print!("   ratio");
                times
                    .iter()
                    .for_each(|[ours, bare]| print!("  {:.2}", ours / bare));
            }
            println!();
            if bare.is_some() && name == DEFAULT_MODEL {
                let ratios = times.map(|[ours, bare]| format!("{:.2}", ours / bare));
                println!(
                    "figure | a step of the default model, contexts {CONTEXTS:?}, {choice:?} | {} times a bare ort loop | at most 1.2",
                    ratios.join(", ")
                );
            }
        }
    }
    recurrent();
}

/// Steps of models whose state has a fixed size, at token 10 and at token 10,000, taken in turns.
fn recurrent() {
    let lstm = Lstm {
        d_model: 256,
        units: vec![256; 2],
        ..model::lstm::lstm()
    };
    let rwkv = Rwkv {
        layers: 4,
        d_model: 256,
        d_ff: 1024,
        ..model::rwkv::rwkv()
    };
    let attentive = Lstm {
        attention_window: Some(256),
        ..lstm.clone()
    };
    let models: [(&str, Architecture); 3] = [
        ("an LSTM of 2 x 256 units", lstm.into()),
        ("the same with attention over 256 outputs", attentive.into()),
        ("RWKV of 4 layers, d = 256", rwkv.into()),
    ];
    for (name, model) in models {
        for precision in [Precision::Fp32, Precision::Int8] {
            for choice in model::choices() {
                let [early, late] = early_and_late(&model, precision, choice);
                println!(
                    "figure | a step of {name}, {precision:?}, at token 10,000, {choice:?} | {late:.3} ms, {:.2} times that at token 10 | 0.95 to 1.05",
                    late / early
                );
            }
        }
    }
}

/// The medians of a step at token 10 and at token 10,000.
fn early_and_late(architecture: &Architecture, precision: Precision, choice: Choice) -> [f64; 2] {
    let weights = model::weights(architecture, 1);
    let engine = model::engine(architecture, &weights, precision, 1, choice);
    let mut streams = [10, 10_000].map(|tokens| {
        let mut stream = engine.open(1, tokens + RUNS).expect("a stream");
        for piece in vec![1; tokens].chunks(128) {
            stream.run(&[piece]).expect("a prompt");
        }
        (stream, Vec::new())
    });
    for _ in 0..RUNS {
        for (stream, times) in &mut streams {
            let start = cpu_time();
            std::hint::black_box(stream.run(&[&[2]]).expect("a step"));
            times.push(cpu_time() - start);
        }
    }
    streams.map(|(_, times)| median(&times))
}

fn small() -> Transformer {
    model::medium(model::rotary())
}

/// The medians of a step from `context` on through `engine` and, taking turns, in the bare loop.
fn steps(engine: &dyn Engine, mut bare: Option<&mut Bare>, context: usize) -> [f64; 2] {
    let mut stream = engine.open(1, context + STEPS).expect("a stream");
    let mut bound = bare
        .as_mut()
        .map(|bare| bare.bind(context + STEPS).expect("bound tensors"));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    while ours.len() < RUNS {
        stream.clear();
        for piece in vec![1; context].chunks(128) {
            stream.run(&[piece]).expect("a prompt");
        }
        for place in context..context + STEPS {
            let start = cpu_time();
            std::hint::black_box(stream.run(&[&[2]]).expect("a step"));
            ours.push(cpu_time() - start);
            if let (Some(bare), Some(bound)) = (&mut bare, &mut bound) {
                let start = cpu_time();
                bare.step(bound, place).expect("a step");
                theirs.push(cpu_time() - start);
            }
        }
    }
    [median(&ours), median(&theirs)]
}

/// `ort` and nothing else: tensors bound once, a token and its place written for each step.
struct Bare<'a> {
    session: Session,
    bundle: &'a Bundle,
}

struct Bound {
    binding: IoBinding,
    /// `ids`, `pos`, `slot`, `kpos`.
    integers: Vec<Tensor<i64>>,
    logits: Tensor<f32>,
}

impl<'a> Bare<'a> {
    fn load(bundle: &'a Bundle) -> ort::Result<Self> {
        let session = Session::builder(engine::onnxruntime(None).expect("ONNX Runtime"))?
            .with_intra_threads(1)?
            .with_intra_op_spinning(false)?
            .commit_from_memory(&bundle.model)?;
        Ok(Self { session, bundle })
    }

    fn bind(&self, slots: usize) -> ort::Result<Bound> {
        let cpu = Allocator::default();
        let mut binding = self.session.create_binding()?;
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
        for state in &self.bundle.manifest.state {
            let mut tensor = Tensor::<f32>::new(&cpu, state.shape(1, slots))?;
            tensor.extract_tensor_mut().1.fill(0.1);
            binding.bind_input(&*state.input, &tensor)?;
            binding.bind_output(&*state.output, tensor)?;
        }
        let mut logits =
            Tensor::<f32>::new(&cpu, [1, 1, self.bundle.manifest.architecture.vocabulary()])?;
        binding.bind_output("logits", &mut logits)?;
        Ok(Bound {
            binding,
            integers,
            logits,
        })
    }

    fn step(&mut self, bound: &mut Bound, place: usize) -> ort::Result<()> {
        let Bound {
            binding,
            integers,
            logits,
        } = bound;
        let mut write = |input: usize, at: usize, value: usize| {
            integers[input].extract_tensor_mut().1[at] = value as i64;
        };
        write(0, 0, 2);
        write(1, 0, place);
        write(2, 0, place);
        write(3, place, place);
        self.session.run_binding(binding)?;
        std::hint::black_box(logits.extract_tensor().1);
        Ok(())
    }
}
