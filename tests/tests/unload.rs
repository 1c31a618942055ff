//! A host unloads the plugin's library; its code must stay, because ONNX Runtime may call it still.

#![cfg(target_os = "linux")]

use std::error::Error;
use std::fs;

use famam_tests::built;
use famam_tests::host::{Block, Format, HostError};

#[test]
fn the_library_stays_when_a_host_unloads_it() -> Result<(), Box<dyn Error>> {
    let library = built::plugin();
    let name = library.file_name().ok_or("no name")?.to_string_lossy();
    let is_there =
        || Ok::<_, std::io::Error>(fs::read_to_string("/proc/self/maps")?.contains(&*name));
    assert!(!is_there()?, "it is part of the test");
    let path = library.clone();
    let play = move || -> Result<(), String> {
        let text = |error: HostError| error.to_string();
        let mut host = Format::Clap.open(&path).map_err(text)?;
        host.set_offline(true).map_err(text)?;
        host.activate(48_000.0, 512).map_err(text)?;
        let block = Block {
            frames: 512,
            ..Block::default()
        };
        host.process(&block, &mut Vec::new()).map_err(text)
    };
    // What a thread still has to tidy up holds the library, too: only after its end is it free.
    std::thread::spawn(play).join().expect("no panic")?;
    // SAFETY: it has run before.
    drop(unsafe { libloading::Library::new(&library) }?);
    assert!(is_there()?, "it is gone");
    Ok(())
}
