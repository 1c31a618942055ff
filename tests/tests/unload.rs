//! A host unloads the plugin's library; its code must stay, because ONNX Runtime may call it still.

#![cfg(target_os = "linux")]

use std::error::Error;
use std::fs;

use famam_tests::built;
use famam_tests::host::{Block, Format};

#[test]
fn the_library_stays_when_a_host_unloads_it() -> Result<(), Box<dyn Error>> {
    let library = built::plugin();
    let name = library.file_name().ok_or("no name")?.to_string_lossy();
    let is_there =
        || Ok::<_, std::io::Error>(fs::read_to_string("/proc/self/maps")?.contains(&*name));
    assert!(!is_there()?, "it is part of the test");
    let mut host = Format::Clap.open(&library)?;
    host.set_offline(true)?;
    host.activate(48_000.0, 512)?;
    let block = Block {
        frames: 512,
        ..Block::default()
    };
    host.process(&block, &mut Vec::new())?;
    drop(host);
    assert!(is_there()?, "it is gone");
    Ok(())
}
