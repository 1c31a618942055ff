//! ONNX Runtime, loaded at run time: one environment a process, one session a model. A stream owns
//! its caches and binds the same tensor as past input and present output, so that they are written
//! in place; the integer inputs are bound once and rewritten for each run. A state of fixed size is
//! small: it is an input and an output like any other.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ndarray::ArrayView3;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::memory::Allocator;
use ort::session::{IoBinding, Session};
use ort::value::Tensor;
use parking_lot::Mutex;

use super::recurrent::{self, Recurrent};
use super::rows::{Inputs, Rows, carry, copy_rows, select_rows};
use super::{Engine, EngineError, Stream, library};
use crate::architecture::Architecture;
use crate::bundle::Bundle;
use crate::encoding::Token;
use crate::graph::CONDITIONS;
use crate::manifest::{Manifest, StateTensor};

const NAME: &str = "ONNX Runtime";

/// ONNX Runtime's environment, of which a process has one: started from `path`, or from where
/// [`super::find_onnxruntime`] finds the library. Only the first call that finds one does anything;
/// its error is every later call's.
///
/// # Errors
/// The library is missing, of another version, or does not start.
pub fn environment(path: Option<&Path>) -> Result<&'static Environment, EngineError> {
    started(path).map(|started| &started.environment)
}

struct Started {
    environment: Environment,
    version: String,
}

fn started(path: Option<&Path>) -> Result<&'static Started, EngineError> {
    /// The environment, or the library and what it said.
    static STARTED: OnceLock<Result<Started, (PathBuf, String)>> = OnceLock::new();
    let started = match (STARTED.get(), path) {
        (Some(started), _) => started,
        // A library that is missing is looked for again the next time.
        (None, None) => {
            let path = library::find()?;
            STARTED.get_or_init(|| start(&path).map_err(|why| (path, why)))
        }
        (None, Some(path)) => {
            STARTED.get_or_init(|| start(path).map_err(|why| (path.to_path_buf(), why)))
        }
    };
    started
        .as_ref()
        .map_err(|(path, why)| EngineError::Library {
            path: path.display().to_string(),
            why: why.clone(),
        })
}

fn start(path: &Path) -> Result<Started, String> {
    let builder = ort::init_from(path).map_err(|error| error.to_string())?;
    let version = library::version(path)?;
    let environment = builder.with_name("famam").with_telemetry(false).build();
    Ok(Started {
        environment: environment.map_err(|error| error.to_string())?,
        version,
    })
}

/// A model in ONNX Runtime.
pub(super) struct Ort {
    shared: Arc<Shared>,
    version: &'static str,
}

struct Shared {
    manifest: Manifest,
    session: Mutex<Session>,
}

impl Ort {
    pub(super) fn load(bundle: &Bundle, threads: usize) -> Result<Self, EngineError> {
        let Started {
            environment,
            version,
        } = started(None)?;
        // With more threads than a product of attention has matrices, one for each key/value head, ONNX Runtime
        // cuts these, too, and sums in another order: the notes would depend on the number of threads.
        let most = match &bundle.manifest.architecture {
            Architecture::Transformer(transformer) => transformer.kv_heads,
            _ => 2,
        };
        let session = session(environment, &bundle.model, threads.min(most))
            .map_err(|error| failed("load the model", error))?;
        let shared = Shared {
            manifest: bundle.manifest.clone(),
            session: Mutex::new(session),
        };
        Ok(Self {
            shared: Arc::new(shared),
            version,
        })
    }
}

fn session(environment: &Environment, model: &[u8], threads: usize) -> ort::Result<Session> {
    Session::builder(environment)?
        .with_log_level(LogLevel::Error)?
        .with_intra_threads(threads)?
        .with_intra_op_spinning(false)?
        .commit_from_memory(model)
}

fn failed(doing: &str, error: ort::Error) -> EngineError {
    EngineError::Runtime {
        engine: NAME,
        doing: doing.to_owned(),
        why: error.to_string(),
    }
}

impl Engine for Ort {
    fn manifest(&self) -> &Manifest {
        &self.shared.manifest
    }

    fn name(&self) -> String {
        format!("{NAME} {}", self.version)
    }

