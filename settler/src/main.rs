//! The settler program: settings, telemetry, app, run.

use std::process::ExitCode;

use clap::Parser;
use settler::settings::{Cli, Command};
use settler::{app, commands, dead, sale_command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<ExitCode> {
    let command = Cli::parse().command;
    let threads = match &command {
        Command::Run(settings) => usize::from(settings.worker_threads),
        _ => 1,
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
            let stop = service::shutdown::on_signal()?;
            app::run(settings, stop).await?;
        }
        Command::Migrate(settings) => commands::migrate(&settings).await?,
        Command::Demo(settings) => commands::load_demo(&settings).await?,
        Command::Dead(settings) => return dead::run(&settings).await,
        Command::Reconcile(settings) => return commands::reconcile(&settings).await,
        Command::Sale(settings) => return sale_command::run(&settings).await,
        Command::Healthcheck(settings) => {
            return Ok(service::healthcheck::report(settings.probe_addr).await);
        }
    }
    Ok(ExitCode::SUCCESS)
}
