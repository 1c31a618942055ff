//! Keeps the plugin's library in memory once a host has loaded it: ONNX Runtime, which cannot be
//! unloaded, may call back into it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
