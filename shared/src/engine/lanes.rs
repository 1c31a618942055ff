//! Several writers on one stream: each has rows of its own, and all rows are run together, which costs far less
//! than each by itself.
//!
//! A writer is a future that waits where it asks for a run. When all wait, all that was asked is run, and they go
//! on. So none needs to know of the others, and who is done takes its leave, and its rows with it.

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ndarray::{Array3, ArrayView3, s};
use parking_lot::Mutex;

use super::{Engine, EngineError, Stream};
use crate::encoding::Token;
use crate::manifest::Manifest;

/// An engine whose streams are the lanes of one stream of another engine. All are opened before [`Lanes::write`].
pub struct Lanes<'e> {
    engine: &'e dyn Engine,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    lanes: Vec<LaneState>,
    capacity: usize,
    /// Of all rows, once started.
    stream: Option<Box<dyn Stream>>,
}

/// What the others know of a lane.
struct LaneState {
    /// None any more once it has left.
    rows: Range<usize>,
    /// What it is to run, of each row.
    asked: Option<Vec<Vec<Token>>>,
    /// What came of it, `[rows, time, vocabulary]`.
    ran: Option<Result<Array3<f32>, String>>,
    conditions: Vec<Vec<Token>>,
    has_left: bool,
}

impl<'e> Lanes<'e> {
    /// Without lanes yet.
    pub fn new(engine: &'e dyn Engine) -> Self {
        let state = Arc::default();
        Self { engine, state }
    }

    /// Opens the stream of all lanes and runs what `writers` ask of theirs until all are done; what they gave.
    ///
    /// # Errors
    /// What the engine cannot open.
    pub fn write<T>(
        &self,
        writers: impl IntoIterator<Item = impl Future<Output = T>>,
    ) -> Result<Vec<T>, EngineError> {
        {
            let mut state = self.state.lock();
            let rows = state.count();
            state.stream = Some(self.engine.open(rows, state.capacity)?);
        }
        let mut writers: Vec<_> = writers.into_iter().map(|w| Some(Box::pin(w))).collect();
        let mut done: Vec<Option<T>> = writers.iter().map(|_| None).collect();
        while writers.iter().any(Option::is_some) {
            for (writer, done) in writers.iter_mut().zip(&mut done) {
                let Some(waiting) = writer else { continue };
                if let Poll::Ready(written) = waiting.as_mut().poll(&mut idle()) {
                    *done = Some(written);
                    // Its lane is left.
                    *writer = None;
                }
            }
            self.state.lock().run_all();
        }
        Ok(done.into_iter().flatten().collect())
    }
}

/// What a writer gives whose stream is its own, so that it never waits.
pub fn alone<T>(writer: impl Future<Output = T>) -> T {
    match pin!(writer).poll(&mut idle()) {
        Poll::Ready(written) => written,
        Poll::Pending => unreachable!("only the writers of `Lanes` wait for one another"),
    }
}

/// Nobody has to be woken: all writers are asked in turn.
fn idle() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl Engine for Lanes<'_> {
    fn manifest(&self) -> &Manifest {
        self.engine.manifest()
    }

    fn name(&self) -> String {
        self.engine.name()
    }

    fn fallback(&self) -> Option<&str> {
        self.engine.fallback()
    }

    fn open(&self, batch: usize, capacity: usize) -> Result<Box<dyn Stream>, EngineError> {
        let mut state = self.state.lock();
        if state.stream.is_some() {
            let why = "its stream has started without this lane".to_owned();
            return Err(failed("open a lane", why));
        }
        let first = state.count();
        state.capacity = state.capacity.max(capacity);
        state.lanes.push(LaneState {
            rows: first..first + batch,
            asked: None,
            ran: None,
            conditions: vec![Vec::new(); batch],
            has_left: false,
        });
        Ok(Box::new(Lane {
            state: self.state.clone(),
            index: state.lanes.len() - 1,
            batch,
            logits: Array3::default([0; 3]),
        }))
    }
}

fn failed(doing: &str, why: String) -> EngineError {
    EngineError::Runtime {
        engine: "a stream of several lanes",
        doing: doing.to_owned(),
        why,
    }
}

impl State {
    /// Rows of all lanes.
    fn count(&self) -> usize {
        self.lanes.last().map_or(0, |last| last.rows.end)
    }

    /// Takes the rows of those that have left out of the stream, where it can do without: to run them
    /// on, empty, would cost as much as any.
    fn close_ranks(&mut self) {
        let gone = |lane: &LaneState| lane.has_left && !lane.rows.is_empty();
        let stay = self.lanes.iter().filter(|lane| !lane.has_left);
        let rows: Vec<usize> = stay.flat_map(|lane| lane.rows.clone()).collect();
        let stream = self.stream.as_mut();
        let Some(stream) = stream.filter(|_| self.lanes.iter().any(gone) && !rows.is_empty())
        else {
            return;
        };
        if stream.select(&rows).is_err() {
            return;
        }
        let mut first = 0;
        for lane in &mut self.lanes {
            if lane.has_left {
                lane.conditions.clear();
                lane.rows = first..first;
            }
            lane.rows = first..first + lane.rows.len();
            first = lane.rows.end;
        }
    }

