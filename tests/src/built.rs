//! Where the built plugin is.

use std::env;
use std::path::PathBuf;

/// The library that cargo has built for this test: beside the test program, because `famam-plugin`
/// is a dependency of the tests. `FAMAM_PLUGIN` names another, such as a release build.
///
/// # Panics
/// If it is not there, with what to do.
pub fn plugin() -> PathBuf {
    let name = format!(
        "{}famam_plugin{}",
        env::consts::DLL_PREFIX,
        env::consts::DLL_SUFFIX
    );
    let beside = || {
        env::current_exe()
            .ok()
            .map(|program| program.with_file_name(name))
    };
    let library = env::var_os("FAMAM_PLUGIN")
        .map(PathBuf::from)
        .or_else(beside);
    match library {
        Some(library) if library.exists() => library,
        other => panic!("the plugin is not at {other:?}: run the tests with cargo"),
    }
}
