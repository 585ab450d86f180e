//! The protocol holds over seeded schedules, and does not with a step taken out.

use simulator::{Mutant, Simulation};

/// Runs of the sound protocol: some seconds. `make simulate` takes thousands.
const SOUND_RUNS: u64 = 500;
/// Runs until a mutant must be noticed; most are within the first fifty.
const MUTANT_RUNS: u64 = 3_000;
/// Runs in which a step with a second line behind it must not be missed.
const SECOND_LINE_RUNS: u64 = 300;
/// A test that meets the same schedules every time.
const SEED: u64 = 1;

#[test]
fn no_schedule_breaks_an_invariant() {
    let simulation = Simulation::new(None).unwrap();
    let (mut faults, mut lost, mut given_up) = (0, 0, 0);
    for seed in SEED..SEED + SOUND_RUNS {
        let tally = simulation.run(seed).unwrap_or_else(|broken| panic!("{broken:?}"));
        faults += tally.faults;
        lost += tally.lost_by_redis;
        given_up += tally.given_up;
    }
    assert!(given_up > SOUND_RUNS, "{given_up} given up: too faithful");
    assert!(
        faults > 10 * SOUND_RUNS && lost > SOUND_RUNS,
        "{faults} faults, {lost} lost: too calm"
    );
}

#[test]
fn every_step_taken_out_is_noticed() {
    for mutant in Mutant::ALL {
        let simulation = Simulation::new(Some(*mutant)).unwrap();
        let noticed = (SEED..SEED + MUTANT_RUNS).any(|seed| simulation.run(seed).is_err());
        assert!(noticed, "{} breaks nothing", mutant.name());
    }
}

/// One that breaks something belongs to the others, and its reason is wrong.
#[test]
fn a_step_with_a_second_line_behind_it_breaks_nothing_alone() {
    for mutant in Mutant::SECOND_LINE {
        let simulation = Simulation::new(Some(*mutant)).unwrap();
        for seed in SEED..SEED + SECOND_LINE_RUNS {
            let run = simulation.run(seed);
            assert!(run.is_ok(), "{}: {run:?}", mutant.name());
        }
    }
}

#[test]
fn a_seed_makes_the_same_run() {
    let run = |seed| Simulation::new(None).unwrap().run(seed).unwrap();
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
