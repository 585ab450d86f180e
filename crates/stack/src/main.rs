//! The stack program: parses the command line and runs it.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use stack::cli::{Cli, run};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A person reads this: what went wrong and why, without a backtrace.
            let _ = writeln!(std::io::stderr(), "stack: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(run(cli));
    // Output that is still being copied must not hold up the exit.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    result
}
