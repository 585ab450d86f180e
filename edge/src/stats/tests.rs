//! What a frame says of a given sequence of contributions.

use std::time::{Duration, Instant};

use domain::contract::stats::{
    Answers, Contribution, EdgeFigures, Figures, LATENCY_BUCKETS, LeaderFigures, ProductFigures,
    SettlerFigures, VERSION,
};
use domain::contract::stats_frame::{AnswerRates, EdgeTile, StatsFrame};

use super::Stats;
use super::merge::Processes;

/// Processes, and a clock that is turned by hand.
struct Wall {
    processes: Processes,
    start: Instant,
}

impl Wall {
    fn new() -> Self {
        Self { processes: Processes::default(), start: Instant::now() }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// Hears at `ms` what a process said when it had run for `uptime_ms`.
    fn hear(&mut self, ms: u64, life: i64, uptime_ms: u64, name: &str, figures: Figures) {
        let name = name.to_owned();
        let (v, started_ms, ready) = (VERSION, life, true);
        let said = Contribution { v, name, started_ms, uptime_ms, ready, figures };
        self.processes.take(said, self.at(ms));
    }

    /// An edge that has run for an hour when the wall begins to listen.
    fn edge(&mut self, ms: u64, accepted: u64) {
        self.hear(ms, 1, 3_600_000 + ms, "edge-1", edge(accepted));
    }

    fn settler(&mut self, ms: u64, name: &str, leader: Option<LeaderFigures>) {
        let figures = SettlerFigures { settled: ms / 100, leader, ..SettlerFigures::default() };
        self.hear(ms, 1, 3_600_000 + ms, name, Figures::Settler(figures));
    }

    fn frame(&mut self, ms: u64) -> StatsFrame {
        let now = self.at(ms);
        self.processes.frame(String::new(), now)
    }

    fn accepted(&mut self, ms: u64) -> f64 {
        self.frame(ms).answers_per_second.accepted
    }
}

fn edge(accepted: u64) -> Figures {
    let answers = Answers { accepted, ..Answers::default() };
    Figures::Edge(EdgeFigures { answers, ..EdgeFigures::default() })
}

/// An edge whose answers all took 1 to 1.5 ms.
fn quick(answers: u64) -> Figures {
    let mut latency = [0; LATENCY_BUCKETS];
    latency[5] = answers;
    Figures::Edge(EdgeFigures { latency, ..EdgeFigures::default() })
}

fn leader(open_units: i64) -> Option<LeaderFigures> {
    let product =
        ProductFigures { product_id: 1, open_units: Some(open_units), ..ProductFigures::default() };
    Some(LeaderFigures { queue_messages: Some(7), dead_letters: None, products: vec![product] })
}

#[test]
fn nobody_was_heard_yet() {
    let frame = Wall::new().frame(0);
    assert!(frame.edges.is_empty() && frame.settlers.is_empty() && frame.products.is_empty());
    assert_eq!((frame.queue_messages, frame.dead_letters, frame.latency_ms), (None, None, None));
    assert_eq!(frame.answers_per_second, AnswerRates::default());
}

#[test]
fn rates_are_those_of_the_last_second_and_add_up() {
    let mut wall = Wall::new();
    let figures = |n| {
        let answers = Answers {
            accepted: n,
            replayed: 2 * n,
            sold_out: 3 * n,
            refused: 4 * n,
            failed: 5 * n,
        };
        let latency = [0; LATENCY_BUCKETS];
        Figures::Edge(EdgeFigures { connections: 12, ws_clients: 4, answers, latency })
    };
    for (ms, n) in [(0, 100), (1_000, 110), (2_000, 112)] {
        wall.hear(ms, 1, 60_000 + ms, "edge-1", figures(n));
        wall.hear(ms + 100, 1, 90_000 + ms, "edge-2", figures(10 * n));
    }
    let frame = wall.frame(2_412);
    let rates = AnswerRates {
        accepted: 22.0,
        replayed: 44.0,
        sold_out: 66.0,
        refused: 88.0,
        failed: 110.0,
    };
    assert_eq!(frame.answers_per_second, rates);
    let tile = EdgeTile {
        name: "edge-1".to_owned(),
        ready: true,
        requests_per_second: 30.0,
        connections: 12,
        ws_clients: 4,
        age_ms: 412,
    };
    assert_eq!(frame.edges[0], tile);
    assert_eq!(frame.edges[1].requests_per_second, 300.0);
}

#[test]
fn what_an_edge_counted_before_it_was_first_heard_is_no_rate() {
    let mut wall = Wall::new();
    wall.edge(0, 1_000_000);
    assert_eq!(wall.accepted(0), 0.0);
    wall.edge(1_000, 1_000_005);
    assert_eq!(wall.accepted(1_000), 5.0);
}

#[test]
fn a_lost_contribution_spreads_the_count_over_the_real_time() {
    let mut wall = Wall::new();
    wall.edge(0, 0);
    wall.edge(1_000, 10);
    wall.edge(3_000, 50);
    assert_eq!(wall.accepted(3_000), 20.0, "not 40: two seconds passed");
}

#[test]
fn a_contribution_that_is_held_up_on_its_way_changes_no_rate() {
    let mut wall = Wall::new();
    wall.hear(0, 1, 60_000, "edge-1", edge(0));
    wall.hear(1_900, 1, 61_000, "edge-1", edge(10));
    assert_eq!(wall.accepted(1_900), 10.0);
    wall.hear(2_000, 1, 62_000, "edge-1", edge(20));
    assert_eq!(wall.accepted(2_000), 10.0, "nor when the next is in time");
}

#[test]
fn what_comes_twice_or_too_late_counts_once() {
    let mut wall = Wall::new();
    wall.edge(0, 0);
    wall.edge(1_000, 10);
    wall.hear(1_500, 1, 3_601_000, "edge-1", edge(10));
    wall.hear(1_600, 1, 3_600_000, "edge-1", edge(0));
    assert_eq!((wall.accepted(1_700), wall.frame(1_700).edges[0].age_ms), (10.0, 700));
}

#[test]
fn a_process_that_restarted_counts_from_zero() {
    let mut wall = Wall::new();
    wall.edge(0, 1_000);
    wall.edge(1_000, 1_010);
    wall.hear(2_000, 2, 500, "edge-1", edge(4));
    assert_eq!(wall.accepted(2_000), 8.0, "4 in half a second");
    wall.hear(3_000, 2, 1_500, "edge-1", edge(5));
    assert_eq!(wall.accepted(3_000), 1.0);
    wall.hear(4_000, 3, 9_000, "edge-1", edge(900));
    assert_eq!(wall.accepted(4_000), 0.0, "most of it was not counted now");
}

#[test]
fn a_silent_edge_has_no_rate_and_is_not_ready_and_keeps_its_tile_for_a_minute() {
    let mut wall = Wall::new();
    wall.edge(0, 0);
    wall.edge(1_000, 10);
    let told = |wall: &mut Wall, ms| {
        let frame = wall.frame(ms);
        frame.edges.first().map(|it| (it.ready, it.requests_per_second, it.age_ms))
    };
    assert_eq!(told(&mut wall, 4_000), Some((true, 10.0, 3_000)));
    assert_eq!(told(&mut wall, 4_001), Some((false, 0.0, 3_001)));
    assert_eq!(wall.accepted(4_001), 0.0);
    assert_eq!(told(&mut wall, 60_999), Some((false, 0.0, 59_999)));
    assert_eq!(told(&mut wall, 61_000), None);
}

#[test]
fn after_a_silence_it_is_counted_anew() {
    let mut wall = Wall::new();
    wall.edge(0, 0);
    wall.edge(10_000, 5_000);
    assert_eq!(wall.accepted(10_000), 0.0, "when that was, nobody knows");
    wall.edge(11_000, 5_003);
    assert_eq!(wall.accepted(11_000), 3.0);
}

#[test]
fn percentiles_are_those_of_the_last_five_seconds_of_every_edge() {
    let mut wall = Wall::new();
    let mut slow = [0; LATENCY_BUCKETS];
    for second in 0..=20 {
        // 100 quick answers until second 4, then none.
        let uptime_ms = 60_000 + second * 1_000;
        wall.hear(second * 1_000, 1, uptime_ms, "edge-1", quick(100 * second.min(4)));
        // And a slow one, 6 to 8 ms, in second 12.
        slow[10] = u64::from(second >= 12);
        let figures = EdgeFigures { latency: slow, ..EdgeFigures::default() };
        wall.hear(second * 1_000, 1, uptime_ms, "edge-2", Figures::Edge(figures));
        let latency = wall.frame(second * 1_000).latency_ms;
        match second {
            0 | 9..=11 | 17.. => assert_eq!(latency, None, "second {second}"),
            1..=8 => assert!(latency.is_some_and(|it| it.p99 <= 1.5), "second {second}"),
            _ => assert!(latency.is_some_and(|it| it.p50 > 6.0), "second {second}"),
        }
    }
}

#[test]
fn an_edge_that_fell_silent_has_no_part_in_percentiles() {
    let mut wall = Wall::new();
    for ms in [0, 1_000] {
        wall.hear(ms, 1, 60_000 + ms, "edge-1", quick(ms));
    }
    assert!(wall.frame(1_000).latency_ms.is_some());
    assert_eq!(wall.frame(4_001).latency_ms, None);
}

#[test]
fn what_only_a_leader_knows_is_unknown_without_one() {
    let mut wall = Wall::new();
    wall.settler(0, "settler-1", None);
    let frame = wall.frame(0);
    assert_eq!((frame.queue_messages, frame.products.len()), (None, 0));
    assert!(!frame.settlers[0].leads);
    wall.settler(1_000, "settler-1", leader(3));
    let frame = wall.frame(1_000);
    assert_eq!((frame.queue_messages, frame.dead_letters), (Some(7), None));
    assert_eq!(frame.products[0].open_units, Some(3));
    assert!(frame.settlers[0].leads);
    let frame = wall.frame(4_001);
    assert_eq!((frame.queue_messages, frame.products.len()), (None, 0));
    assert!(!frame.settlers[0].leads, "who is silent leads nobody");
}

#[test]
fn one_settler_leads_at_most_and_it_is_the_one_heard_last() {
    let mut wall = Wall::new();
    for ms in [0, 1_000] {
        wall.settler(ms, "settler-1", leader(1));
        wall.settler(ms + 500, "settler-2", None);
    }
    wall.settler(2_500, "settler-2", leader(2));
    let frame = wall.frame(2_600);
    assert_eq!(frame.settlers.iter().map(|it| it.leads).collect::<Vec<_>>(), [false, true]);
    assert_eq!(frame.products[0].open_units, Some(2));
    assert_eq!(frame.settled_per_second, 20.0);
    assert_eq!(frame.settlers[0].settled_per_second, 10.0);
}

#[test]
fn an_edge_and_a_settler_may_have_one_name() {
    let mut wall = Wall::new();
    wall.hear(0, 1, 1, "host:1", edge(0));
    wall.settler(0, "host:1", None);
    let frame = wall.frame(0);
    assert_eq!((frame.edges.len(), frame.settlers.len()), (1, 1));
}

#[test]
fn those_who_are_known_are_kept_when_too_many_speak() {
    let mut wall = Wall::new();
    wall.edge(0, 0);
    for n in 0..1_000 {
        wall.hear(10, 1, 60_000, &format!("other-{n:03}"), edge(0));
    }
    assert_eq!(wall.frame(10).edges.len(), 256);
    wall.edge(1_000, 9);
    assert_eq!(wall.accepted(1_000), 9.0);
    wall.edge(60_020, 9);
    wall.hear(60_020, 1, 60_000, "newcomer", edge(0));
    let names: Vec<_> = wall.frame(60_020).edges.into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["edge-1", "newcomer"], "the others are gone");
}

#[test]
fn one_who_never_stops_talking_is_known_for_a_shorter_time() {
    let mut wall = Wall::new();
    for ms in 0..2_000 {
        wall.edge(ms, ms);
    }
    assert_eq!(wall.accepted(2_000), 1_000.0);
}

#[test]
fn a_frame_is_encoded_while_somebody_views_it_and_the_newest_is_seen() {
    let (stats, now) = (Stats::default(), Instant::now());
    stats.show(0, now);
    let mut view = stats.view();
    assert!(view.borrow_and_update().is_empty(), "nobody viewed it");
    let heard = |payload: &[u8]| stats.take(payload, now);
    heard(b"rubbish");
    stats.show(1_000, now);
    stats.show(2_000, now);
    assert!(view.has_changed().unwrap());
    let text = String::from_utf8(view.borrow_and_update().to_vec()).unwrap();
    assert!(text.contains(r#""server_time":"1970-01-01T00:00:02.000Z","#), "{text}");
    assert!(!view.has_changed().unwrap());
}
