//! What `famam generate` can ask of a song, run as a user does and read from the files that it writes: with the
//! default model, and with one of random weights that can write cells among known ones.

mod controls;
mod grid_model;
mod known;
mod layered;
mod page;
mod program;
