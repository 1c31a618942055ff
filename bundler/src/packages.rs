//! System packages: what the builds need from the distribution.
//!
//! On Debian and Ubuntu what is missing is installed with apt where that needs no password;
//! everywhere else the command stops with the one line to type.

use crate::step::{Outcome, command};

/// A Debian package, and how to see that it, or another system's like, is there.
#[derive(Clone, Copy)]
pub struct Package {
    debian: &'static str,
    probe: Probe,
}

#[derive(Clone, Copy)]
enum Probe {
    /// A command that succeeds.
    Command(&'static [&'static str]),
    /// A library that pkg-config knows.
    Library(&'static str),
}

/// A program, and a command of it that succeeds.
pub const fn program(debian: &'static str, command: &'static [&'static str]) -> Package {
    Package {
        debian,
        probe: Probe::Command(command),
    }
}

const fn library(debian: &'static str, name: &'static str) -> Package {
    Package {
        debian,
        probe: Probe::Library(name),
    }
}

/// What building and bundling the plugin needs.
pub const PLUGIN: [Package; 4] = [
    program("pkg-config", &["pkg-config", "--version"]),
    library("libx11-dev", "x11"),
    library("libx11-xcb-dev", "x11-xcb"),
    library("libgl1-mesa-dev", "gl"),
];

/// What the standalone needs besides.
pub const STANDALONE: [Package; 2] = [
    library("libasound2-dev", "alsa"),
    library("libjack-jackd2-dev", "jack"),
];

/// What fetches Python wheels.
pub const PIP: Package = program("python3-pip", &["python3", "-m", "pip", "--version"]);

/// What the trainer needs besides.
pub const TRAINER: [Package; 2] = [
    program("g++", &["g++", "--version"]),
    library("libhdf5-dev", "hdf5"),
];

/// What the trainer's feature `mpi` needs besides.
pub const MPI: [Package; 3] = [
    program("openmpi-bin", &["mpirun", "--version"]),
    library("libopenmpi-dev", "mpi"),
    program(
        "libclang-dev",
        &[
            "sh",
            "-c",
            "ls /usr/lib/llvm-*/lib/libclang.so || ldconfig -p | grep 'libclang.so '",
        ],
    ),
];

/// What the tests need besides: a processor without the newest instructions.
pub const TESTS: [Package; 1] = [program("qemu-user", &["qemu-x86_64", "--version"])];

/// What the build for Windows needs besides.
pub const WINDOWS: [Package; 1] = [program(
    "gcc-mingw-w64-x86-64-win32",
    &["x86_64-w64-mingw32-gcc", "--version"],
)];

impl Package {
    fn is_there(&self) -> bool {
        match self.probe {
            Probe::Command([name, arguments @ ..]) => command(name).args(arguments).succeeds(),
            Probe::Command([]) => true,
            Probe::Library(name) => command("pkg-config").args(["--exists", name]).succeeds(),
        }
    }
}

/// Sees to it that all of `packages` are there; other systems than Linux bring their own.
pub fn provide(packages: &[Package]) -> Outcome {
    let missing: Vec<&str> = packages
        .iter()
        .filter(|package| !package.is_there())
        .map(|package| package.debian)
        .collect();
    if missing.is_empty() || !cfg!(target_os = "linux") {
        return Ok(());
    }
    let install = ["install", "--yes", "--no-install-recommends"];
    let line = format!("apt-get install {}", missing.join(" "));
    // A probe that changes nothing tells whether apt may be used without asking for a password.
    let Some(prefix) = [&[][..], &["sudo", "-n"][..]].into_iter().find(|prefix| {
        let probe = ["sh", "-c", "command -v apt-get && test $(id -u) = 0"];
        let [first, rest @ ..] = &[prefix, &probe[..]].concat()[..] else {
            return false;
        };
        command(first).args(rest).succeeds()
    }) else {
        return Err(format!(
            "packages are missing; type (or the like on your system): sudo {line}"
        ));
    };
    eprintln!("{line}");
    let apt = |arguments: &[&str]| {
        let words = [
            prefix,
            &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"],
            arguments,
        ];
        let words = words.concat();
        command(words[0]).args(&words[1..]).arg("--quiet=2")
    };
    // The lists of a fresh container are empty, those of an old machine stale.
    apt(&["update"]).run()?;
    apt(&[&install[..], &missing].concat()).run()
}
