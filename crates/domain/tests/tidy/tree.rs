//! Reads the sources the rules look at, and cuts tests out of them.

use std::path::{Path, PathBuf};

/// One file.
#[derive(Clone)]
pub(crate) struct Source {
    /// Path from the root of the repository.
    pub(crate) path: String,
    /// Every line.
    pub(crate) lines: Vec<String>,
}

impl Source {
    /// Lines outside `#[cfg(test)]` modules, numbered from 1, without `//` comments.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.lines.iter().position(|line| line == "#[cfg(test)]");
        self.lines
            .iter()
            .take(tests.unwrap_or(self.lines.len()))
            .enumerate()
            .map(|(n, line)| (n + 1, line.split("//").next().unwrap_or_default()))
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every file with this extension below these folders, by path. A folder may be missing.
pub(crate) fn sources(folders: &[&str], extension: &str) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders {
        collect(&root().join(folder), extension, &mut found);
    }
    found.sort();
    found
        .into_iter()
        .map(|path| Source {
            lines: std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect(),
            path: path.strip_prefix(root()).unwrap().display().to_string(),
        })
        .collect()
}

fn collect(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("vendor") {
            collect(&path, extension, found);
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
}
