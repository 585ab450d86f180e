//! The edge program: settings, telemetry, app, run.

use std::process::ExitCode;

use clap::Parser;
use edge::app;
use edge::settings::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<ExitCode> {
    let command = Cli::parse().command;
    let threads = match &command {
        Command::Run(settings) => usize::from(settings.worker_threads),
        Command::Healthcheck(_) => 1,
    };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()?
        .block_on(run(command))
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(settings) => {
            service::telemetry::init(&settings.log).map_err(anyhow::Error::msg)?;
            tracing::debug!(files = service::limits::raise_open_files(), "files that may be open");
            let stop = service::shutdown::on_signal()?;
            app::run(*settings, stop).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Healthcheck(settings) => {
            Ok(service::healthcheck::report(settings.http_addr).await)
        }
    }
}
