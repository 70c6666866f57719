//! The checks of the simulation bite: what was done wrong to a day is told.

use super::super::cloud::Weather;
use super::*;

/// A quiet day of a small hospital, played to its end.
async fn day(folder: &Path) -> World {
    let mut world = World::new(3, 1, 60, folder).unwrap();
    world.run(&ProgressBar::hidden()).await.unwrap();
    world
}

/// What is told after `wrong` was done to a day.
async fn violations(wrong: impl AsyncFnOnce(&mut World)) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut world = day(folder.path()).await;
    wrong(&mut world).await;
    world.end().await.unwrap().violations
}

fn tells(violations: &[String], words: &str) {
    assert!(violations.iter().any(|one| one.contains(words)), "no `{words}` in {violations:?}");
}

#[tokio::test]
async fn a_day_to_which_nothing_was_done_has_no_violations() {
    assert_eq!(violations(async |_| {}).await, Vec::<String>::new());
}

#[tokio::test]
async fn content_that_never_came_to_the_cloud_is_told() {
    let told = violations(async |world| world.model.settlements[0].version += 1).await;
    tells(&told, "the cloud holds Some");
}

#[tokio::test]
async fn older_content_behind_newer_is_told() {
    let told = violations(async |world| {
        let fair = |minute: &i64| {
            world.cloud.weather(world.begin.plus_ms(minute * MINUTE)) == Weather::Fair
        };
        let minute = (0..1_440).find(fair).unwrap();
        let at = world.begin.plus_ms(minute * MINUTE);
        for version in [9, 8] {
            world.cloud.meet(&Sent { settlement: 0, version }, at);
        }
    });
    tells(&told.await, "came to the cloud after something newer");
}

#[tokio::test]
async fn a_delivery_that_is_sent_twice_or_out_of_nothing_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = day(folder.path()).await;
    let sent = Sent { settlement: 0, version: 0 };
    let told = world.model.begun(sent);
    assert!(told.is_some_and(|words| words.contains("is sent and is not open")));
    let now = world.now;
    world.model.accepted(sent, now, false, (now, now));
    assert_eq!(world.model.begun(sent), None);
    let told = world.model.begun(sent);
    assert!(told.is_some_and(|words| words.contains("another attempt is under way")));
}

#[tokio::test]
async fn a_delivery_that_is_not_accounted_for_is_told() {
    let told = violations(async |world| world.model.accepted += 1).await;
    tells(&told, "expected (");
}

#[tokio::test]
async fn a_delivery_that_is_late_for_no_reason_is_told() {
    let told = violations(async |world| {
        let settlement = &mut world.model.settlements[0];
        settlement.taken = settlement.began.map(|at| at.plus_ms(DEADLINE_MS + 5 * MINUTE));
    });
    tells(&told.await, "arrived 5 min late");
}

#[tokio::test]
async fn an_alarm_that_does_not_rise_is_told() {
    let told = violations(async |world| {
        let (place, long_ago) = (world.model.settlements.len() - 1, world.now.plus_ms(-13 * HOUR));
        let sent = Sent { settlement: place, version: 7 };
        let settlement = world.model.settlements[place].clone();
        world.model.accepted(sent, long_ago, false, (long_ago, long_ago));
        for _ in 0..2 {
            world.watch().await.unwrap();
        }
        world.model.ended(sent, true);
        world.model.settlements[place] = settlement;
    });
    tells(&told.await, "the alarm stands at 0 and must at 50");
}
