//! What the operating system lets a process have.
//!
//! Invariant: a limit is only ever raised, and never above what an administrator allowed.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the number of files this process may open to the most it is allowed; each connection is
/// one. Many systems start a process with 1,024 and allow far more. Returns the number in force.
pub fn raise_open_files() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    // Refused, such as in a sandbox: the limit stays what it was.
    let in_force = if setrlimit(Resource::Nofile, limit).is_ok() { limit.current } else { before };
    in_force.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_in_force_is_the_most_that_is_allowed() {
        let raised = raise_open_files();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(raised, limit.current.unwrap_or(u64::MAX));
    }
}
