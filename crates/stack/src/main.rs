//! The stack program: parses the command line and runs it.

use clap::Parser;
use stack::cli::{Cli, run};

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(run(cli));
    // Output that is still being copied must not hold up the exit.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    result
}
