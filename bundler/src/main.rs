//! `cargo xtask`: everything that is done with Famam's sources, one command each.
//!
//! A command sees to what the machine lacks ([`packages`], [`wheel`], [`music`]), builds with cargo
//! ([`step`]), and lays out what hosts load ([`bundle`]).

mod bundle;
mod music;
mod packages;
mod step;
mod wheel;
mod workspace;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bundle::System;
use step::{Child, Outcome, Steps};
use workspace::Workspace;

/// The trainer is tested and measured with MPI where its library is easily had, and as it is built by
/// default besides: checked, but not built a second time.
const MPI: &[&str] = match cfg!(target_os = "linux") {
    true => &["--features", "famam-trainer/mpi"],
    false => &[],
};

const USAGE: &str = "\
cargo xtask run             build the plugin, play 16 bars of rock into famam-demo.mid
cargo xtask test [--long]   format check, clippy, all tests; --long adds soaks and large samples
cargo xtask bundle          build the release .clap and .vst3 into target/bundled
cargo xtask install         the same, then copy both to your plugin folders
cargo xtask cross           build the plugin for Windows, check it for macOS
cargo xtask bench           measure, and print the figures beside what they should reach";

/// What `run` plays, as the headless host's arguments.
const DEMO: [&str; 8] = [
    "--genre",
    "rock",
    "--bars",
    "16",
    "--seed",
    "9",
    "--out",
    "famam-demo.mid",
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = Workspace::find().and_then(|workspace| match words[..] {
        ["run"] => run(&workspace),
        ["test"] => test(&workspace, false),
        ["test", "--long"] => test(&workspace, true),
        ["bundle"] => release_bundle(&workspace, &mut Steps::start()).map(drop),
        ["install"] => install(&workspace),
        ["bench"] => bench(&workspace),
        ["cross"] => cross(&workspace),
        _ => Err(format!("what to do? One of:\n{USAGE}")),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Builds both bundles and says where they are.
fn release_bundle(workspace: &Workspace, steps: &mut Steps) -> Outcome<bundle::Bundles> {
    packages::provide(&packages::PLUGIN)?;
    let runtime = optional_runtime(workspace, steps);
    steps.heading("building the release plugin");
    // Without the standalone's audio backends, which a module in a host must not bring along.
    step::cargo(workspace, ["build", "--release", "--package"])
        .args(["famam-plugin", "--lib", "--no-default-features"])
        .run()?;
    let system = System::here();
    let module = workspace
        .target
        .join("release")
        .join(system.library("famam_plugin"));
    let bundles = bundle::write(
        system,
        &module,
        runtime.as_deref(),
        &workspace.target.join("bundled"),
    )?;
    eprintln!("{}\n{}", bundles.clap.display(), bundles.vst3.display());
    Ok(bundles)
}

/// ONNX Runtime, or `None` with one line that says why the built-in engine must do.
fn optional_runtime(workspace: &Workspace, steps: &mut Steps) -> Option<PathBuf> {
    steps.heading("ONNX Runtime");
    wheel::onnx_runtime(&workspace.cache)
        .inspect_err(|why| eprintln!("going on with the built-in engine: {why}"))
        .ok()
}

fn run(workspace: &Workspace) -> Outcome {
    let mut steps = Steps::start();
    let bundles = release_bundle(workspace, &mut steps)?;
    steps.heading("building the headless host");
    step::cargo(
        workspace,
        ["build", "--release", "--package", "famam-tests"],
    )
    .run()?;
    steps.heading("playing");
    let host = workspace
        .target
        .join("release")
        .join(System::here().program("famam-host"));
    step::command(&host).arg(&bundles.clap).args(DEMO).run()
}

fn test(workspace: &Workspace, long: bool) -> Outcome {
    let mut steps = Steps::start();
    packages::provide(
        &[
            &packages::PLUGIN[..],
            &packages::STANDALONE,
            &packages::TRAINER,
            &packages::MPI,
            &packages::TESTS,
        ]
        .concat(),
    )?;
    steps.heading("ONNX Runtime and libtorch");
    wheel::onnx_runtime(&workspace.cache)?;
    let libtorch = wheel::libtorch(&workspace.cache)?;
    let music = music::folder(workspace)?;
    let cargo = |arguments: &[&str]| {
        let cargo = step::cargo(workspace, arguments);
        with_environment(cargo, &libtorch, music.as_deref())
    };

    steps.heading("format");
    cargo(&["fmt", "--all", "--check"]).run()?;
    steps.heading("clippy");
    let deny = ["--", "--deny", "warnings"];
    cargo(&["clippy", "--workspace", "--all-targets"])
        .args(MPI)
        .args(deny)
        .run()?;
    if !MPI.is_empty() {
        cargo(&["clippy", "--workspace"]).args(deny).run()?;
    }
    steps.heading("building the tests");
    cargo(&["test", "--workspace", "--no-run"])
        .args(MPI)
        .run()?;
    steps.heading(match music {
        Some(_) => "tests",
        None => "tests; FAMAM_DATA names no folder of music: those that run over it are skipped",
    });
    let tests = cargo(&["test", "--workspace", "--no-fail-fast"]).args(MPI);
    if long {
        tests.env("FAMAM_LONG", "1")
    } else {
        tests
    }
    .run()
}

/// Windows by mingw-w64; for macOS no linker is at hand, so that is checked only.
fn cross(workspace: &Workspace) -> Outcome {
    const WINDOWS: &str = "x86_64-pc-windows-gnu";
    const MAC: &str = "aarch64-apple-darwin";
    let mut steps = Steps::start();
    packages::provide(&[&packages::PLUGIN[..], &packages::WINDOWS].concat())?;
    step::command("rustup")
        .args(["target", "add", WINDOWS, MAC])
        .run()?;
    steps.heading("building the plugin for Windows");
    step::cargo(
        workspace,
        ["build", "--package", "famam-plugin", "--target", WINDOWS],
    )
    .run()?;
    steps.heading("checking the plugin for macOS");
    let packages = ["--package", "famam-shared", "--package", "famam-plugin"];
    step::cargo(workspace, ["check", "--target", MAC])
        .args(packages)
        .run()
}

fn install(workspace: &Workspace) -> Outcome {
    let bundles = release_bundle(workspace, &mut Steps::start())?;
    for path in bundle::install(System::here(), &bundles)? {
        println!("installed {}", path.display());
    }
    Ok(())
}

/// Runs the benches of every package that has some. A line `figure | what | measured | to reach`
/// of a bench becomes a row of the table at the end.
fn bench(workspace: &Workspace) -> Outcome {
    let mut steps = Steps::start();
    packages::provide(&[&packages::PLUGIN[..], &packages::STANDALONE].concat())?;
    optional_runtime(workspace, &mut steps);
    packages::provide(&[&packages::TRAINER[..], &packages::MPI].concat())?;
    let libtorch = wheel::libtorch(&workspace.cache)?;
    let music = music::folder(workspace)?;
    let mut figures = Vec::new();
    for package in ["famam-shared", "famam-tests", "famam-trainer"] {
        steps.heading(package);
        let benches = step::cargo(workspace, ["bench", "--package", package, "--bench", "*"]);
        let benches = match package {
            "famam-trainer" => benches.args(MPI),
            _ => benches,
        };
        let benches = with_environment(benches, &libtorch, music.as_deref());
        figures.extend(benches.run_for("figure | ")?);
    }
    println!("\n| what | measured | to reach |\n|---|---|---|");
    for figure in figures {
        println!("| {figure} |");
    }
    Ok(())
}

/// What the trainer needs to be built and to run, and where music is to test it on.
fn with_environment(cargo: Child, libtorch: &Path, music: Option<&Path>) -> Child {
    let cargo = cargo
        .env("LIBTORCH", libtorch)
        .env_path("LD_LIBRARY_PATH", &libtorch.join("lib"));
    match music {
        Some(folder) => cargo.env("FAMAM_DATA", folder),
        None => cargo,
    }
}
