//! One search of one plan: ask, choose, settle.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use forepost_cache::Uid;
use tokio::task::JoinSet;

use super::choice::{self, Standing};
use super::{Prefetch, asked_for, lock, retry_at};
use crate::breaker::Permit;
use crate::fault::Fault;
use crate::ledger::{ClaimedPlan, Considered, Ordered, SearchEnd};
use crate::limits::{PUSH_LOOK_AGAIN_MS, SEARCH_LATE_MS, SEARCH_PATIENCE_MS};
use crate::model::{FoundStudy, PlanState, Registration, StudyOutcome, Time};

/// What one source said to a search.
type Answer = (String, Result<Vec<FoundStudy>, Fault>);

/// A search under way.
#[derive(Default)]
struct Asked {
    requests: JoinSet<Answer>,
    /// Those that have not answered.
    silent: HashSet<String>,
    answers: Vec<Answer>,
}

impl Asked {
    /// Waits for all answers. What came is kept when nobody waits any longer.
    async fn gather(&mut self, flow: &Prefetch) {
        while let Some(ended) = self.requests.join_next().await {
            // A panic in a door is that request's failure, and the breaker never hears of it.
            let Ok((name, answer)) = ended else { continue };
            let told = answer.as_ref().map(|_| ());
            flow.tell_breaker(&name, told, (flow.clock)());
            self.silent.remove(&name);
            self.answers.push((name, answer));
        }
    }
}

impl Prefetch {
    /// Asks every source that has not answered this plan yet, and settles what they said.
    pub(super) async fn search(self: Arc<Self>, plan: ClaimedPlan) {
        let id = plan.id;
        if let Err(error) = self.search_and_settle(plan).await {
            log::error!(plan = id; "settling a search: {error}");
        }
        lock(&self.searching).remove(&id);
        self.wake();
    }

    /// Settles what came in time, so that a source that takes its own holds up neither the doctor
    /// who waits nor what the others found; then what came later.
    async fn search_and_settle(&self, plan: ClaimedPlan) -> Result<(), Fault> {
        let id = plan.id;
        let mut asked = self.ask(&plan);
        let patience = Duration::from_millis(SEARCH_PATIENCE_MS);
        let in_time = tokio::time::timeout(patience, asked.gather(self)).await;
        let late = if in_time.is_err() { asked.silent.clone() } else { HashSet::new() };
        self.settle_answers(plan, std::mem::take(&mut asked.answers), &late).await?;
        if !late.is_empty() {
            asked.gather(self).await;
            let plan = self.ledger.claimed_plan(id)?;
            self.settle_answers(plan, asked.answers, &HashSet::new()).await?;
        }
        Ok(())
    }

    /// Keeps answers and what they mean for the plan. Sources in `late` are still being asked.
    async fn settle_answers(
        &self,
        plan: ClaimedPlan,
        answers: Vec<Answer>,
        late: &HashSet<String>,
    ) -> Result<(), Fault> {
        let registration = plan.registration;
        let now = (self.clock)();
        // What earlier answers brought counts once for every place that named it.
        let mut found: Vec<FoundStudy> = plan
            .found
            .into_iter()
            .flat_map(|(study, places)| {
                places.into_iter().map(move |place| FoundStudy { place, ..study.clone() })
            })
            .collect();
        // Should we end before they answer, they are asked again.
        let next_at = now.plus_ms(SEARCH_LATE_MS);
        let mut ends: Vec<(String, SearchEnd)> =
            late.iter().map(|source| (source.clone(), SearchEnd::Awaited { next_at })).collect();
        for (source, answer) in answers {
            let end = match answer {
                Ok(studies) => {
                    found.extend(studies);
                    SearchEnd::Answered
                }
                Err(fault) => {
                    let attempts = plan.unanswered.get(&source).copied().unwrap_or(0);
                    let next_at = retry_at(now, attempts, fault.retry, plan.id as u64 * 31);
                    SearchEnd::Failed { fault: fault.to_string(), next_at }
                }
            };
            ends.push((source, end));
        }
        let ledger = &self.ledger;
        let mut begun = plan.begun;
        begun.extend(plan.chosen.into_iter().filter(|study| self.openings.has_begun(study)));
        let wanted = ledger.ordered(&registration.hospital, &registration.identifiers, now)?;
        let considered = self.consider(&registration, &wanted, found, &begun, now);
        for (source, end) in &mut ends {
            if matches!(end, SearchEnd::Answered)
                && self.still_awaits(&registration, source, &considered)
            {
                *end = SearchEnd::Awaited { next_at: now.plus_ms(PUSH_LOOK_AGAIN_MS) };
            }
        }
        let chosen = considered.iter().filter(|c| c.outcome == StudyOutcome::Chosen).count();
        let (all, asked) = (considered.len(), ends.len());
        let ordered = wanted.len();
        let settled =
            ledger.settle_search(plan.id, &registration, ends, considered, wanted, now).await?;
        log::info!(
            plan = plan.id, sources = asked, found = all, chosen, ordered,
            state = settled.state.name();
            "plan searched"
        );
        // Nobody may be listening.
        let _ = self.moved.send(plan.id);
        if settled.state == PlanState::Ready && settled.new {
            note_ready(plan.id, settled.lead_ms);
        }
        Ok(())
    }

