//! What each fault did to buyers: a table of the 202s given from one fault until the next.
//!
//! Pure, but for printing being left to `main`. The closed window of a fault is the longest time in
//! which nobody was told anything decided.
//! Invariant: every 202 of the run is in exactly one row.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::faults::Fault;
use crate::judge::Stores;
use crate::load::Told;

/// One fault and what buyers noticed of it; without a fault, the time before the first.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) at: Duration,
    pub(crate) fault: Option<Fault>,
    pub(crate) closed_ms: u64,
}

/// What became of the 202s of one row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Fates {
    accepted: u64,
    confirmed: u64,
    rejected: u64,
    lost: u64,
    doubled: u64,
}

/// Looks up every 202 in the row it was given in.
fn fates(rows: usize, told: &Told, stores: &Stores) -> Vec<Fates> {
    let mut units: HashMap<u64, i64> = HashMap::new();
    for order in stores.orders.values().filter(|order| order.confirmed) {
        *units.entry(order.user).or_default() += order.quantity;
    }
    let mut fates = vec![Fates::default(); rows];
    for (user, known) in &told.users {
        let Some(accepted) = &known.accepted else { continue };
        let Some(row) = fates.get_mut(known.accepted_in) else { continue };
        row.accepted += 1;
        match stores.orders.get(accepted).map(|order| order.confirmed) {
            Some(true) => row.confirmed += 1,
            Some(false) => row.rejected += 1,
            None => row.lost += 1,
        }
        row.doubled += u64::from(units.get(user).is_some_and(|units| *units > 1));
    }
    fates
}

/// The table, line by line.
pub(crate) fn print(rows: &[Row], told: &Told, stores: &Stores) -> Vec<String> {
    let mut lines = vec![format!(
        "    at s  {:<30} {:>6} {:>9} {:>8} {:>5} {:>7} {:>9}",
        "fault", "202s", "confirmed", "rejected", "lost", "doubled", "closed ms"
    )];
    for (row, fates) in rows.iter().zip(fates(rows.len(), told, stores)) {
        let fault = row.fault.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let Fates { accepted, confirmed, rejected, lost, doubled } = fates;
        lines.push(format!(
            "  {:6.1}  {fault:<30} {accepted:>6} {confirmed:>9} {rejected:>8} {lost:>5} \
             {doubled:>7} {:>9}",
            row.at.as_secs_f64(),
            row.closed_ms
        ));
    }
    lines.extend(closed_windows(rows));
    lines
}

/// Median and maximum of the closed windows, by kind of fault and of all.
fn closed_windows(rows: &[Row]) -> Vec<String> {
    let mut kinds: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for row in rows {
        let Some(fault) = &row.fault else { continue };
        kinds.entry(fault.kind()).or_default().push(row.closed_ms);
    }
    let mut all: Vec<u64> = kinds.values().flatten().copied().collect();
    let line = |kind: &str, windows: &mut Vec<u64>| {
        windows.sort_unstable();
        let (median, longest) = (windows.get(windows.len() / 2)?, windows.last()?);
        let count = windows.len();
        Some(format!("  {kind:<20} {count:>6} {median:>8} {longest:>8}"))
    };
    let head = format!("  {:<20} {:>6} {:>8} {:>8}", "closed window, ms", "faults", "p50", "max");
    let mut lines = vec![String::new(), head];
    lines.extend(kinds.iter_mut().filter_map(|(kind, windows)| line(kind, windows)));
    lines.extend(line("all", &mut all));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Order;
    use crate::load::User;

    fn row(fault: Option<Fault>, closed_ms: u64) -> Row {
        Row { at: Duration::from_secs(1), fault, closed_ms }
    }

    #[test]
    fn each_202_is_counted_in_the_row_it_was_given_in() {
        let mut told = Told::default();
        for (user, row) in [(1, 0), (2, 1), (3, 1), (4, 1)] {
            let accepted = Some(user.to_string());
            told.users.insert(user, User { accepted, accepted_in: row, ..User::default() });
        }
        told.users.insert(9, User::default());
        let order = |user, quantity, confirmed| Order { user, quantity, confirmed };
        let mut stores = Stores::default();
        stores.orders.insert("1".into(), order(1, 1, true));
        stores.orders.insert("2".into(), order(2, 2, true));
        stores.orders.insert("3".into(), order(3, 1, false));
        let first = Fates { accepted: 1, confirmed: 1, ..Fates::default() };
        let second = Fates { accepted: 3, confirmed: 1, rejected: 1, lost: 1, doubled: 1 };
        assert_eq!(fates(2, &told, &stores), [first, second]);
    }

    #[test]
    fn closed_windows_are_summed_up_by_kind() {
        let kill = |name, ms| row(Some(Fault::Kill(name)), ms);
        let rows = [row(None, 9_999), kill("edge-1", 30), kill("edge-2", 10), kill("redis", 400)];
        let lines = closed_windows(&rows).join("\n");
        let has = |words: &[&str]| {
            lines.lines().any(|line| line.split_whitespace().eq(words.iter().copied()))
        };
        assert!(has(&["kill", "-9", "edge", "2", "30", "30"]), "{lines}");
        assert!(has(&["kill", "-9", "redis", "1", "400", "400"]), "{lines}");
        assert!(has(&["all", "3", "30", "400"]), "{lines}");
    }
}
