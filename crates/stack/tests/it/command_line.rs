//! The `stack` program as a person and a script use it.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use stack::Status;

use crate::buyer::buy;
use crate::wait::wait_until;

fn stack_command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stack"));
    command.args(args).env("STACK_DIR", dir).env("HTTP_PORT", "0").env("STOCK", "7");
    command.stdin(Stdio::null());
    command
}

fn run(dir: &Path, args: &[&str]) -> Output {
    stack_command(dir, args).output().unwrap()
}

fn status(dir: &Path) -> Option<Status> {
    let output = run(dir, &["status", "--json"]);
    output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
}

fn up(dir: &Path) -> Child {
    let log = std::fs::File::create(dir.with_extension("out")).unwrap();
    stack_command(dir, &["up"]).stdout(log).spawn().unwrap()
}

async fn ready(dir: &Path) -> Status {
    let mut found = None;
    wait_until("the stack is ready", || {
        found = status(dir).filter(|status| status.ready);
        std::future::ready(found.is_some())
    })
    .await;
    found.unwrap()
}

fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_serves_survives_a_kill_of_itself_keeps_its_data_and_goes_down_whole() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("stack");
    let mut first = up(&dir);
    let before = ready(&dir).await;
    let names: Vec<_> = before.processes.iter().map(|p| p.name.as_str()).collect();
    let all = ["redis", "rabbitmq", "postgres", "settler-1", "edge-1", "edge-2", "edge-3", "nginx"];
    assert_eq!(names, all);
    let programs: Vec<_> = before.processes.iter().map(|p| (p.name.as_str(), p.pid)).collect();
    for (name, pid) in programs {
        let command = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        let expected = match name {
            "redis" => "redis-server",
            "rabbitmq" => "beam.smp",
            other => other.split('-').next().unwrap(),
        };
        assert_eq!(command.trim(), expected, "{name}: the server itself, not a wrapper");
    }
    assert_eq!(buy(&before.http, 1).await.unwrap().status, 202);
    let second = run(&dir, &["up"]);
    assert!(!second.status.success(), "one stack a directory");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("already"), "{said}");
    assert!(!run(&dir, &["reset"]).status.success(), "a running stack is not deleted");

    // Killed itself, it cannot stop anything; the next start cleans up.
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(before.processes.iter().any(|p| is_alive(p.pid)), "something was left behind");
    let mut next = up(&dir);
    let after = ready(&dir).await;
    assert!(!before.processes.iter().any(|p| is_alive(p.pid)), "what was left is cleaned up");
    let terminal = std::fs::read_to_string(dir.with_extension("out")).unwrap();
    for line in
        ["used before, its data is kept", "✅ Connected to Database!", "✅ Connected to RabbitMQ!"]
    {
        assert!(terminal.contains(line), "{line}: {terminal}");
    }
    let again = buy(&after.http, 1).await.unwrap();
    assert_eq!(again.status, 409, "the order of the first life is known");

    assert!(run(&dir, &["kill", "edge-2"]).status.success());
    wait_until("edge-2 is back", || {
        let now = status(&dir).unwrap();
        let pid = |status: &Status| status.processes[5].pid;
        std::future::ready(now.ready && pid(&now) != pid(&after))
    })
    .await;
    assert!(run(&dir, &["down"]).status.success());
    next.wait().unwrap();
    let left: Vec<_> = after.processes.iter().filter(|p| is_alive(p.pid)).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(run(&dir, &["reset"]).status.success());
    assert!(!dir.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_named_before_anything_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = stack_command(folder.path(), &["up"]).env("HTTP_PORT", &port).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&port) && said.contains("HTTP_PORT"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_process_has_a_successor() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("stack");
    let mut child = up(&dir);
    let before = ready(&dir).await;
    for name in ["edge-1", "settler-1", "redis", "nginx"] {
        let pid = |status: &Status| status.processes.iter().find(|p| p.name == name).unwrap().pid;
        let old = pid(&before);
        assert!(run(&dir, &["kill", name]).status.success());
        wait_until(&format!("{name} has a successor"), || {
            let now = pid(&status(&dir).unwrap());
            std::future::ready(now != old && now != 0)
        })
        .await;
    }
    let json: Value = serde_json::from_slice(&run(&dir, &["status", "--json"]).stdout).unwrap();
    assert!(json["http"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    assert!(run(&dir, &["down"]).status.success());
    child.wait().unwrap();
}
