//! What happens: the HIS registers five patients, their studies arrive, a doctor opens one.
//!
//! Every figure that is printed is also checked; [`Story::judge`] knows what did not come true.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use encoding_rs::GBK;
use forepost_cache::Cache;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Client;
use serde_json::Value;

use super::people::{self, Person};
use super::phantoms::Phantom;
use super::words::{chapter, command, many, say, under};
use super::{Addresses, DemoError};
use crate::clock;
use crate::ledger::{Ledger, PlanShown, StudyShown};
use crate::model::{PlanState, StudyOutcome, VisitKey};

/// The path of the registration interface (imaging cloud's document, 3.4.2).
const REGISTER_PATH: &str = "/standardInterface/standardHttp/saveDataStorage";

/// Time for everything to arrive: over the made-up line it takes 11 s.
const ARRIVAL_WAIT: Duration = Duration::from_secs(50);

/// Time between two looks at ledger and cache.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Time that one request of HIS or doctor may take.
const REQUEST_WAIT: Duration = Duration::from_secs(10);

/// Reads of one image of which the fastest is told: the first one also connects.
const READS: usize = 3;

/// Plans that are read for the story; more than its patients have.
const PLANS_READ: usize = 100;

/// What is told, and whether it came true.
pub(super) struct Story {
    at: Addresses,
    data: PathBuf,
    ledger: Ledger,
    cache: Cache,
    client: Client,
    failed: Vec<String>,
    checked: usize,
}

/// One patient's plan as it stands.
struct Standing {
    plan: PlanShown,
    studies: Vec<StudyShown>,
}

impl Standing {
    fn with_outcome(&self, outcome: StudyOutcome) -> impl Iterator<Item = &StudyShown> {
        self.studies.iter().filter(move |study| study.outcome == outcome.name())
    }

    fn count(&self, outcome: StudyOutcome) -> u64 {
        self.with_outcome(outcome).count() as u64
    }

    /// Whether nothing more will come.
    fn has_ended(&self) -> bool {
        !matches!(
            PlanState::from_name(&self.plan.state),
            None | Some(PlanState::Searching | PlanState::Fetching)
        )
    }

    /// Times that the chosen studies were fetched.
    fn attempts(&self) -> u32 {
        self.studies.iter().filter_map(|study| Some(study.fetch.as_ref()?.attempts)).sum()
    }
}

impl Story {
    /// A story at these addresses, over the appliance's ledger and cache.
    pub fn new(at: Addresses, data: &Path, ledger: Ledger, cache: Cache) -> Story {
        let client = Client::builder().timeout(REQUEST_WAIT).build();
        let client = client.expect("a client without certificates of its own can be built");
        Story { at, data: data.to_owned(), ledger, cache, client, failed: Vec::new(), checked: 0 }
    }

    /// Everything from the first registration to the image on the screen.
    pub async fn tell(&mut self) -> Result<(), DemoError> {
        say(
            &format!("本院前置机 http://{}（HIS 与阅片）", self.at.hospital),
            "this hospital's appliance, for its HIS and its viewers",
        );
        chapter("HIS 推送挂号", "The HIS pushes registrations");
        for person in people::ALL {
            self.register(person, false).await?;
        }
        self.register(&people::CHEN, true).await?;
        chapter("影像到达", "Images arrive");
        self.watch().await?;
        chapter("结果", "What happened");
        self.report()?;
        self.register_again().await?;
        chapter("打开影像", "Opening an image");
        self.open().await
    }

    /// Notes a thing that must be so.
    fn check(&mut self, so: bool, what: impl Into<String>) {
        self.checked += 1;
        if !so {
            self.failed.push(what.into());
        }
    }

