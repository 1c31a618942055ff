//! Famam's trainer: MIDI files to a data set, a data set to a model, a model to a bundle.
//!
//! The only package that needs libtorch and HDF5. `famam-trainer --help` says how it is used.

pub mod config;
pub mod dataset;
