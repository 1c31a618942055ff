//! An engine that counts what it is asked for.

#![allow(dead_code, reason = "each test uses its part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use famam_shared::encoding::Token;
use famam_shared::engine::{Engine, EngineError, Stream};
use famam_shared::manifest::Manifest;
use ndarray::ArrayView3;

pub struct Counting {
    engine: Arc<dyn Engine>,
    rows: AtomicUsize,
    tokens: Arc<AtomicUsize>,
}

impl Counting {
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self {
            engine,
            rows: AtomicUsize::default(),
            tokens: Arc::default(),
        }
    }

    /// Rows of all streams that were opened.
    pub fn rows(&self) -> usize {
        self.rows.load(Ordering::Relaxed)
    }

    /// Tokens that all streams ran, and with them the padding: a run of rows that differ has each be as long
    /// as the longest.
    pub fn tokens(&self) -> usize {
        self.tokens.load(Ordering::Relaxed)
    }
}

impl Engine for Counting {
    fn manifest(&self) -> &Manifest {
        self.engine.manifest()
    }
    fn name(&self) -> String {
        self.engine.name()
    }
    fn open(&self, batch: usize, capacity: usize) -> Result<Box<dyn Stream>, EngineError> {
        self.rows.fetch_add(batch, Ordering::Relaxed);
        Ok(Box::new(Counted {
            stream: self.engine.open(batch, capacity)?,
            tokens: self.tokens.clone(),
        }))
    }
}

struct Counted {
    stream: Box<dyn Stream>,
    tokens: Arc<AtomicUsize>,
}

impl Stream for Counted {
    fn run(&mut self, tokens: &[&[Token]]) -> Result<ArrayView3<'_, f32>, EngineError> {
        let longest = tokens.iter().map(|row| row.len()).max();
        let count = tokens.len() * longest.unwrap_or(0);
        self.tokens.fetch_add(count, Ordering::Relaxed);
        self.stream.run(tokens)
    }
    fn condition(&mut self, conditions: &[&[Token]]) -> Result<(), EngineError> {
        self.stream.condition(conditions)
    }
    fn reorder(&mut self, rows: &[usize]) -> Result<(), EngineError> {
        self.stream.reorder(rows)
    }
    fn select(&mut self, rows: &[usize]) -> Result<(), EngineError> {
        self.stream.select(rows)
    }
    fn keep(&mut self, lengths: &[usize]) {
        self.stream.keep(lengths);
    }
    fn clear(&mut self) {
        self.stream.clear();
    }
    fn len(&self, row: usize) -> usize {
        self.stream.len(row)
    }
    fn is_empty(&self) -> bool {
        self.stream.is_empty()
    }
}
