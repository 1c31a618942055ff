//! The JSON files that say what to build and what to train.

pub mod dataset;