    /// Asks all sources at once that have not answered; one that rests answers with its fault
    /// without being asked.
    fn ask(&self, plan: &ClaimedPlan) -> Asked {
        let now = (self.clock)();
        let policy = self.policy();
        let since = policy.rules.since(now.wall(policy.offset).date());
        let registration = Arc::new(plan.registration.clone());
        let mut asked = Asked::default();
        for source in &policy.sources {
            let name = source.name().to_owned();
            if plan.answered.contains(&name) {
                continue;
            }
            if let Permit::Rest(until) = self.permit(&name, now) {
                asked.answers.push((name, Err(super::resting(until, now))));
                continue;
            }
            asked.silent.insert(name.clone());
            let source = asked_for(source, plan.reader.as_ref());
            let registration = Arc::clone(&registration);
            asked.requests.spawn(async move {
                let answer = source.search(&registration, since).await;
                (name, answer)
            });
        }
        asked
    }

    /// Whether a source that pushes has pushed nothing of this patient yet. What contradicts the
    /// patient is somebody else's.
    fn still_awaits(&self, of: &Registration, source: &str, considered: &[Considered]) -> bool {
        let pushes = self.source(source).is_some_and(|source| !source.awaits(of).is_empty());
        let from = |one: &Considered| one.places.iter().any(|place| place.source == source);
        pushes && !considered.iter().any(|one| one.outcome != StudyOutcome::Apart && from(one))
    }

    fn consider(
        &self,
        registration: &Registration,
        ordered: &[Ordered],
        found: Vec<FoundStudy>,
        begun: &HashSet<String>,
        now: Time,
    ) -> Vec<Considered> {
        let policy = self.policy();
        let today = now.wall(policy.offset).date();
        let standing = |uid: &Uid| {
            if begun.contains(uid.as_str()) {
                Standing::Begun
            } else if self.cache.instances_here(uid) > 0 {
                Standing::Here
            } else {
                Standing::New
            }
        };
        let (person, department) = (&registration.person, &registration.department);
        // A registration names no examination; they are ordered later, by `checkAgain` (3.3).
        let wanted: Vec<_> = ordered.iter().filter_map(|one| one.standard.clone()).collect();
        choice::choose(person, department, &wanted, found, &policy.rules, today, &standing)
            .into_iter()
            .map(|considered| Considered {
                why: considered.explanation(),
                why_zh: considered.explanation_zh(),
                study: considered.study,
                places: considered.places,
                outcome: considered.outcome,
                link: considered.link,
                score: considered.score,
            })
            .collect()
    }
}

/// The headline figure: how long before the visit everything was here.
pub(super) fn note_ready(plan: i64, lead_ms: Option<i64>) {
    let lead_ms = lead_ms.unwrap_or(0);
    let when = if lead_ms >= 0 { "before" } else { "after" };
    metrics::counter!("plans_ready_total", "visit" => when).increment(1);
    metrics::histogram!("plan_lead_seconds").record(lead_ms as f64 / 1000.0);
    log::info!(plan, lead_ms; "plan ready");
}
