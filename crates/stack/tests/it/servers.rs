//! The servers alone: reachable by their URLs, supervised, stopped, cleaned up after.

use std::path::Path;
use std::process::{Command, Stdio};

use stack::{ProcessStatus, Server, Stack, StackOptions, State};
use tokio_postgres::NoTls;

use crate::wait::wait_until;

async fn ping_redis(url: &str) -> Option<String> {
    let client = redis::Client::open(url).ok()?;
    let mut connection = client.get_multiplexed_async_connection().await.ok()?;
    redis::cmd("PING").query_async(&mut connection).await.ok()
}

async fn ask_postgres(url: &str, query: &str) -> Option<i32> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.ok()?;
    tokio::spawn(connection);
    client.query_one(query, &[]).await.ok().map(|row| row.get(0))
}

async fn reach_rabbitmq(url: &str) -> bool {
    let properties = lapin::ConnectionProperties::default();
    lapin::Connection::connect(url, properties).await.is_ok()
}

fn process(stack: &Stack, name: &str) -> ProcessStatus {
    stack.status().processes.into_iter().find(|process| process.name == name).unwrap()
}

fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_server_answers_at_its_url_and_comes_back_with_its_data_when_killed() {
    let stack = Stack::start(StackOptions::servers(&Server::ALL)).await.unwrap();
    assert_eq!(ping_redis(stack.redis_url()).await.as_deref(), Some("PONG"));
    assert_eq!(ask_postgres(stack.database_url(), "SELECT 1").await, Some(1));
    assert!(reach_rabbitmq(stack.amqp_url()).await);
    for (program, args) in [
        ("redis-cli", ["-u", stack.redis_url(), "ping"]),
        ("psql", [stack.database_url(), "-c", "SELECT 1"]),
    ] {
        let output = Command::new(program).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("PONG") || said.contains("(1 row)"), "{program}: {said}");
    }
    let make = "CREATE TABLE kept AS SELECT 42 AS n";
    let (client, connection) = tokio_postgres::connect(stack.database_url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(make).await.unwrap();

    let names = ["redis", "postgres", "rabbitmq"];
    for name in names {
        let before = process(&stack, name);
        assert_eq!(before.state, State::Running, "{name}");
        stack.kill(name, "KILL").await.unwrap();
        wait_until(&format!("{name} is back"), || async {
            let now = process(&stack, name);
            now.state == State::Running && now.pid != before.pid
        })
        .await;
        assert_eq!(process(&stack, name).url, before.url, "the same port");
    }
    wait_until("redis answers again", || async { ping_redis(stack.redis_url()).await.is_some() })
        .await;
    wait_until("postgres kept its data", || async {
        ask_postgres(stack.database_url(), "SELECT n FROM kept").await == Some(42)
    })
    .await;
    wait_until("rabbitmq answers again", || reach_rabbitmq(stack.amqp_url())).await;

    let pids: Vec<_> = names.map(|name| process(&stack, name).pid).into();
    stack.shutdown().await;
    assert!(!pids.iter().any(|pid| is_alive(*pid)), "a shutdown leaves nothing running");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_process_stays_down_until_it_is_started() {
    let stack = Stack::start(StackOptions::servers(&[Server::Redis])).await.unwrap();
    stack.stop("redis").await.unwrap();
    let stopped = process(&stack, "redis");
    assert_eq!((stopped.state, stopped.pid), (State::Stopped, 0));
    assert!(!stack.status().ready);
    assert!(stack.kill("redis", "KILL").await.is_err(), "nothing to kill");
    stack.resume("redis").await.unwrap();
    stack.wait_ready().await.unwrap();
    assert_eq!(ping_redis(stack.redis_url()).await.as_deref(), Some("PONG"));
    let error = stack.stop("redys").await.unwrap_err().to_string();
    assert!(error.contains("redis"), "the error names what there is: {error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_stack_leaves_nothing_running() {
    let stack = Stack::start(StackOptions::servers(&[Server::Redis])).await.unwrap();
    let pid = process(&stack, "redis").pid;
    assert!(is_alive(pid));
    drop(stack);
    wait_until("redis is gone", || async { !is_alive(pid) }).await;
}

fn stack_command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stack"));
    command.args(args).env("STACK_DIR", dir).env("HTTP_PORT", "0").stdin(Stdio::null());
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_without_a_stack_say_so_and_fail() {
    let folder = tempfile::tempdir().unwrap();
    for args in [&["status", "--json"][..], &["stop", "redis"], &["down"], &["loadtest"]] {
        let output = stack_command(folder.path(), args).output().unwrap();
        assert!(!output.status.success(), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}: stdout is for results");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("no stack runs in"), "{args:?}: {said}");
    }
    let output = stack_command(folder.path(), &["reset"]).output().unwrap();
    assert!(!output.status.success(), "a directory that holds no stack is not deleted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_thread_of_an_edge_is_scheduled_in_batches() {
    let stack = Stack::start(StackOptions { edges: 1, ..StackOptions::default() }).await.unwrap();
    let edge = process(&stack, "edge-1").pid;
    let threads = std::fs::read_dir(format!("/proc/{edge}/task")).unwrap().flatten();
    let policies: Vec<String> = threads
        // A thread may end meanwhile.
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok())
        // Field 41 is the policy, 3 is SCHED_BATCH (proc(5), sched.h); field 3 follows the name.
        .map(|stat| stat.rsplit_once(") ").unwrap().1.split(' ').nth(38).unwrap().to_owned())
        .collect();
    // Where the system refuses that, as in a sandbox, an edge runs as it is.
    let tried = Command::new("chrt").args(["--batch", "0", "true"]).status();
    let policy = if tried.is_ok_and(|status| status.success()) { "3" } else { "0" };
    assert!(policies.len() > 1 && policies.iter().all(|now| now == policy), "{policies:?}");
    stack.shutdown().await;
}
