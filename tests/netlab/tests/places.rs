//! Whose fault it is: every labelled situation with a few seeds. `--bin places` counts many.

use greenroom_netlab::places::all;
use greenroom_netlab::verdicts::quick_check;
use greenroom_reports::schema::Use;

/// Checks of each situation.
const SEEDS: u64 = 10;

#[test]
fn the_right_place_is_named_in_ninety_five_of_a_hundred_checks() {
    let plan = quick_check(&[Use::Audio, Use::Video720p]);
    let situations = all().expect("they are valid");
    assert!(situations.len() >= 30, "{}", situations.len());
    let (mut right, mut runs, mut wrong) = (0, 0, Vec::new());
    for situation in &situations {
        let tally = situation.tally(&plan, 0..SEEDS).expect("its networks are valid");
        let named = situation.right(&tally);
        if named < SEEDS {
            wrong.push(format!("{}: {tally:?}, seeds 0 to {}", situation.name, SEEDS - 1));
        }
        right += named;
        runs += SEEDS;
    }
    assert!(right * 100 >= runs * 95, "{right} of {runs}: {wrong:#?}");
    // No situation is one where it mostly errs.
    assert!(wrong.len() * 5 <= situations.len(), "{wrong:#?}");
}
