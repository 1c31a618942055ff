//! What the benches share: medians, clocks, the machine's load, and the models that are measured.

#![allow(dead_code, reason = "each bench uses its part")]

use std::time::Instant;

use famam_shared::architecture::Transformer;
use famam_shared::bundle::Bundle;

use crate::model;

/// The bundle that the first argument names, by its path, or the default model.
pub fn bundle_asked() -> (String, Bundle) {
    let path = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    match path {
        Some(path) => {
            let bytes = std::fs::read(&path).expect("the bundle");
            (path, Bundle::read(&bytes).expect("a bundle"))
        }
        None => ("the default model".to_owned(), default_model()),
    }
}

/// What the plugin plays where nothing else is said.
pub fn default_model() -> Bundle {
    Bundle::read(include_bytes!("../../../models/famam.onnx")).expect("the default model")
}

/// 6 layers, d = 512: 19 million parameters with a vocabulary of a few thousand tokens.
pub fn large() -> Transformer {
    Transformer {
        layers: 6,
        d_model: 512,
        heads: 8,
        d_ff: 2048,
        ..model::medium(model::rotary())
    }
}

/// The value that `share` of `values` lie below, a half of them for the median; `None` of none.
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index).copied()
}

/// The median; no number of no values.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5).unwrap_or(f64::NAN)
}

/// What `work` gives, and its wall time in milliseconds.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let done = std::hint::black_box(work());
    (done, start.elapsed().as_secs_f64() * 1e3)
}

/// CPU time of this process, whose other threads wait meanwhile, milliseconds: rten computes on a
/// thread of its own even where it has one.
pub fn cpu_time() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes only into `time`.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// The machine's load over the last minute.
pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("unknown").to_owned()
}