    fn open(&self, batch: usize, capacity: usize) -> Result<Box<dyn Stream>, EngineError> {
        let rows = Rows::new(&self.shared.manifest, batch, capacity)?;
        if recurrent::is_recurrent(&self.shared.manifest) {
            let shared = self.shared.clone();
            return Ok(Box::new(Recurrent::new(
                shared,
                &self.shared.manifest,
                rows,
            )));
        }
        let slots = rows.first_slots();
        let open = || -> ort::Result<OrtStream> {
            let shared = self.shared.clone();
            let binding = shared.session.lock().create_binding()?;
            let caches = Caches::new(&shared.manifest, batch, slots)?;
            let step = Step::new(&shared.manifest, batch, 1)?;
            let mut stream = OrtStream {
                shared,
                rows,
                binding,
                caches,
                step,
                conditions: None,
            };
            stream.bind_conditions()?;
            stream.clear();
            Ok(stream)
        };
        let stream = open().map_err(|error| failed("make a cache", error))?;
        Ok(Box::new(stream))
    }
}

/// What stands in a stream from one run to the next.
struct Caches {
    /// `[batch, slots]`.
    kpos: Tensor<i64>,
    /// Keys and values of every layer, `[batch, kv_heads, slots, head_dim]`.
    tensors: Vec<Tensor<f32>>,
    slots: usize,
}

impl Caches {
    fn new(manifest: &Manifest, batch: usize, slots: usize) -> ort::Result<Self> {
        let cpu = Allocator::default();
        let tensor = |state: &StateTensor| {
            let mut tensor = Tensor::new(&cpu, state.shape(batch, slots))?;
            tensor.extract_tensor_mut().1.fill(0.0);
            Ok(tensor)
        };
        let tensors = manifest
            .state
            .iter()
            .map(tensor)
            .collect::<ort::Result<_>>()?;
        Ok(Self {
            kpos: Tensor::new(&cpu, [batch, slots])?,
            tensors,
            slots,
        })
    }
}

/// The tensors of one run.
struct Step {
    /// `[batch, time]`.
    ids: Tensor<i64>,
    pos: Tensor<i64>,
    slot: Tensor<i64>,
    /// `[batch, time, vocabulary]`.
    logits: Tensor<f32>,
    time: usize,
}

impl Step {
    fn new(manifest: &Manifest, batch: usize, time: usize) -> ort::Result<Self> {
        let cpu = Allocator::default();
        let integers = || Tensor::new(&cpu, [batch, time]);
        let vocabulary = manifest.architecture.vocabulary();
        let logits = Tensor::new(&cpu, [batch, time, vocabulary])?;
        Ok(Self {
            ids: integers()?,
            pos: integers()?,
            slot: integers()?,
            logits,
            time,
        })
    }
}

struct OrtStream {
    shared: Arc<Shared>,
    rows: Rows,
    binding: IoBinding,
    caches: Caches,
    step: Step,
    /// `[batch, conditions]`, of a model that adds them to every token.
    conditions: Option<Tensor<i64>>,
}

impl OrtStream {
    /// Binds what the rows are conditioned on.
    fn bind_conditions(&mut self) -> ort::Result<()> {
        let rows: Vec<usize> = (0..self.rows.batch()).collect();
        let conditions = self.rows.conditions(&rows);
        self.conditions = conditions.map(Tensor::from_array).transpose()?;
        self.bind()
    }

    /// Tensors for runs of `time` tokens with `slots` slots in the caches, which keep what they hold.
    fn resize(&mut self, time: usize, slots: usize) -> ort::Result<()> {
        let manifest = &self.shared.manifest;
        if slots != self.caches.slots {
            let mut caches = Caches::new(manifest, self.rows.batch(), slots)?;
            for (old, new) in self.caches.tensors.iter().zip(&mut caches.tensors) {
                let (shape, old) = old.extract_tensor();
                let matrices = shape.iter().take(2).product::<i64>() as usize;
                carry(old, new.extract_tensor_mut().1, matrices);
            }
            self.rows.mark(caches.kpos.extract_tensor_mut().1);
            self.caches = caches;
        }
        if time != self.step.time {
            self.step = Step::new(manifest, self.rows.batch(), time)?;
        }
        self.bind()
    }

    fn bind(&mut self) -> ort::Result<()> {
        let Self {
            shared,
            binding,
            caches,
            step,
            conditions,
            ..
        } = self;
        binding.clear();
        binding.bind_input("ids", &step.ids)?;
        binding.bind_input("pos", &step.pos)?;
        binding.bind_input("slot", &step.slot)?;
        binding.bind_input("kpos", &caches.kpos)?;
        if let Some(conditions) = conditions {
            binding.bind_input(CONDITIONS, conditions)?;
        }
        binding.bind_output("logits", &mut step.logits)?;
        for (state, tensor) in shared.manifest.state.iter().zip(&mut caches.tensors) {
            binding.bind_input(&*state.input, tensor)?;
            binding.bind_output(&*state.output, tensor)?;
        }
        Ok(())
    }
}