    /// Runs what the lanes have asked for, if any has.
    fn run_all(&mut self) {
        if self.lanes.iter().all(|lane| lane.asked.is_none()) {
            return;
        }
        self.close_ranks();
        let mut tokens: Vec<&[Token]> = vec![&[]; self.count()];
        for lane in &self.lanes {
            for (row, asked) in lane.rows.clone().zip(lane.asked.iter().flatten()) {
                tokens[row] = asked;
            }
        }
        let Some(stream) = &mut self.stream else {
            return;
        };
        let logits = stream.run(&tokens).map_err(|error| error.to_string());
        for lane in self.lanes.iter_mut().filter(|lane| lane.asked.is_some()) {
            let own =
                |logits: &ArrayView3<f32>| logits.slice(s![lane.rows.clone(), .., ..]).to_owned();
            lane.ran = Some(logits.as_ref().map(own).map_err(Clone::clone));
        }
        self.lanes.iter_mut().for_each(|lane| lane.asked = None);
    }
}

/// Rows of the stream that one writer has.
struct Lane {
    state: Arc<Mutex<State>>,
    index: usize,
    /// Rows that it has.
    batch: usize,
    /// Of the last run.
    logits: Array3<f32>,
}

impl Stream for Lane {
    fn run(&mut self, _tokens: &[&[Token]]) -> Result<ArrayView3<'_, f32>, EngineError> {
        Err(failed(
            "run its rows",
            "they are run with all others'".to_owned(),
        ))
    }

    fn poll_run(&mut self, tokens: &[&[Token]]) -> Poll<Result<ArrayView3<'_, f32>, EngineError>> {
        if tokens.len() != self.batch {
            return Poll::Ready(Err(EngineError::Batch {
                batch: self.batch,
                rows: tokens.len(),
            }));
        }
        if tokens.iter().all(|row| row.is_empty()) {
            return Poll::Ready(Err(EngineError::NoToken));
        }
        let mut state = self.state.lock();
        let lane = &mut state.lanes[self.index];
        match lane.ran.take() {
            None => {
                lane.asked = Some(tokens.iter().map(|row| row.to_vec()).collect());
                Poll::Pending
            }
            Some(Ok(logits)) => {
                self.logits = logits;
                Poll::Ready(Ok(self.logits.view()))
            }
            Some(Err(why)) => Poll::Ready(Err(failed("run its rows", why))),
        }
    }

    fn condition(&mut self, conditions: &[&[Token]]) -> Result<(), EngineError> {
        let mut state = self.state.lock();
        let own = conditions.iter().map(|row| row.to_vec()).collect();
        state.lanes[self.index].conditions = own;
        let State { lanes, stream, .. } = &mut *state;
        let all: Vec<&[Token]> = lanes
            .iter()
            .flat_map(|lane| lane.conditions.iter().map(Vec::as_slice))
            .collect();
        stream
            .as_mut()
            .map_or(Ok(()), |stream| stream.condition(&all))
    }

    fn reorder(&mut self, rows: &[usize]) -> Result<(), EngineError> {
        if let Some(row) = rows.iter().find(|row| **row >= self.batch) {
            return Err(EngineError::Batch {
                batch: self.batch,
                rows: row + 1,
            });
        }
        let mut state = self.state.lock();
        let mut all: Vec<usize> = (0..state.count()).collect();
        let own = state.lanes[self.index].rows.clone();
        for (row, from) in own.clone().zip(rows) {
            all[row] = own.start + from;
        }
        let stream = state.stream.as_mut();
        stream.map_or(Ok(()), |stream| stream.reorder(&all))
    }

    fn keep(&mut self, lengths: &[usize]) {
        let mut state = self.state.lock();
        let mut all = vec![usize::MAX; state.count()];
        all[state.lanes[self.index].rows.clone()].copy_from_slice(lengths);
        if let Some(stream) = &mut state.stream {
            stream.keep(&all);
        }
    }

    fn clear(&mut self) {
        self.keep(&vec![0; self.batch]);
    }

    fn len(&self, row: usize) -> usize {
        let state = self.state.lock();
        let stream = state.stream.as_ref();
        let first = state.lanes[self.index].rows.start;
        stream.map_or(0, |stream| stream.len(first + row))
    }

    fn is_empty(&self) -> bool {
        (0..self.batch).all(|row| self.len(row) == 0)
    }
}

/// Its rows are run no more.
impl Drop for Lane {
    fn drop(&mut self) {
        self.state.lock().lanes[self.index].has_left = true;
    }
}
