//! Departments that only HISes name: listed, mapped, taken back, and counted meanwhile.

use super::notices::{doctor, notice};
use super::*;
use crate::model::{DictionaryChange, DictionaryKind, DictionaryRow, Doctor, UtcOffset};

/// Publishes a dictionary of departments, whatever stood there before.
async fn publish(ledger: &Ledger, departments: &[(&str, &str)]) {
    let (base, before) = ledger.dictionary_rows("H1", DictionaryKind::Dept).unwrap();
    let row = |(code, name): &(&str, &str)| DictionaryRow {
        code: (*code).into(),
        name: (*name).into(),
        ..DictionaryRow::default()
    };
    let gone = before.into_iter().filter(|one| !departments.iter().any(|(c, _)| *c == one.code));
    let gone = gone.map(|before| DictionaryChange { before: Some(before), after: None });
    let there =
        departments.iter().map(|one| DictionaryChange { before: None, after: Some(row(one)) });
    let copy = NewCopy {
        hospital: "H1".into(),
        kind: DictionaryKind::Dept,
        base,
        origin: "file".into(),
        fingerprint: base.to_le_bytes().to_vec(),
        rows: departments.len() as u64,
        changes: gone.chain(there).collect(),
        hold: None,
    };
    ledger.keep_dictionary(copy, NOW).await.unwrap().expect("nobody holds it");
}

/// A doctor of that department is logged in and told of a patient.
async fn work(ledger: &Ledger, user: &str, code: &str, name: &str, secret: u8) {
    let (department, department_code) = (name.to_owned(), code.to_owned());
    let of = Doctor { department, department_code, ..doctor(user) };
    let now = NOW.plus_ms(i64::from(secret));
    let session = ledger.begin_session(of, [secret; 32], String::new(), now).await.unwrap();
    let department = Department { code: code.into(), name: name.into() };
    let told = NewNotice { department, ..notice(user, Some(session), i64::from(secret)) };
    ledger.tell(told, now).await.unwrap();
}

/// Code, name, whether the dictionary has it, and times queried, of each row of the figures.
fn figures(ledger: &Ledger) -> Vec<(String, String, bool, u32)> {
    let figures = ledger.notice_figures(NOW.plus_ms(-1), UtcOffset::china()).unwrap();
    let row =
        |one: NoticeFigures| (one.department.code, one.department.name, one.is_listed, one.queried);
    figures.into_iter().map(row).collect()
}

fn unlisted(ledger: &Ledger) -> Vec<(String, String)> {
    let unlisted = ledger.unlisted_departments().unwrap().into_iter();
    let mut named: Vec<_> =
        unlisted.map(|one| (one.department.code, one.department.name)).collect();
    named.sort();
    named
}

async fn map(ledger: &Ledger, named: (&str, &str), to: &str) -> Result<(), DepartmentRefusal> {
    let mapping = DepartmentMapping {
        hospital: "H1".into(),
        named: Department { code: named.0.into(), name: named.1.into() },
        department: to.into(),
        confirmed_by: "张工".into(),
        confirmed_at: NOW,
    };
    ledger.map_department(mapping).await.unwrap()
}

fn row(code: &str, name: &str, is_listed: bool, queried: u32) -> (String, String, bool, u32) {
    (code.to_owned(), name.to_owned(), is_listed, queried)
}

fn named(code: &str, name: &str) -> (String, String) {
    (code.to_owned(), name.to_owned())
}

#[tokio::test]
async fn what_a_person_says_of_a_department_counts_for_the_past_until_it_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    publish(&ledger, &[("201", "神经内科"), ("202", "心内科")]).await;
    work(&ledger, "7", "N1", "神内一", 1).await;
    work(&ledger, "7", "", "神内病区", 2).await;
    work(&ledger, "7", "201", "神内", 3).await;
    assert_eq!(unlisted(&ledger), [named("", "神内病区"), named("N1", "神内一")]);
    let apart = [
        row("", "神内病区", false, 1),
        row("201", "神经内科", true, 1),
        row("N1", "神内一", false, 1),
    ];
    assert_eq!(figures(&ledger), apart);

    // By its code the name says nothing; without one the name is all there is.
    assert_eq!(map(&ledger, ("N1", "神内一"), "202").await, Ok(()));
    assert_eq!(map(&ledger, ("", "神内病区"), "201").await, Ok(()));
    assert_eq!(unlisted(&ledger), []);
    assert_eq!(figures(&ledger), [row("201", "神经内科", true, 2), row("202", "心内科", true, 1)]);
    assert_eq!(map(&ledger, ("N1", ""), "201").await, Ok(()), "said anew");
    work(&ledger, "7", "N1", "神内一区", 4).await;
    assert_eq!(figures(&ledger), [row("201", "神经内科", true, 4)]);

    for (of, to, refusal) in [
        (("201", ""), "202", DepartmentRefusal::Listed),
        (("N1", ""), "999", DepartmentRefusal::NotInDictionary),
        (("N2", ""), "201", DepartmentRefusal::NeverNamed),
        (("", "神内一"), "201", DepartmentRefusal::NeverNamed),
        (("", ""), "201", DepartmentRefusal::NeverNamed),
    ] {
        assert_eq!(map(&ledger, of, to).await, Err(refusal), "{of:?} to {to}");
    }

    // The dictionary's own word goes first, and comes back with its row.
    publish(&ledger, &[("201", "神经内科"), ("N1", "神经内科一病区")]).await;
    let own = [row("201", "神经内科", true, 2), row("N1", "神经内科一病区", true, 2)];
    assert_eq!(figures(&ledger), own);
    publish(&ledger, &[("202", "心内科")]).await;
    let lost = [named("", "神内病区"), named("201", "神内"), named("N1", "神内一区")];
    assert_eq!(unlisted(&ledger), lost, "what they were mapped to is gone");
    publish(&ledger, &[("201", "神经内科")]).await;

    let by = "李工".to_owned();
    for expected in [Ok(()), Err(DepartmentRefusal::NotMapped)] {
        let of = Department { code: "N1".into(), name: String::new() };
        let taken = ledger.unmap_department("H1".into(), of, by.clone(), NOW).await;
        assert_eq!(taken.unwrap(), expected);
    }
    assert_eq!(unlisted(&ledger), [named("N1", "神内一区")]);
    assert_eq!(
        figures(&ledger),
        [row("201", "神经内科", true, 2), row("N1", "神内一区", false, 2)]
    );
    let deeds = Deeds { study: None, who: None, since: NOW, limit: 99 };
    let deeds = ledger.deeds(&deeds).unwrap().into_iter();
    let deeds: Vec<_> = deeds.filter(|one| !one.detail.is_empty()).collect();
    let mut told: Vec<_> = deeds
        .iter()
        .map(|one| [one.who.as_str(), one.what.as_str(), one.detail.as_str()])
        .collect();
    told.sort();
    let expected = [
        ["张工", "department mapped", "H1: N1 = 201"],
        ["张工", "department mapped", "H1: N1 = 202"],
        ["张工", "department mapped", "H1: 神内病区 = 201"],
        ["李工", "department unmapped", "H1: N1"],
    ];
    assert_eq!(told, expected);
}
