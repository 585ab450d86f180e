//! A stack that is killed with -9 takes everything it started with it: whoever ran it, such as a
//! test runner at its timeout, has nobody to clean up after.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::wait::wait_until;

/// A process that lives: who started it, and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    parent: u32,
    name: String,
}

/// Everything that runs, zombies aside (fields 2, 3 and 4 of `/proc/pid/stat`, proc(5)).
fn processes() -> BTreeMap<u32, Process> {
    let stats = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = stats.filter_map(|e| std::fs::read_to_string(e.path().join("stat")).ok());
    let read = |stat: String| {
        let (pid, rest) = stat.split_once(" (")?;
        let (name, fields) = rest.rsplit_once(") ")?;
        let mut fields = fields.split(' ');
        let living = !matches!(fields.next()?, "Z" | "X");
        let (pid, parent) = (pid.parse().ok()?, fields.next()?.parse().ok()?);
        living.then(|| (pid, Process { parent, name: name.to_owned() }))
    };
    stats.filter_map(read).collect()
}

/// Everything a process started, and what that started.
fn descendants(of: u32) -> BTreeMap<u32, Process> {
    let all = processes();
    let mut found = BTreeMap::new();
    let mut open = vec![of];
    while let Some(parent) = open.pop() {
        let children = all.iter().filter(|(_, process)| process.parent == parent);
        open.extend(children.clone().map(|(pid, _)| *pid));
        found.extend(children.map(|(pid, process)| (*pid, process.clone())));
    }
    found
}

/// Those of them that still run.
fn survivors(of: &BTreeMap<u32, Process>) -> Vec<String> {
    let now = processes();
    let same = |pid: &u32, name: &str| now.get(pid).is_some_and(|process| process.name == name);
    let left = of.iter().filter(|(pid, process)| same(pid, &process.name));
    left.map(|(pid, process)| format!("{} {pid}", process.name)).collect()
}

fn up(dir: &Path) -> tokio::process::Child {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_stack"));
    command.kill_on_drop(true);
    command.arg("up").env("STACK_DIR", dir).env("HTTP_PORT", "0").env("EDGES", "1");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

async fn is_ready(dir: &Path) -> bool {
    let mut status = Command::new(env!("CARGO_BIN_EXE_stack"));
    let said = status.args(["status"]).env("STACK_DIR", dir).output().unwrap();
    String::from_utf8_lossy(&said.stdout).lines().next().is_some_and(|l| l.ends_with("  ready"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_stack_leaves_nothing_running() {
    let folder = tempfile::tempdir().unwrap();
    let mut stack = up(folder.path());
    wait_until("the stack is ready", || is_ready(folder.path())).await;
    let started = descendants(stack.id().unwrap());
    let names: BTreeSet<&str> = started.values().map(|process| process.name.as_str()).collect();
    for name in ["redis-server", "beam.smp", "epmd", "postgres", "nginx", "edge", "settler"] {
        assert!(names.contains(name), "{name} is not among {names:?}");
    }
    assert!(started.values().filter(|process| process.name == "postgres").count() > 3, "{names:?}");
    stack.kill().await.unwrap();
    wait_until("nothing of it runs", || async { survivors(&started).is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stack_killed_while_it_starts_leaves_nothing_running() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let mut stack = up(&root);
    let began = |name: &'static str| {
        let id = stack.id().unwrap();
        async move { descendants(id).values().any(|process| process.name == name) }
    };
    // The broker takes seconds from here: nothing is ready, and more would be started.
    wait_until("the broker starts", || began("epmd")).await;
    stack.kill().await.unwrap();
    let names = || {
        let logs = root.join("logs");
        let fds = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/fd/2"));
        let theirs = move |pid: &u32| fds(pid).is_ok_and(|path| path.starts_with(&logs));
        processes().into_keys().filter(theirs).collect::<Vec<_>>()
    };
    wait_until("nothing of it runs", || async { names().is_empty() }).await;
}
