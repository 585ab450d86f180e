//! Asks a running program whether it is ready, for containers whose image has no curl.
//!
//! Owns one request to `/readyz?verbose`; what ready means is the asked program's affair.
//! Invariant: the answer comes within three seconds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Shorter than the interval of any sensible health check.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// A report has a line for each of a handful of parts.
const REPORT_BYTES_MAX: usize = 16 * 1024;

/// Asks the program that listens on `address`; its report, a line for each part it needs.
///
/// # Errors
/// When nothing answers in 3 s, or the program is not ready; then the error is the report.
pub async fn ask(address: SocketAddr) -> Result<String, String> {
    let address = reachable(address);
    match tokio::time::timeout(ANSWER_MAX, read_report(address)).await {
        Ok(Ok((StatusCode::OK, report))) => Ok(report),
        Ok(Ok((_, report))) => Err(report),
        Ok(Err(error)) => Err(format!("{address}: {error}\n")),
        Err(_) => Err(format!("{address}: no answer within {} s\n", ANSWER_MAX.as_secs())),
    }
}

/// Asks, prints what was said, and says so in the exit code: 0 when ready, 1 when not.
#[expect(clippy::print_stdout, reason = "the report is what the command is for")]
pub async fn report(address: SocketAddr) -> ExitCode {
    let answer = ask(address).await;
    let (Ok(said) | Err(said)) = &answer;
    print!("{said}");
    if answer.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A program that listens everywhere is asked over loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

async fn read_report(
    address: SocketAddr,
) -> Result<(StatusCode, String), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get("/readyz?verbose")
        .header(HOST, address.to_string())
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), REPORT_BYTES_MAX).collect().await?;
    connection.abort();
    Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_listens_everywhere_is_asked_over_loopback() {
        let asked = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:8081"), "127.0.0.1:8081");
        assert_eq!(asked("[::]:8081"), "[::1]:8081");
        assert_eq!(asked("10.0.0.7:8081"), "10.0.0.7:8081");
    }
}
