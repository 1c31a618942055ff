//! What `famam generate` can ask of a song, run as a user does and read from the files that it writes: with the
//! default model.

mod controls;
mod known;
mod layered;
mod page;
mod program;
