//! What people are told when their machine lacks something, before anything is started.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const STACK: &str = env!("CARGO_BIN_EXE_stack");

fn run(command: &mut Command, dir: &Path) -> Output {
    command.env("STACK_DIR", dir).env("HTTP_PORT", "0").stdin(Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[test]
fn doctor_finds_what_is_here_and_names_the_command_for_what_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let healthy = run(Command::new(STACK).arg("doctor"), dir.path());
    let text = said(&healthy);
    assert!(healthy.status.success(), "{text}");
    for line in ["✓ redis-server", "✓ rabbitmq-server", "✓ postgres", "✓ nginx", "✓ disk"]
    {
        assert!(text.contains(line), "{line}: {text}");
    }
    let bare = run(Command::new(STACK).arg("doctor").env("PATH", "/nowhere"), dir.path());
    let text = said(&bare);
    assert!(!bare.status.success());
    let lacking = text.lines().find(|line| line.starts_with("✗ redis-server")).unwrap();
    assert!(lacking.contains("apt-get install") && lacking.ends_with(" redis-server"), "{text}");
    assert!(text.contains("• k6"), "what only the load test needs is no obstacle: {text}");
}

#[test]
fn a_redis_that_is_too_old_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("redis-server");
    std::fs::write(&old, "#!/bin/sh\necho 'Redis server v=6.2.14 sha=00000000:0 bits=64'\n")
        .unwrap();
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let dir = folder.path().join("stack");
    let output = run(Command::new(STACK).arg("up").env("PATH", path), &dir);
    let text = said(&output);
    assert!(!output.status.success());
    assert!(text.contains("6.2.14, and 7.0 or newer is needed: older ones do not take"), "{text}");
    assert!(!text.contains("starting"), "{text}");
}

#[test]
fn a_full_disk_is_named_before_anything_is_started() {
    let folder = tempfile::tempdir().unwrap();
    // A small disk of its own, in a mount namespace of its own.
    let script = "mount -t tmpfs -o size=8m tmpfs \"$STACK_DIR\" && exec \"$0\" up";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, STACK]);
    let output = run(&mut command, folder.path());
    let text = said(&output);
    assert!(!output.status.success());
    assert!(text.contains("the disk is full") && text.contains("8 MB left"), "{text}");
    assert!(!text.contains("starting"), "{text}");
}
