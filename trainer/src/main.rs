//! `famam-trainer`.
fn main() {}