impl Stream for OrtStream {
    fn run(&mut self, tokens: &[&[Token]]) -> Result<ArrayView3<'_, f32>, EngineError> {
        let (time, slots) = self.rows.plan(tokens, self.caches.slots)?;
        if time != self.step.time || slots != self.caches.slots {
            self.resize(time, slots)
                .map_err(|error| failed("make a larger cache", error))?;
        }
        self.rows.fill(
            tokens,
            Inputs {
                ids: self.step.ids.extract_tensor_mut().1,
                pos: self.step.pos.extract_tensor_mut().1,
                slot: self.step.slot.extract_tensor_mut().1,
                kpos: self.caches.kpos.extract_tensor_mut().1,
            },
        );
        let result = self
            .shared
            .session
            .lock()
            .run_binding(&self.binding)
            .map(drop);
        if let Err(error) = result {
            self.rows.mark(self.caches.kpos.extract_tensor_mut().1);
            return Err(failed("run the model", error));
        }
        self.rows.advance(tokens);
        let vocabulary = self.shared.manifest.architecture.vocabulary();
        let shape = [self.rows.batch(), time, vocabulary];
        ArrayView3::from_shape(shape, self.step.logits.extract_tensor().1).map_err(|error| {
            let doing = "return its logits".to_owned();
            EngineError::Runtime {
                engine: NAME,
                doing,
                why: error.to_string(),
            }
        })
    }

    fn condition(&mut self, conditions: &[&[Token]]) -> Result<(), EngineError> {
        self.rows.condition(conditions)?;
        self.bind_conditions()
            .map_err(|error| failed("take conditions", error))
    }

    fn reorder(&mut self, rows: &[usize]) -> Result<(), EngineError> {
        self.rows.reorder(rows)?;
        for cache in &mut self.caches.tensors {
            copy_rows(cache.extract_tensor_mut().1, rows);
        }
        self.rows.mark(self.caches.kpos.extract_tensor_mut().1);
        if self.conditions.is_some() {
            self.bind_conditions()
                .map_err(|error| failed("take conditions", error))?;
        }
        Ok(())
    }

    fn select(&mut self, rows: &[usize]) -> Result<(), EngineError> {
        let selected = self.rows.select(rows)?;
        let (manifest, batch) = (&self.shared.manifest, self.rows.batch());
        let fewer = || -> ort::Result<(Caches, Step)> {
            let mut caches = Caches::new(manifest, rows.len(), self.caches.slots)?;
            for (old, new) in self.caches.tensors.iter().zip(&mut caches.tensors) {
                let (old, new) = (old.extract_tensor().1, new.extract_tensor_mut().1);
                select_rows(old, batch, rows, new);
            }
            Ok((caches, Step::new(manifest, rows.len(), self.step.time)?))
        };
        let fewer = fewer().map_err(|error| failed("make a smaller cache", error))?;
        ((self.caches, self.step), self.rows) = (fewer, selected);
        self.rows.mark(self.caches.kpos.extract_tensor_mut().1);
        self.bind_conditions()
            .map_err(|error| failed("make a smaller cache", error))
    }

    fn keep(&mut self, lengths: &[usize]) {
        self.rows.keep(lengths);
        self.rows.mark(self.caches.kpos.extract_tensor_mut().1);
    }

    fn clear(&mut self) {
        self.rows.clear();
        self.rows.mark(self.caches.kpos.extract_tensor_mut().1);
    }

    fn len(&self, row: usize) -> usize {
        self.rows.len(row)
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl recurrent::Graph for Arc<Shared> {
    fn run(
        &self,
        ids: &[Token],
        rows: &Rows,
        chosen: &[usize],
        state: Vec<Vec<f32>>,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        let run = || -> ort::Result<Vec<Vec<f32>>> {
            let batch = chosen.len();
            let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
            let ids = Tensor::from_array(([batch, ids.len() / batch], ids))?;
            let mut inputs = vec![("ids", ids.into_dyn())];
            if let Some(conditions) = rows.conditions::<i64>(chosen) {
                inputs.push((CONDITIONS, Tensor::from_array(conditions)?.into_dyn()));
            }
            for (described, values) in self.manifest.state.iter().zip(state) {
                let tensor = Tensor::from_array((described.shape(batch, 0), values))?;
                inputs.push((described.input.as_str(), tensor.into_dyn()));
            }
            let mut session = self.session.lock();
            let outputs = session.run(inputs)?;
            let names = self.manifest.state.iter().map(|s| s.output.as_str());
            std::iter::once("logits")
                .chain(names)
                .map(|name| Ok(outputs[name].try_extract_tensor::<f32>()?.1.to_vec()))
                .collect()
        };
        run().map_err(|error| failed("run the model", error))
    }
}
