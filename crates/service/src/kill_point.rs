//! Named places where a test makes a process die.
//!
//! Compiled in with the feature `kill-points` only, which no release has. `KILL_POINTS` names a
//! folder; a file in it that is called like a point arms that point, at any moment.
//! Invariant: an armed point kills exactly one process, once: whoever removes its file. The process
//! that is started instead runs on.

#[cfg(all(feature = "kill-points", not(debug_assertions)))]
compile_error!("kill points are for tests: a release has none");

#[cfg(feature = "kill-points")]
use std::path::{Path, PathBuf};
#[cfg(feature = "kill-points")]
use std::sync::LazyLock;

#[cfg(feature = "kill-points")]
static FOLDER: LazyLock<Option<PathBuf>> = LazyLock::new(crate::settings::kill_points_folder);

/// Ends the process as `kill -9` would if this point is armed.
#[cfg(feature = "kill-points")]
pub fn pass(point: &str) {
    if FOLDER.as_deref().is_some_and(|folder| disarm(folder, point)) {
        std::process::abort();
    }
}

/// Nothing, in this build.
#[cfg(not(feature = "kill-points"))]
#[inline]
pub const fn pass(_point: &str) {}

/// Whether the point was armed, and this is the process it kills.
#[cfg(feature = "kill-points")]
fn disarm(folder: &Path, point: &str) -> bool {
    std::fs::remove_file(folder.join(point)).is_ok()
}

#[cfg(all(test, feature = "kill-points"))]
mod tests {
    use super::*;

    #[test]
    fn an_armed_point_fires_once() {
        let folder = std::env::temp_dir().join(format!("kill-points-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert!(!disarm(&folder, "edge.reserved"));
        std::fs::write(folder.join("edge.reserved"), "").unwrap();
        assert!(!disarm(&folder, "edge.confirmed"));
        assert!(disarm(&folder, "edge.reserved"));
        assert!(!disarm(&folder, "edge.reserved"));
        std::fs::remove_dir(&folder).unwrap();
    }
}
