//! What hosts load: `Famam.clap` and `Famam.vst3`, laid out as each system wants them, with
//! ONNX Runtime beside the module.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use crate::step::Outcome;

/// The systems that the plugin is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Linux on the processor that VST3's folder names.
    Linux(&'static str),
    /// macOS.
    Mac,
    /// Windows on x86-64.
    Windows,
}

/// The two bundles.
#[derive(Debug)]
pub struct Bundles {
    /// A file (Linux, Windows) or a folder (macOS).
    pub clap: PathBuf,
    /// A folder.
    pub vst3: PathBuf,
    /// ONNX Runtime beside the `.clap`, where that is a file.
    pub beside_clap: Option<PathBuf>,
}

impl System {
    /// The one we run on.
    pub fn here() -> System {
        match env::consts::OS {
            "macos" => System::Mac,
            "windows" => System::Windows,
            _ => System::Linux(env::consts::ARCH),
        }
    }

    /// The file name of the library `name`.
    pub fn library(self, name: &str) -> String {
        match self {
            System::Linux(_) => format!("lib{name}.so"),
            System::Mac => format!("lib{name}.dylib"),
            System::Windows => format!("{name}.dll"),
        }
    }

    /// The file name of the program `name`.
    pub fn program(self, name: &str) -> String {
        format!(
            "{name}{}",
            if self == System::Windows { ".exe" } else { "" }
        )
    }

    /// The module's place in the `.vst3` folder.
    fn vst3_module(self) -> PathBuf {
        let contents = Path::new("Contents");
        match self {
            System::Linux(processor) => {
                contents.join(format!("{processor}-linux")).join("Famam.so")
            }
            System::Mac => contents.join("MacOS").join("Famam"),
            System::Windows => contents.join("x86_64-win").join("Famam.vst3"),
        }
    }

    /// The user's folders for CLAP and VST3 plugins.
    fn plugin_folders(self) -> Outcome<[PathBuf; 2]> {
        let folder = |variable: &str, rest: [&str; 2]| {
            env::var_os(variable)
                .map(|base| rest.map(|rest| Path::new(&base).join(rest)))
                .ok_or_else(|| format!("{variable} is not set: where are your plugins?"))
        };
        match self {
            System::Linux(_) => folder("HOME", [".clap", ".vst3"]),
            System::Mac => folder(
                "HOME",
                ["Library/Audio/Plug-Ins/CLAP", "Library/Audio/Plug-Ins/VST3"],
            ),
            System::Windows => folder(
                "LOCALAPPDATA",
                ["Programs/Common/CLAP", "Programs/Common/VST3"],
            ),
        }
    }
}

/// Lays out `module` (the built library) and `runtime` as bundles in `folder`.
pub fn write(
    system: System,
    module: &Path,
    runtime: Option<&Path>,
    folder: &Path,
) -> Outcome<Bundles> {
    let copy = |from: &Path, to: &Path| {
        to.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| replace_file(from, to))
            .map_err(|error| {
                format!(
                    "could not copy {} to {}: {error}",
                    from.display(),
                    to.display()
                )
            })
    };
    let mut bundles = Bundles {
        clap: folder.join("Famam.clap"),
        vst3: folder.join("Famam.vst3"),
        beside_clap: None,
    };
    let vst3_module = bundles.vst3.join(system.vst3_module());
    let clap_module = match system {
        System::Mac => bundles.clap.join(system.vst3_module()),
        _ => bundles.clap.clone(),
    };
    for to in [&clap_module, &vst3_module] {
        copy(module, to)?;
        if let Some(runtime) = runtime
            && let Some(name) = runtime.file_name()
        {
            copy(runtime, &to.with_file_name(name))?;
        }
    }
    match system {
        System::Mac => {
            for bundle in [&bundles.clap, &bundles.vst3] {
                let list = bundle.join("Contents/Info.plist");
                fs::write(&list, INFO_PLIST)
                    .map_err(|error| format!("could not write {}: {error}", list.display()))?;
            }
        }
        _ => {
            bundles.beside_clap = runtime
                .and_then(Path::file_name)
                .map(|name| clap_module.with_file_name(name));
        }
    }
    Ok(bundles)
}

/// Copies the bundles into the user's plugin folders; gives what was written.
pub fn install(system: System, bundles: &Bundles) -> Outcome<Vec<PathBuf>> {
    let [clap, vst3] = system.plugin_folders()?;
    install_into(&clap, &vst3, bundles)
}

