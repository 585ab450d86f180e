//! Logging and the metrics registry. Log lines go to stderr; the few lines for a person watching
//! the start go to stdout.

use std::fmt::Write as _;

use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;

use crate::settings::{LogFormat, LogSettings};

/// Media type of [`encode_metrics`].
pub const METRICS_MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Asking whether a queue exists closes the channel when it does not, which lapin calls an error.
/// Whatever matters of a channel our own lines say.
const QUIET: &str = "lapin::channel=off";

/// Installs the log writer for the whole process.
///
/// # Errors
/// When `log_level` is not a valid filter.
pub fn init(settings: &LogSettings) -> Result<(), String> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", settings.log_level))
        .map_err(|error| format!("log level {:?}: {error}", settings.log_level))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = match settings.log_format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    installed.map_err(|error| error.to_string())
}

/// Tells a person watching the start that a server was reached.
#[expect(clippy::print_stdout, reason = "the one line meant for the terminal, not the log")]
pub fn announce_connected(server: &str) {
    println!("✅ Connected to {server}!");
}

/// The registry in the OpenMetrics text format.
pub fn encode_metrics(registry: &Registry) -> String {
    let mut text = String::new();
    if let Err(error) = prometheus_client::encoding::text::encode(&mut text, registry) {
        text.clear();
        // Writing to a String cannot fail; a metric that cannot encode itself is a defect.
        let _ = write!(text, "# encoding failed: {error}\n# EOF\n");
    }
    text
}

/// Histogram buckets for latencies, in seconds, from 0.25 ms to 8 s.
pub fn latency_buckets() -> impl Iterator<Item = f64> {
    prometheus_client::metrics::histogram::exponential_buckets(0.000_25, 2.0, 16)
}

/// Histogram buckets for batch sizes, from 1 to 1024.
pub fn size_buckets() -> impl Iterator<Item = f64> {
    prometheus_client::metrics::histogram::exponential_buckets(1.0, 2.0, 11)
}
