//! `stack doctor`: what this machine has and lacks, line by line, and the command that helps.
//!
//! Owns the words; leaves the list to `requirements`. Invariant: it changes nothing and starts
//! nothing.

use std::path::Path;

use rustix::process::{Resource, getrlimit};

use crate::cli::say;
use crate::requirements::{For, Found, Source, TOOLS, check_disk, free_bytes};
use crate::{control, data_dir, install, wheels};

/// Open files one process may want: nginx takes two for each of its connections.
const OPEN_FILES_WANTED: u64 = 65_536;

/// One finding.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    mark: Mark,
    what: String,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Fine,
    /// Something works less well without it.
    Note,
    /// `make run` fails.
    Bad,
}

impl Finding {
    fn new(mark: Mark, what: &str, text: impl Into<String>) -> Self {
        Self { mark, what: what.to_owned(), text: text.into() }
    }

    fn line(&self) -> String {
        let mark = match self.mark {
            Mark::Fine => "✓",
            Mark::Note => "•",
            Mark::Bad => "✗",
        };
        format!("{mark} {:<16} {}", self.what, self.text)
    }
}

/// Prints every finding.
///
/// # Errors
/// When something `make run` needs is not there.
pub(crate) async fn run(dir: &Path, http_port: u16) -> anyhow::Result<()> {
    let mut findings = tools();
    findings.push(port(dir, http_port).await);
    findings.push(disk(dir));
    findings.push(open_files(getrlimit(Resource::Nofile).maximum));
    for finding in &findings {
        say(&finding.line());
    }
    let bad = findings.iter().filter(|finding| finding.mark == Mark::Bad).count();
    anyhow::ensure!(bad == 0, "`make run` will not work yet: see the lines marked ✗");
    say("`make run` will work");
    Ok(())
}

fn tools() -> Vec<Finding> {
    TOOLS
        .iter()
        .map(|tool| {
            let lacking = if tool.needed_for == For::Run { Mark::Bad } else { Mark::Note };
            match tool.look() {
                Found::Fit(path, version) => {
                    let version = version.unwrap_or_default();
                    Finding::new(Mark::Fine, tool.name, format!("{version:<15} {}", path.display()))
                }
                Found::TooOld(why) => Finding::new(lacking, tool.name, why),
                Found::Missing => {
                    let help = match tool.source {
                        Source::Debian(package) => install::command(package),
                        Source::Wheel => wheels::command(),
                        Source::Elsewhere(page) => format!("see {page}"),
                    };
                    let user = tool.needed_for.command();
                    Finding::new(lacking, tool.name, format!("missing, `{user}` needs it: {help}"))
                }
            }
        })
        .collect()
}

async fn port(dir: &Path, port: u16) -> Finding {
    let what = format!("port {port}");
    if data_dir::is_free(port) {
        Finding::new(Mark::Fine, &what, "free")
    } else if control::is_running(dir).await {
        Finding::new(Mark::Note, &what, format!("taken; a stack runs in {}", dir.display()))
    } else {
        Finding::new(Mark::Bad, &what, "taken by another program: choose one with HTTP_PORT=…")
    }
}

fn disk(dir: &Path) -> Finding {
    match check_disk(dir).and_then(|()| free_bytes(dir)) {
        Ok(free) => {
            let text = format!("{} MB free for {}", free / 1_000_000, dir.display());
            Finding::new(Mark::Fine, "disk", text)
        }
        Err(error) => Finding::new(Mark::Bad, "disk", error.to_string()),
    }
}

fn open_files(most: Option<u64>) -> Finding {
    match most {
        Some(most) if most < OPEN_FILES_WANTED => {
            let text = format!(
                "at most {most}: enough to try it; {OPEN_FILES_WANTED} or more (`ulimit -Hn`) for \
                 thousands of watchers"
            );
            Finding::new(Mark::Note, "open files", text)
        }
        Some(most) => Finding::new(Mark::Fine, "open files", format!("at most {most}")),
        None => Finding::new(Mark::Fine, "open files", "no limit"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_open_files_are_worth_a_note_and_no_more() {
        assert_eq!(open_files(Some(1024)).mark, Mark::Note);
        assert_eq!(open_files(Some(OPEN_FILES_WANTED)).mark, Mark::Fine);
        assert_eq!(open_files(None).mark, Mark::Fine);
        assert_eq!(open_files(None).line(), "✓ open files       no limit");
    }
}
