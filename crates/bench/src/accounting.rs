//! What processes cost, by the kernel's own accounting: CPU time, context switches, memory.
//!
//! A group is a process with everything it started. Source: proc(5). Memory is the proportional set
//! size, so that pages many processes share are counted once.

use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;
use stack::Stack;

/// The kernel counts CPU time for user space in hundredths of a second (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// What a group cost during one measurement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    /// Per million of what the row counts.
    pub(crate) cpu_seconds_per_million: f64,
    pub(crate) context_switches: u64,
    /// At the end.
    pub(crate) memory_bytes: u64,
}

/// Counters of one group at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    cpu_ticks: u64,
    switches: u64,
    memory_bytes: u64,
}

/// Counters of every group at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot(BTreeMap<&'static str, Counters>);

/// The groups of a stack, and this program with the load generators it ran.
#[derive(Debug, Clone)]
pub(crate) struct Meter(Vec<(&'static str, u32)>);

impl Meter {
    /// Every process of the stack that runs now.
    pub(crate) fn of(stack: &Stack) -> Self {
        let processes = stack.status().processes.into_iter();
        Self(processes.map(|process| (group_of(&process.name), process.pid)).collect())
    }

    pub(crate) fn read(&self) -> Snapshot {
        let children = children_by_parent();
        let mut groups: BTreeMap<&'static str, Counters> = BTreeMap::new();
        for (group, root) in &self.0 {
            let counters = groups.entry(*group).or_default();
            for pid in with_descendants(*root, &children) {
                add_process(counters, pid);
            }
        }
        let own = read_stat("self").unwrap_or_default();
        groups.insert("wrk", Counters { cpu_ticks: own.waited_ticks, ..Counters::default() });
        let mut driver = Counters { cpu_ticks: own.ticks, ..Counters::default() };
        driver.switches = switches("self");
        groups.insert("driver", driver);
        Snapshot(groups)
    }
}

impl Snapshot {
    /// Memory of one group, bytes.
    pub(crate) fn memory_of(&self, group: &str) -> u64 {
        self.0.get(group).map_or(0, |counters| counters.memory_bytes)
    }

    /// What was spent since `earlier`, while so many were counted. Idle groups are left out.
    #[expect(clippy::cast_precision_loss, reason = "counters far below 2^53")]
    pub(crate) fn since(&self, earlier: &Self, counted: u64) -> BTreeMap<&'static str, Usage> {
        let usage = self.0.iter().map(|(group, now)| {
            let then = earlier.0.get(group).copied().unwrap_or_default();
            let ticks = now.cpu_ticks.saturating_sub(then.cpu_ticks);
            let cpu_seconds = ticks as f64 / TICKS_PER_SECOND;
            let usage = Usage {
                cpu_seconds,
                cpu_seconds_per_million: cpu_seconds * 1e6 / counted.max(1) as f64,
                context_switches: now.switches.saturating_sub(then.switches),
                memory_bytes: now.memory_bytes,
            };
            (*group, usage)
        });
        usage.filter(|(_, usage)| usage.cpu_seconds > 0.0 || usage.memory_bytes > 0).collect()
    }
}

/// Adds what a second measurement of the same thing cost.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
pub(crate) fn add(
    sum: &mut BTreeMap<&'static str, Usage>,
    more: &BTreeMap<&'static str, Usage>,
    counted: u64,
) {
    for (group, usage) in more {
        let total = sum.entry(group).or_default();
        total.cpu_seconds += usage.cpu_seconds;
        total.cpu_seconds_per_million = total.cpu_seconds * 1e6 / counted.max(1) as f64;
        total.context_switches += usage.context_switches;
        total.memory_bytes = usage.memory_bytes;
    }
}

/// Resident memory of one process, bytes.
pub(crate) fn resident_bytes(pid: u32) -> u64 {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default(), "VmRSS:")
}

/// The process id and resident bytes of every process of the stack whose name begins so.
pub(crate) fn resident_of(stack: &Stack, prefix: &str) -> u64 {
    let processes = stack.status().processes.into_iter();
    let named = processes.filter(|process| process.name.starts_with(prefix));
    named.map(|process| resident_bytes(process.pid)).sum()
}

