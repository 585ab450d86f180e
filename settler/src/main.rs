//! The settler program: settings, telemetry, app, run.

use clap::Parser;
use settler::settings::{Cli, Command};
use settler::{app, commands};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let threads = match &Cli::parse().command {
        Command::Run(settings) => usize::from(settings.worker_threads),
        Command::Migrate(_) | Command::Demo(_) => 1,
    };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()?
        .block_on(run(Cli::parse()))
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Run(settings) => {
            service::telemetry::init(&settings.log).map_err(anyhow::Error::msg)?;
            let stop = service::shutdown::on_signal()?;
            app::run(settings, stop).await
        }
        Command::Migrate(settings) => commands::migrate(&settings).await,
        Command::Demo(settings) => commands::load_demo(&settings).await,
    }
}
