//! Builds the static programs with a cargo of its own and leaves them in `OUT_DIR`.
//!
//! A nested cargo, because the two programs need other flags than the rest: linked
//! statically, not relocatable (engine.md measured 62 KiB against 82 of memory each),
//! optimised for size. It works in a target directory of its own, so that it never
//! waits for the lock that the outer cargo holds, and offline when the outer one is.

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use sha2::{Digest, Sha256};

/// Package (also the program's name), the prefix of its variables, and further
/// arguments: the shim is built without std, see its `bare` module.
const PROGRAMS: [(&str, &str, &[&str]); 2] =
    [("shipway-shim", "SHIPWAY_SHIM", &["--no-default-features"]), ("shipway-runner", "SHIPWAY_RUNNER", &[])];

/// What the outer cargo tells its own build and the inner one must not hear.
const FORGOTTEN: [&str; 9] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_TARGET_DIR",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CLIPPY_ARGS",
    "CARGO_MAKEFLAGS",
];

fn main() -> Result<(), Box<dyn Error>> {
    let workspace = workspace()?;
    watch(&workspace);
    for (program, variable, arguments) in PROGRAMS {
        let built = build(&workspace, program, arguments)?;
        publish(&built, variable)?;
    }
    Ok(())
}

fn workspace() -> Result<PathBuf, Box<dyn Error>> {
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let workspace = package.ancestors().nth(2).ok_or("this crate is not two folders below the workspace")?;
    Ok(workspace.to_owned())
}

fn watch(workspace: &Path) {
    for file in ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml"] {
        println!("cargo::rerun-if-changed={}", workspace.join(file).display());
    }
    for (program, ..) in PROGRAMS {
        let package = workspace.join("crates").join(program);
        for part in ["src", "Cargo.toml"] {
            println!("cargo::rerun-if-changed={}", package.join(part).display());
        }
    }
}

/// Builds one program and returns its path.
///
/// One cargo for each, or cargo would build their common dependencies with the features
/// of both, and the shim would have std again.
fn build(workspace: &Path, program: &str, arguments: &[&str]) -> Result<PathBuf, Box<dyn Error>> {
    // A build script runs on the host; the programs run where the outer build will.
    let target = variable("TARGET")?;
    let folder = PathBuf::from(variable("OUT_DIR")?).join("programs");
    let mut cargo = Command::new(variable("CARGO")?);
    cargo
        .current_dir(workspace)
        .args(["build", "--locked", "--profile", "static", "--target"])
        .arg(&target)
        .arg("--target-dir")
        .arg(&folder)
        .args(["-p", program, "--bin", program])
        .args(arguments);
    for name in forgotten() {
        cargo.env_remove(name);
    }
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=static");
    if !cargo.status()?.success() {
        let why = format!("cannot build the static program {program}: the compiler says why above");
        return Err(why.into());
    }
    Ok(folder.join(target).join("static").join(program))
}

/// The fixed list, and the outer build's overrides of profiles.
fn forgotten() -> impl Iterator<Item = OsString> {
    let overrides = env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| name.to_str().is_some_and(|name| name.starts_with("CARGO_PROFILE_")));
    FORGOTTEN.into_iter().map(OsString::from).chain(overrides)
}

fn publish(program: &Path, variable: &str) -> Result<(), Box<dyn Error>> {
    let bytes = fs::read(program).map_err(|error| format!("{}: {error}", program.display()))?;
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    println!("cargo::rustc-env={variable}_PROGRAM={}", program.display());
    println!("cargo::rustc-env={variable}_DIGEST={digest}");
    Ok(())
}

fn variable(name: &str) -> Result<OsString, Box<dyn Error>> {
    env::var_os(name).ok_or_else(|| format!("cargo did not set {name}").into())
}
