//! `famam`.
fn main() {}
