//! The edge program: settings, telemetry, app, run.

use clap::Parser;
use edge::app;
use edge::settings::Settings;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    service::telemetry::init(&settings.log).map_err(anyhow::Error::msg)?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(usize::from(settings.worker_threads))
        .enable_all()
        .build()?
        .block_on(async {
            let stop = service::shutdown::on_signal()?;
            app::run(settings, stop).await
        })
}
