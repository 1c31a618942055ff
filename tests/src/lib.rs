//! What crosses packages: a headless [`host`] that plays the built plugin as CLAP and as VST3, and
//! an [`oracle`] that says, without the plugin's own code, what it should have played.

pub mod built;
pub mod host;
pub mod oracle;
pub mod performance;
#[cfg(unix)]
pub mod process_time;
pub mod song;
pub mod state;
