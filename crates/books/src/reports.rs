//! The last look at the books, kept for whoever asks an edge for it.

use deadpool_postgres::GenericClient;
use service::postgres::DatabaseError;

const STORE_REPORT: &str = include_str!("../../../sql/store_report.sql");
const FIND_REPORT: &str = include_str!("../../../sql/find_report.sql");

/// A report older than this says nothing of now: nobody leads.
const AGE_MAX_SECONDS: i64 = 600;

/// Keeps a report in place of the one before.
///
/// # Errors
/// When the database does not answer.
pub async fn store(client: &impl GenericClient, report: &str) -> Result<(), DatabaseError> {
    let statement = client.prepare_cached(STORE_REPORT).await?;
    client.execute(&statement, &[&report]).await?;
    Ok(())
}

/// The last report, unless it is too old.
///
/// # Errors
/// When the database does not answer.
pub async fn find(client: &impl GenericClient) -> Result<Option<String>, DatabaseError> {
    let statement = client.prepare_cached(FIND_REPORT).await?;
    let row = client.query_opt(&statement, &[&AGE_MAX_SECONDS]).await?;
    Ok(row.map(|row| row.get("report")))
}
