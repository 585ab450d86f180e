//! Settings both programs take, from flags or the environment.
//!
//! Invariant: nothing else in the programs reads the environment, and no secret has a default or
//! is shown in help.

use std::time::Duration;

use clap::{Args, ValueEnum};

/// Where the three servers are.
#[derive(Debug, Clone, Args)]
pub struct ServerSettings {
    /// Redis 7 or newer, `redis://[user:password@]host:port/db`
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    pub redis_url: String,
    /// RabbitMQ, `amqp://user:password@host:port/vhost`
    #[arg(long, env = "AMQP_URL", hide_env_values = true)]
    pub amqp_url: String,
    /// PostgreSQL, `postgresql://user:password@host:port/database`
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
}

/// How the process writes its log.
#[derive(Debug, Clone, Args)]
pub struct LogSettings {
    /// Shape of log lines
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// What is logged, as `level` or `target=level,…`
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,
}

/// Shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Reads a whole number of milliseconds, for clap's `value_parser`.
///
/// # Errors
/// When the text is not a whole number or is 0.
pub fn parse_ms(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(ms) if ms > 0 => Ok(Duration::from_millis(ms)),
        _ => Err("must be a whole number of milliseconds, at least 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_whole_and_positive() {
        assert_eq!(parse_ms("250"), Ok(Duration::from_millis(250)));
        for bad in ["0", "-1", "1.5", "", "1s"] {
            assert!(parse_ms(bad).is_err(), "{bad}");
        }
    }
}