    /// Sends a registration, or its cancellation, as a HIS does.
    async fn register(&mut self, person: &Person, cancelled: bool) -> Result<(), DemoError> {
        let sent = person.registration(clock::now(), cancelled);
        let text = sent.to_string();
        let (kind, body) = match person.gbk {
            true => ("application/json;charset=GBK", GBK.encode(&text).0.into_owned()),
            false => ("application/json", text.into_bytes()),
        };
        let began = Instant::now();
        let request = self.client.post(format!("http://{}{REGISTER_PATH}", self.at.hospital));
        let request = request.header("content-type", kind).body(body);
        let answer = self.bytes("a registration", request).await?;
        let ms = milliseconds(began.elapsed());
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let code = answer["code"].as_i64().unwrap_or_default();
        self.check(code == 200, format!("a registration was answered {answer}"));
        let (encoding, encoding_en) =
            if person.gbk { ("（GBK 编码）", " in GBK") } else { ("", "") };
        let (what, what_en) = match cancelled {
            true => ("退号".to_owned(), "cancelled"),
            false => (format!("{} {}", person.department, visit_time(&sent)), person.department_en),
        };
        say(
            &format!("{} {what}{encoding}：{ms} 毫秒受理", person.name),
            &format!("{what_en}{encoding_en}: accepted in {ms} ms"),
        );
        Ok(())
    }

