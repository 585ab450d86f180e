//! A short run of the program, as a person starts it.

use std::process::Command;

#[test]
fn a_short_run_loses_nothing_and_says_so() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
    let output = command.args(["--seconds", "10", "--seed", "3"]).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    for line in [
        "SEED=3",
        "kill -9",
        "✓ I3 every 202 has its outcome",
        "✓ I10",
        "closed window, ms",
        "every invariant holds",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}
