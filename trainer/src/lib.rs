//! Famam's trainer: MIDI files to a data set, a data set to a model, a model to a bundle.
//!
//! The only package that needs libtorch and HDF5. `famam-trainer --help` says how it is used.

pub mod all;
pub mod analyze;
pub mod batches;
pub mod build;
pub mod bundle;
pub mod checkpoint;
pub mod config;
pub mod dataset;
pub mod device;
pub mod embeddings;
pub mod evaluate;
pub mod export;
pub mod info;
pub mod memory;
pub mod menu;
pub mod merges;
pub mod model;
pub mod musical;
pub mod optimizer;
pub mod parallel;
pub mod pretrained;
pub mod schedule;
pub mod scoring;
pub mod stop;
pub mod train;
pub mod words;