    /// Shows how far the studies are until every plan has ended.
    async fn watch(&mut self) -> Result<(), DemoError> {
        let bar = progress_bar();
        let began = Instant::now();
        let mut quarter = 0;
        loop {
            let (mut have, mut expected, mut ended) = (0, 0, true);
            for person in people::ALL {
                let Some(standing) = self.standing(person)? else { continue };
                ended &= standing.has_ended();
                if standing.plan.state == PlanState::Cancelled.name() {
                    continue;
                }
                for study in standing.with_outcome(StudyOutcome::Chosen) {
                    let known = study.fetch.as_ref().and_then(|fetch| fetch.expected);
                    let announced = study.study.instances.map(u64::from);
                    expected += known.or(announced).unwrap_or(0);
                    have += u64::from(self.cache.instances_here(&study.study.study));
                }
            }
            if expected > 0 {
                bar.set_length(expected);
                bar.set_position(have);
            }
            let reached = (4 * have).checked_div(expected).unwrap_or(0);
            if bar.is_hidden() && reached > quarter {
                quarter = reached;
                say(&format!("{have} / {expected} 幅"), &format!("{have} of {expected} images"));
            }
            let waited = began.elapsed();
            if ended || waited >= ARRIVAL_WAIT {
                bar.finish_and_clear();
                let seconds = waited.as_secs_f32();
                self.check(ended, format!("not everything had arrived after {seconds:.0} s"));
                say(
                    &format!("{have} 幅影像在 {seconds:.1} 秒内到达本机"),
                    &format!("{have} images arrived in {seconds:.1} s"),
                );
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Says of every patient what was found and what became of it.
    fn report(&mut self) -> Result<(), DemoError> {
        for person in people::ALL {
            let Some(standing) = self.standing(person)? else {
                self.check(false, format!("no plan for visit {}", person.visit));
                continue;
            };
            self.report_one(person, &standing);
        }
        let name = |story: &Story| story.name_in_ledger(&people::OUYANG);
        let kept = name(self)?;
        self.check(kept.as_deref() == Some(people::OUYANG.name), "a GBK name was not understood");
        Ok(())
    }

    fn report_one(&mut self, person: &Person, standing: &Standing) {
        let plan = &standing.plan;
        if plan.state == PlanState::Cancelled.name() {
            say(&format!("{}：已退号，不再取影像", person.name), "cancelled: nothing is fetched");
            self.check(person.visit == people::CHEN.visit, "a plan was cancelled by itself");
            return;
        }
        let chosen = standing.count(StudyOutcome::Chosen);
        say(
            &format!("{}：外院检查 {chosen} 项", person.name),
            &format!("{} found", many(chosen, "outside study", "outside studies")),
        );
        for study in &standing.studies {
            left_out(study);
        }
        let have: u64 = standing
            .with_outcome(StudyOutcome::Chosen)
            .map(|study| u64::from(self.cache.instances_here(&study.study.study)))
            .sum();
        let expected = plan.expected;
        let ready = plan.state == PlanState::Ready.name();
        match (ready, plan.lead_ms) {
            (true, Some(lead_ms)) => {
                let (lead, lead_en) = lead(lead_ms);
                under(
                    &format!("{have} / {expected} 幅在本机，就诊前 {lead}就绪"),
                    &format!(
                        "{have} of {expected} instances here; ready {lead_en} before the visit"
                    ),
                );
            }
            _ => {
                let cause = plan.cause.as_deref().unwrap_or(&plan.state);
                under(
                    &format!("{have} / {expected} 幅在本机，尚未就绪"),
                    &format!("{have} of {expected} instances here; not ready: {cause}"),
                );
            }
        }
        let visit = person.visit;
        self.check(ready, format!("visit {visit} is {}", plan.state));
        let (own, apart) = (standing.count(StudyOutcome::Own), standing.count(StudyOutcome::Apart));
        let got = (chosen, own, apart, have);
        self.check(
            got == person.expected && have == expected,
            format!("visit {visit}: chosen, own, apart, instances are {got:?} of {expected}"),
        );
    }

    /// The same registration a second time changes nothing.
    async fn register_again(&mut self) -> Result<(), DemoError> {
        let (before, plans_before) = (self.standing(&people::WANG)?, self.plans()?.len());
        println!();
        self.register(&people::WANG, false).await?;
        let (after, plans_after) = (self.standing(&people::WANG)?, self.plans()?.len());
        let same = match (&before, &after) {
            (Some(before), Some(after)) => {
                before.plan.id == after.plan.id
                    && after.plan.state == PlanState::Ready.name()
                    && before.attempts() == after.attempts()
                    && before.studies.len() == after.studies.len()
            }
            _ => false,
        };
        self.check(same && plans_before == plans_after, "a re-sent registration was not the same");
        if same {
            say(
                "同一次就诊重复推送：更新登记，不重复取影像",
                "sent again: nothing is fetched twice",
            );
        }
        Ok(())
    }

    /// What a doctor does: find the patient by the number on the card, open an image.
    async fn open(&mut self) -> Result<(), DemoError> {
        let number = people::WANG.card;
        let base = format!("http://{}/dicom-web", self.at.hospital);
        let search = self.client.get(format!("{base}/studies?PatientID={number}"));
        let began = Instant::now();
        let rows = self.bytes("a search for studies", search).await?;
        let ms = milliseconds(began.elapsed());
        let rows: Value = serde_json::from_slice(&rows).unwrap_or_default();
        let found = rows.as_array().map_or(0, Vec::len);
        self.check(found == 3, format!("the number on the card finds {found} studies"));
        say(
            &format!("按本院就诊卡号 {number} 查到 {found} 项检查，{ms} 毫秒"),
            &format!("this hospital's own card number finds all {found} in {ms} ms"),
        );
        let (phantom, number) = opened();
        let (there, slow) = self.read_image(self.at.cloud, &phantom, number).await?;
        let (here, fast) = self.read_image(self.at.hospital, &phantom, number).await?;
        let (slow_ms, fast_ms) = (milliseconds(slow), milliseconds(fast));
        let kilobytes = here.len() / 1_000;
        let times = slow.as_secs_f64() / fast.as_secs_f64().max(1e-6);
        say(
            &format!("同一幅 CT（{kilobytes} KB）：从省级云 {slow_ms} 毫秒，从本机 {fast_ms} 毫秒"),
            &format!("one image: {slow_ms} ms from the cloud, {fast_ms} ms from here"),
        );
        let same = there == here && !here.is_empty();
        self.check(same, "the image here is not the image in the cloud, byte for byte");
        if same {
            say(
                &format!("快 {times:.0} 倍，逐字节相同（云端线路是模拟的，见上）"),
                &format!("{times:.0} times as fast, and the same bytes (over the simulated line)"),
            );
        }
        Ok(())
    }

    /// One instance by WADO-RS, and the time of the fastest read.
    async fn read_image(
        &self,
        at: SocketAddr,
        phantom: &Phantom,
        number: usize,
    ) -> Result<(Bytes, Duration), DemoError> {
        let url = image_url(at, phantom, number);
        let mut best: Option<(Bytes, Duration)> = None;
        for _ in 0..READS {
            let request = self.client.get(&url).header("accept", "application/dicom");
            let began = Instant::now();
            let bytes = self.bytes("an image", request).await?;
            let took = began.elapsed();
            if best.as_ref().is_none_or(|(_, before)| took < *before) {
                best = Some((bytes, took));
            }
        }
        Ok(best.expect("an image is read at least once"))
    }

    /// The body of an answer with a good status.
    async fn bytes(
        &self,
        what: &str,
        request: reqwest::RequestBuilder,
    ) -> Result<Bytes, DemoError> {
        let told = |source| DemoError::Request { what: what.to_owned(), source };
        let response = request.send().await.and_then(reqwest::Response::error_for_status);
        response.map_err(told)?.bytes().await.map_err(told)
    }

    fn plans(&self) -> Result<Vec<PlanShown>, DemoError> {
        Ok(self.ledger.plans(PLANS_READ)?)
    }

    /// The plan of a patient's visit.
    fn standing(&self, person: &Person) -> Result<Option<Standing>, DemoError> {
        let visit = VisitKey::outpatient(person.visit);
        for plan in self.plans()? {
            if let Some((plan, registration, _, studies)) = self.ledger.plan(plan.id)?
                && Some(&registration.visit) == visit.as_ref()
            {
                return Ok(Some(Standing { plan, studies }));
            }
        }
        Ok(None)
    }

    /// A patient's name as the ledger keeps it.
    fn name_in_ledger(&self, person: &Person) -> Result<Option<String>, DemoError> {
        let visit = VisitKey::outpatient(person.visit);
        for plan in self.plans()? {
            if let Some((_, registration, _, _)) = self.ledger.plan(plan.id)?
                && Some(&registration.visit) == visit.as_ref()
            {
                return Ok(Some(registration.person.name));
            }
        }
        Ok(None)
    }

    /// Whether something did not come true so far.
    pub fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Says whether everything came true.
    pub fn judge(&self) -> bool {
        println!();
        let (failed, all) = (self.failed.len(), self.checked);
        if failed == 0 {
            say(&format!("{all} 项核对全部通过"), &format!("all {all} checks passed"));
            return true;
        }
        say(
            &format!("{all} 项核对中 {failed} 项未通过："),
            &format!("{failed} of {all} checks failed:"),
        );
        for what in &self.failed {
            println!("    {what}");
        }
        false
    }

    /// What can be tried now, with lines that work when pasted.
    pub fn invite(&self) {
        let Addresses { hospital, console, .. } = self.at;
        let (phantom, number) = opened();
        let base = format!("http://{hospital}/dicom-web");
        chapter("自己试试", "Try it: these lines work when pasted into another terminal");
        let (name, id_card) = (people::WANG.name, people::WANG.id_card);
        let body = format!(
            r#"{{"outpatientNumber":"MZ26000199","patientName":"{name}","idCardNo":"{id_card}"}}"#
        );
        command(
            "推送一次挂号",
            "push a registration",
            &format!(
                "curl -s -H 'Content-Type: application/json' http://{hospital}{REGISTER_PATH} \
                 -d '{body}'"
            ),
        );
        let (card, study) = (people::WANG.card, phantom.study_uid());
        let fields = "includefield=StudyDescription,InstitutionName";
        let search = format!("curl -s '{base}/studies?PatientID={card}&{fields}'");
        command("按本院卡号查检查（QIDO-RS）", "find the studies of a card number", &search);
        let metadata = format!("curl -s '{base}/studies/{study}/metadata' | head -c 600");
        command("读一项检查的元数据（WADO-RS）", "read the metadata of a study", &metadata);
        let image = image_url(hospital, &phantom, number);
        let image = format!("curl -s -H 'Accept: application/dicom' -o image.dcm '{image}'");
        command("取一幅影像存为 image.dcm", "fetch an image", &image);
        let health = format!("curl -s http://{console}/health");
        command("健康状态", "health", &health);
        let metrics = format!("curl -s http://{console}/metrics | grep -v '^#'");
        command("运行指标", "metrics", &metrics);
        let config = self.data.join("forepost.toml");
        let program = std::env::current_exe().unwrap_or_else(|_| "forepost".into());
        let plans = format!("{} plans list --config {}", quoted(&program), quoted(&config));
        command("每个就诊的取片计划", "the plan of every visit", &plans);
        println!();
        say(
            &format!("数据：{}，随时可删", self.data.display()),
            "data; may be deleted once the demo has ended",
        );
        say("按 Ctrl-C 结束", "Ctrl-C ends the demo");
    }
}

/// The image that is opened: a slice through the heart, of the CT at the other hospital.
fn opened() -> (Phantom, usize) {
    let phantom = people::holdings().remove(0).phantom;
    let number = phantom.instances() / 3;
    (phantom, number)
}

fn image_url(at: SocketAddr, phantom: &Phantom, number: usize) -> String {
    let (study, series) = (phantom.study_uid(), phantom.series_uid(number));
    let instance = phantom.instance_uid(number);
    format!("http://{at}/dicom-web/studies/{study}/series/{series}/instances/{instance}")
}

/// Says why a study is not here, if it is not.
fn left_out(shown: &StudyShown) {
    let study = &shown.study;
    let (what, hospital) = (study.description.as_str(), study.institution_name.as_str());
    let (why, why_en) = match StudyOutcome::ALL.into_iter().find(|it| it.name() == shown.outcome) {
        Some(StudyOutcome::Own) => {
            ("本院自己的检查", "1 left out because it is this hospital's own")
        }
        Some(StudyOutcome::Apart) if shown.why.contains("name contradicts") => {
            ("姓名与患者不符", "1 left out because its name contradicts the patient's")
        }
        Some(StudyOutcome::Apart) => ("身份与患者不符", "1 left out because it is somebody else's"),
        Some(StudyOutcome::Chosen) | None => return,
        Some(_) => ("不在规则之内", "1 left out by the rules"),
    };
    under(&format!("未取 {hospital} {what}：{why}"), why_en);
}

/// The visit in a registration's body, as month, day, hour and minute.
fn visit_time(registration: &Value) -> &str {
    let text = registration["outpatientDateTime"].as_str().unwrap_or_default();
    text.get(5..16).unwrap_or_default()
}

/// Hours, or minutes where it is less than two hours.
fn lead(lead_ms: i64) -> (String, String) {
    let minutes = lead_ms / 60_000;
    if minutes < 120 {
        (format!("{minutes} 分钟"), format!("{minutes} min"))
    } else {
        (format!("{} 小时", minutes / 60), format!("{} h", minutes / 60))
    }
}

fn milliseconds(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1_000.0;
    if ms < 20.0 { format!("{ms:.1}") } else { format!("{ms:.0}") }
}

/// On a terminal a bar; elsewhere nothing, and the quarters are told in lines.
fn progress_bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    // Characters of one column only: the bar counts characters and would slip down the screen.
    let template = "  {bar:44} {pos} / {len}  {elapsed}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_is_told_in_hours_unless_it_is_short() {
        assert_eq!(lead(26 * 3_600_000 + 599_000).1, "26 h");
        assert_eq!(lead(14 * 60_000 + 59_000).0, "14 分钟");
    }

    #[test]
    fn paths_with_blanks_and_quotes_can_be_pasted() {
        assert_eq!(quoted(Path::new("/a/b-c.toml")), "/a/b-c.toml");
        assert_eq!(quoted(Path::new("/it's here")), r"'/it'\''s here'");
    }
}
