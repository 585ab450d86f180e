//! Settings both programs take, from flags or the environment.
//!
//! Invariant: nothing else in the programs reads the environment, and no secret has a default or
//! is shown in help.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::redis_url::RedisUrl;

/// Where the three servers are.
#[derive(Debug, Clone, Args)]
pub struct ServerSettings {
    /// Redis 7 or newer, `redis://[user:password@]host:port/db`, or a Redis Cluster by some of its
    /// nodes, `redis+cluster://[user:password@]host:port,host:port,…`
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_parser = parse_url)]
    pub redis_url: String,
    /// RabbitMQ, `amqp://user:password@host:port/vhost`
    #[arg(long, env = "AMQP_URL", hide_env_values = true, value_parser = parse_url)]
    pub amqp_url: String,
    /// PostgreSQL, `postgresql://user:password@host:port/database`
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_parser = parse_url)]
    pub database_url: String,
}

/// What people call this process.
#[derive(Debug, Clone, Args)]
pub struct InstanceSettings {
    /// Name of this process on `/ws/stats`, unique among its kind; the host's name and the port it
    /// serves when absent
    #[arg(long, env = "INSTANCE_NAME", value_parser = parse_name)]
    pub instance_name: Option<String>,
}

impl InstanceSettings {
    /// The name of a process that serves `address`.
    pub fn name(&self, address: SocketAddr) -> String {
        self.instance_name.clone().unwrap_or_else(|| {
            let host = rustix::system::uname();
            format!("{}:{}", host.nodename().to_string_lossy(), address.port())
        })
    }
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

/// Refuses a URL that asks for TLS when this build has none, or names a Redis Cluster in another
/// form; for clap's `value_parser`. What else may be wrong with it is told by whoever connects.
///
/// # Errors
/// When TLS is asked for and was not built in, or a cluster's nodes are not `host:port`.
pub fn parse_url(text: &str) -> Result<String, String> {
    let schemes = ["rediss://", "rediss+cluster://", "amqps://"];
    let asked = schemes.into_iter().find(|scheme| text.starts_with(scheme));
    let modes = ["sslmode=require", "sslmode=verify-full"];
    let asked = asked.or_else(|| modes.into_iter().find(|mode| text.contains(mode)));
    match asked {
        Some(asked) if !cfg!(feature = "tls") => {
            Err(format!("{asked} needs a build with `--features tls`"))
        }
        _ if text.contains("sslmode=verify-ca") => {
            Err("sslmode=verify-ca is not supported: use verify-full".to_owned())
        }
        _ => RedisUrl::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string()),
    }
}

/// A name people can read, as long as a host's may be.
fn parse_name(text: &str) -> Result<String, String> {
    let is_name = (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    is_name.then(|| text.to_owned()).ok_or_else(|| "must be 1 to 64 visible characters".to_owned())
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

/// A secret from its own setting, or from a file, where a newline at the end does not count; `None`
/// when neither is set.
///
/// # Errors
/// When the file cannot be read; the error names it.
pub fn read_secret(value: Option<&str>, file: Option<&Path>) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = file else { return Ok(value.map(|text| text.as_bytes().to_vec())) };
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    let mut bytes = std::fs::read(file).map_err(named)?;
    for end in [b'\n', b'\r'] {
        if bytes.last() == Some(&end) {
            bytes.pop();
        }
    }
    Ok(Some(bytes))
}

/// The folder that arms kill points; see [`crate::kill_point`].
#[cfg(feature = "kill-points")]
pub(crate) fn kill_points_folder() -> Option<std::path::PathBuf> {
    std::env::var_os("KILL_POINTS").map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_taken_exactly_when_it_was_built_in() {
        for url in [
            "rediss://h/",
            "rediss+cluster://h:1",
            "amqps://h/",
            "postgresql://h/d?sslmode=verify-full",
        ] {
            assert_eq!(parse_url(url).is_ok(), cfg!(feature = "tls"), "{url}");
        }
        for url in ["redis://h/", "amqp://h/%2f", "postgresql://h/d?sslmode=prefer"] {
            assert_eq!(parse_url(url).as_deref(), Ok(url));
        }
        assert!(parse_url("postgresql://h/d?sslmode=verify-ca").is_err());
        assert!(parse_url("redis+cluster://h:1,i:2").is_ok());
        assert!(parse_url("redis+cluster://h").is_err());
    }

    #[test]
    fn a_secret_comes_from_its_file_without_the_newline() {
        let file = std::env::temp_dir().join(format!("secret-{}", std::process::id()));
        for (text, secret) in
            [("key", "key"), ("key\n", "key"), ("key\r\n", "key"), ("k\n\n", "k\n")]
        {
            std::fs::write(&file, text).unwrap();
            assert_eq!(read_secret(None, Some(&file)).unwrap().unwrap(), secret.as_bytes());
        }
        std::fs::remove_file(&file).unwrap();
        let error = read_secret(Some("key"), Some(&file)).unwrap_err().to_string();
        assert!(error.contains("secret-"), "{error}");
        assert_eq!(read_secret(Some("key"), None).unwrap().unwrap(), b"key");
        assert_eq!(read_secret(None, None).unwrap(), None);
    }

    #[test]
    fn a_process_is_called_what_it_was_told_or_by_its_host_and_port() {
        let address = "127.0.0.1:8081".parse().unwrap();
        let own = InstanceSettings { instance_name: Some("edge-1".to_owned()) };
        assert_eq!(own.name(address), "edge-1");
        let name = InstanceSettings { instance_name: None }.name(address);
        assert!(name.len() > ":8081".len() && name.ends_with(":8081"), "{name}");
        assert_eq!(parse_name("edge 1 (Bangkok)").as_deref(), Ok("edge 1 (Bangkok)"));
        for bad in ["", "a\nb", &"x".repeat(65)] {
            assert!(parse_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn milliseconds_are_whole_and_positive() {
        assert_eq!(parse_ms("250"), Ok(Duration::from_millis(250)));
        for bad in ["0", "-1", "1.5", "", "1s"] {
            assert!(parse_ms(bad).is_err(), "{bad}");
        }
    }
}