fn group_of(process: &str) -> &'static str {
    match process.split('-').next() {
        Some("nginx") => "nginx",
        Some("edge") => "edges",
        Some("redis") => "redis",
        Some("rabbitmq") => "rabbitmq",
        Some("postgres") => "postgres",
        Some("settler") => "settler",
        _ => "other",
    }
}

/// What `/proc/PID/stat` says, in ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// Of all its threads, those that ended included.
    ticks: u64,
    /// Of children that ended and were waited for.
    waited_ticks: u64,
}

fn read_stat(pid: &str) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Fields 4 and 14 to 17; the name in field 2 may hold spaces and parentheses.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        ticks: number(11)? + number(12)?,
        waited_ticks: number(13)? + number(14)?,
    })
}

fn children_by_parent() -> BTreeMap<u32, Vec<u32>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(stat) = read_stat(&format!("{pid}")) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    children
}

fn with_descendants(root: u32, children: &BTreeMap<u32, Vec<u32>>) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        found.extend(children.get(&pid).into_iter().flatten());
        next += 1;
    }
    found
}

fn add_process(counters: &mut Counters, pid: u32) {
    let name = pid.to_string();
    let Some(stat) = read_stat(&name) else { return };
    counters.cpu_ticks += stat.ticks + stat.waited_ticks;
    counters.switches += switches(&name);
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    counters.memory_bytes += match kilobytes(&rollup, "Pss:") {
        // Not readable, such as another user's process.
        0 => resident_bytes(pid),
        proportional => proportional,
    };
}

/// Voluntary and involuntary switches of every thread that lives.
fn switches(pid: &str) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let statuses = threads.filter_map(|t| fs::read_to_string(t.path().join("status")).ok());
    statuses
        .map(|status| {
            field(&status, "voluntary_ctxt_switches:")
                + field(&status, "nonvoluntary_ctxt_switches:")
        })
        .sum()
}

fn kilobytes(text: &str, name: &str) -> u64 {
    field(text, name) * 1024
}

/// The first number of the line that begins with `name`; 0 without one.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_process_is_called() {
        let line = "7 (a) b) S 3 7 7 0 -1 4194560 1 0 0 0 10 20 30 40 20 0 1 0 123 1 1";
        let stat = Stat { parent: 3, ticks: 30, waited_ticks: 70 };
        assert_eq!(parse_stat(line), Some(stat));
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[test]
    fn a_group_is_a_process_with_everything_it_started() {
        let children = BTreeMap::from([(1, vec![2, 9]), (2, vec![3]), (3, vec![4])]);
        assert_eq!(with_descendants(2, &children), [2, 3, 4]);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status = "VmRSS:\t  12 kB\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t6";
        assert_eq!(kilobytes(status, "VmRSS:"), 12 * 1024);
        assert_eq!(field(status, "voluntary_ctxt_switches:"), 5);
        assert_eq!(field(status, "nonvoluntary_ctxt_switches:"), 6);
        assert_eq!(field(status, "VmSize:"), 0);
    }

    #[test]
    fn what_was_spent_is_the_difference_per_million() {
        let at = |cpu_ticks, switches| {
            let counters = Counters { cpu_ticks, switches, memory_bytes: 1 };
            Snapshot(BTreeMap::from([("edges", counters)]))
        };
        let usage = at(350, 70).since(&at(100, 20), 500_000)["edges"];
        assert_eq!((usage.cpu_seconds, usage.cpu_seconds_per_million), (2.5, 5.0));
        assert_eq!(usage.context_switches, 50);
        let mut sum = BTreeMap::new();
        for _ in 0..2 {
            add(&mut sum, &BTreeMap::from([("edges", usage)]), 1_000_000);
        }
        assert_eq!((sum["edges"].cpu_seconds, sum["edges"].cpu_seconds_per_million), (5.0, 5.0));
    }

    #[test]
    fn this_very_process_can_be_read() {
        assert!(resident_bytes(std::process::id()) > 0);
        assert!(read_stat("self").is_some() && switches("self") > 0);
    }
}
