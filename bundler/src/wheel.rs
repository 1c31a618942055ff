//! Libraries that come as Python wheels: ONNX Runtime, and libtorch out of PyTorch.
//!
//! pip fetches them for the pinned version and checks their SHA-256 itself (`--require-hashes`).
//! They are unpacked beside their place in the cache and renamed when complete.

use std::fs;
use std::path::{Path, PathBuf};

use crate::packages;
use crate::step::{Child, Outcome, command};

/// ONNX Runtime's wheels: system, processor, pip's platform, SHA-256, the library in it.
const ONNX_RUNTIME: [(&str, &str, &str, &str, &str); 4] = [
    (
        "linux",
        "x86_64",
        "manylinux_2_28_x86_64",
        "5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f",
        "libonnxruntime.so.1.31.1",
    ),
    (
        "linux",
        "aarch64",
        "manylinux_2_28_aarch64",
        "da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3",
        "libonnxruntime.so.1.31.1",
    ),
    (
        "macos",
        "aarch64",
        "macosx_14_0_arm64",
        "60b6b69bfe580eab576cacc5d132a0e9cf2a37fcfd18d46dd191042b1d1ed0d7",
        "libonnxruntime.1.31.1.dylib",
    ),
    (
        "windows",
        "x86_64",
        "win_amd64",
        "c3d91b5de31e2fc82d71bd65b2b22bddee8b49057a3a36338e9a868e0ea90c05",
        "onnxruntime.dll",
    ),
];

/// libtorch and the two CUDA libraries that its own libraries name, for Linux on x86-64.
const LIBTORCH: &str = "\
torch==2.11.0 --hash=sha256:7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a
nvidia-cuda-runtime==13.0.96 --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
nvidia-cuda-cupti==13.0.85 --hash=sha256:4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8
";

/// The library of ONNX Runtime for this machine, fetched if it is not in `cache` yet.
pub fn onnx_runtime(cache: &Path) -> Outcome<PathBuf> {
    let (system, processor) = (std::env::consts::OS, std::env::consts::ARCH);
    let Some((_, _, platform, hash, library)) = ONNX_RUNTIME
        .into_iter()
        .find(|wheel| (wheel.0, wheel.1) == (system, processor))
    else {
        return Err(format!(
            "there is no ONNX Runtime wheel for {system} on {processor}"
        ));
    };
    let folder = cache.join("onnxruntime-1.31.1");
    if !folder.join(library).exists() {
        let requirement = format!("onnxruntime==1.31.1 --hash=sha256:{hash}\n");
        let wheel = cache.join("onnxruntime-1.31.1.wheel");
        unpack(cache, &requirement, &[platform], &wheel)?;
        let from = wheel.join("onnxruntime");
        let files = [
            (from.join("capi"), library),
            (from.clone(), "LICENSE"),
            (from, "ThirdPartyNotices.txt"),
        ];
        fs::create_dir_all(&folder).map_err(|error| cannot("create", &folder, &error))?;
        // The library last: its being there says that the others are.
        for (from, name) in files.iter().rev() {
            let (from, to) = (from.join(name), folder.join(name));
            fs::rename(&from, &to).map_err(|error| cannot("fill", &to, &error))?;
        }
        fs::remove_dir_all(&wheel).map_err(|error| cannot("remove", &wheel, &error))?;
    }
    Ok(folder.join(library))
}

/// The folder for `LIBTORCH`: the user's own, or fetched if it is not in `cache` yet.
pub fn libtorch(cache: &Path) -> Outcome<PathBuf> {
    if let Some(own) = std::env::var_os("LIBTORCH") {
        return Ok(own.into());
    }
    let folder = cache.join("libtorch-2.11.0");
    if !folder.exists() {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return Err("unpack libtorch 2.11.0 for this system and set LIBTORCH to it".to_owned());
        }
        let platforms = [
            "manylinux_2_28_x86_64",
            "manylinux_2_25_x86_64",
            "manylinux2014_x86_64",
        ];
        unpack(cache, LIBTORCH, &platforms, &folder)?;
    }
    Ok(folder.join("torch"))
}

/// Unpacks the wheels of `requirements` for `platforms` into the folder `to`, whole or not at all.
fn unpack(cache: &Path, requirements: &str, platforms: &[&str], to: &Path) -> Outcome {
    let pip = pip(cache)?;
    let part = to.with_added_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part).map_err(|error| cannot("clear", &part, &error))?;
    }
    fs::create_dir_all(&part).map_err(|error| cannot("create", &part, &error))?;
    let list = part.join("requirements.txt");
    fs::write(&list, requirements).map_err(|error| cannot("write", &list, &error))?;
    pip.args([
        "install",
        "--no-deps",
        "--only-binary=:all:",
        "--implementation",
        "cp",
    ])
    .args([
        "--python-version",
        "311",
        "--require-hashes",
        "--no-compile",
        "--no-cache-dir",
    ])
    .args([
        "--disable-pip-version-check",
        "--root-user-action=ignore",
        "--quiet",
    ])
    .args(
        platforms
            .iter()
            .map(|platform| format!("--platform={platform}")),
    )
    .arg("--target")
    .arg(&part)
    .arg("--requirement")
    .arg(&list)
    .run_quietly()
    .map_err(|why| {
        let names: Vec<_> = requirements
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        format!("pip could not fetch {}: {why}", names.join(", "))
    })?;
    if to.exists() {
        fs::remove_dir_all(to).map_err(|error| cannot("clear", to, &error))?;
    }
    fs::rename(&part, to).map_err(|error| cannot("fill", to, &error))
}

/// The machine's pip, or one of our own in the cache, or the distribution's.
fn pip(cache: &Path) -> Outcome<Child> {
    let pip = |python: &Path| command(python).args(["-m", "pip"]);
    let own = cache.join("python");
    let own_python = own.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    let pythons = [
        Path::new("python3"),
        Path::new("python"),
        own_python.as_path(),
    ];
    let find = || {
        pythons
            .into_iter()
            .find(|python| pip(python).arg("--version").succeeds())
    };
    find()
        .or_else(|| {
            let made = command("python3").args(["-m", "venv"]).arg(&own).succeeds();
            made.then(find).flatten()
        })
        .map_or_else(
            || packages::provide(&[packages::PIP]).map(|()| find()),
            |found| Ok(Some(found)),
        )?
        .map(pip)
        .ok_or_else(|| "there is no pip".to_owned())
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> String {
    format!("could not {what} {}: {error}", path.display())
}