fn install_into(clap: &Path, vst3: &Path, bundles: &Bundles) -> Outcome<Vec<PathBuf>> {
    // The runtime first: a host that scans meanwhile must not meet the plugin without it.
    let parts = bundles.beside_clap.iter().map(|path| (path, clap));
    parts
        .chain([(&bundles.clap, clap), (&bundles.vst3, vst3)])
        .map(|(from, folder)| {
            let to = from
                .file_name()
                .map_or_else(|| folder.to_owned(), |name| folder.join(name));
            fs::create_dir_all(folder)
                .and_then(|()| replace(from, &to))
                .map_err(|error| format!("could not install {}: {error}", to.display()))?;
            Ok(to)
        })
        .collect()
}

/// Copies a file or a folder to `to`, written beside it and renamed.
fn replace(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return replace_file(from, to);
    }
    let (part, old) = (
        to.with_added_extension("part"),
        to.with_added_extension("old"),
    );
    for leftover in [&part, &old] {
        if leftover.exists() {
            fs::remove_dir_all(leftover)?;
        }
    }
    copy_folder(from, &part)?;
    if to.exists() {
        fs::rename(to, &old)?;
    }
    fs::rename(&part, to)?;
    if old.exists() {
        fs::remove_dir_all(&old)
    } else {
        Ok(())
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy_folder(&from, &to)?
        } else {
            replace_file(&from, &to)?
        }
    }
    Ok(())
}

/// Never in place: a host that has the old module mapped would crash.
fn replace_file(from: &Path, to: &Path) -> io::Result<()> {
    let part = to.with_added_extension("part");
    fs::copy(from, &part)?;
    fs::File::open(&part)?.sync_all()?;
    fs::rename(&part, to)
}

const INFO_PLIST: &str = concat!(
    r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
  <key>CFBundleExecutable</key><string>Famam</string>
  <key>CFBundleIdentifier</key><string>famam.famam</string>
  <key>CFBundleName</key><string>Famam</string>
  <key>CFBundlePackageType</key><string>BNDL</string>
  <key>CFBundleShortVersionString</key><string>"#,
    env!("CARGO_PKG_VERSION"),
    "</string>
</dict></plist>
"
);

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own, removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = env::temp_dir().join(format!("famam-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a folder for the test");
            Scratch(path)
        }

        fn file(&self, name: &str, content: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, content).expect("a file for the test");
            path
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn each_system_gets_the_module_and_the_runtime_beside_it() {
        let scratch = Scratch::new("layout");
        let (module, runtime) = (scratch.file("module", "M"), scratch.file("runtime.so", "R"));
        for (system, clap, vst3) in [
            (
                System::Linux("x86_64"),
                "Famam.clap",
                "Famam.vst3/Contents/x86_64-linux/Famam.so",
            ),
            (
                System::Mac,
                "Famam.clap/Contents/MacOS/Famam",
                "Famam.vst3/Contents/MacOS/Famam",
            ),
            (
                System::Windows,
                "Famam.clap",
                "Famam.vst3/Contents/x86_64-win/Famam.vst3",
            ),
        ] {
            let folder = scratch.0.join(format!("{system:?}"));
            write(system, &module, Some(&runtime), &folder).expect("bundles");
            for place in [clap, vst3] {
                let place = folder.join(place);
                assert_eq!(fs::read(&place).expect("the module"), b"M");
                assert_eq!(
                    fs::read(place.with_file_name("runtime.so")).expect("beside"),
                    b"R"
                );
            }
        }
    }

    #[test]
    fn installing_again_replaces_all_and_leaves_nothing_beside() {
        let scratch = Scratch::new("install");
        let runtime = scratch.file("runtime.so", "R");
        let (clap, vst3) = (scratch.0.join("clap"), scratch.0.join("vst3"));
        for content in ["old", "new"] {
            let module = scratch.file("module", content);
            let folder = scratch.0.join("bundled");
            let bundles =
                write(System::Linux("x86_64"), &module, Some(&runtime), &folder).expect("bundles");
            install_into(&clap, &vst3, &bundles).expect("installed");
        }
        let names = |folder: &Path| {
            let mut names: Vec<_> = fs::read_dir(folder)
                .expect("a folder")
                .map(|entry| entry.expect("an entry").file_name())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(&clap), ["Famam.clap", "runtime.so"]);
        assert_eq!(names(&vst3), ["Famam.vst3"]);
        assert_eq!(
            fs::read(clap.join("Famam.clap")).expect("installed"),
            b"new"
        );
        let module = vst3.join("Famam.vst3/Contents/x86_64-linux/Famam.so");
        assert_eq!(fs::read(module).expect("installed"), b"new");
    }
}
