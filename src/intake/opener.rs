//! Identity numbers under SM2: which keys there are, and which of them a sender uses.
//!
//! What always holds: nothing is opened on a thread that serves sockets, and only
//! [`SM2_OPENINGS_MAX`] texts at once; whatever a text lacks (a key, a form, a whole byte), the
//! answer is the same `None`. In memory only: the keys, and for each sender the key and the form
//! that opened its last text, which are tried first. Start at [`Opener::open`].

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use crate::ledger::{NamedSm2Key, Sm2KeyFault, load_sm2_keys};
use crate::limits::{SM2_OPENINGS_MAX, SM2_SENDERS_MAX};
use crate::seal::sm2::{Form, Sm2Key};

/// The name under which the key of the configuration is known.
pub const CONFIGURED: &str = "sm2_key_file";

/// Opens what was encrypted to the hospital. Shared by everything that reads identity numbers.
pub struct Opener {
    configured: Option<Arc<NamedSm2Key>>,
    folder: PathBuf,
    keys: Mutex<Ring>,
    senders: Mutex<HashMap<String, Habit>>,
    places: Arc<Semaphore>,
}

/// The keys, the newest first.
type Ring = Arc<[Arc<NamedSm2Key>]>;

/// What opened a sender's last text.
#[derive(Clone, PartialEq, Eq)]
struct Habit {
    key: String,
    form: Form,
}

impl Opener {
    /// Reads the keys in `folder`; the `configured` one is tried behind them.
    pub fn new(configured: Option<Sm2Key>, folder: PathBuf) -> Result<Opener, Sm2KeyFault> {
        let named = |key| NamedSm2Key {
            name: CONFIGURED.to_owned(),
            made_at: None,
            made_by: String::new(),
            key,
        };
        let opener = Opener {
            configured: configured.map(|key| Arc::new(named(key))),
            folder,
            keys: Mutex::new(Arc::default()),
            senders: Mutex::default(),
            places: Arc::new(Semaphore::new(SM2_OPENINGS_MAX)),
        };
        opener.look()?;
        Ok(opener)
    }

    /// Reads the folder again. Gives the names of the keys that were not there before; one that
    /// was taken away opens nothing more. After a fault the keys are as they were.
    pub fn look(&self) -> Result<Vec<String>, Sm2KeyFault> {
        let found = load_sm2_keys(&self.folder)?.into_iter().map(Arc::new);
        let ring: Ring = found.chain(self.configured.clone()).collect();
        let before = std::mem::replace(&mut *lock(&self.keys), Arc::clone(&ring));
        let known = |key: &NamedSm2Key| before.iter().any(|one| one.name == key.name);
        Ok(ring.iter().filter(|key| !known(key)).map(|key| key.name.clone()).collect())
    }

    /// The plain text; `None` when no key opens it. `sender` is whoever encrypted it, where that is
    /// known: a name of the configuration.
    pub async fn open(&self, sender: Option<&str>, text: &str) -> Option<String> {
        let ring = Arc::clone(&lock(&self.keys));
        if ring.is_empty() {
            return None;
        }
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        let habit = sender.and_then(|sender| lock(&self.senders).get(sender).cloned());
        let (text, first) = (text.to_owned(), habit.clone());
        let work = move || {
            // The place is free when the work is done, not when nobody waits for it any more.
            let _place = place;
            open_with(&ring, &text, first.as_ref())
        };
        let opened = tokio::task::spawn_blocking(work).await.ok()?;
        let outcome = if opened.is_some() { "opened" } else { "not opened" };
        metrics::counter!("sm2_texts_total", "outcome" => outcome).increment(1);
        let (plain, found) = opened?;
        if let Some(sender) = sender
            && habit.as_ref() != Some(&found)
        {
            self.remember(sender, found);
        }
        Some(plain)
    }

    fn remember(&self, sender: &str, habit: Habit) {
        let mut senders = lock(&self.senders);
        // What is forgotten costs a few tries, once.
        if senders.len() == SM2_SENDERS_MAX && !senders.contains_key(sender) {
            senders.clear();
        }
        senders.insert(sender.to_owned(), habit);
    }
}

fn open_with(ring: &Ring, text: &str, first: Option<&Habit>) -> Option<(String, Habit)> {
    let is_first = |key: &&Arc<NamedSm2Key>| first.is_some_and(|habit| habit.key == key.name);
    let likely = ring.iter().filter(is_first);
    let others = ring.iter().filter(|key| !is_first(key));
    likely.chain(others).find_map(|key| {
        let (plain, form) = key.key.decrypt(text, first.map(|habit| habit.form)).ok()?;
        Some((plain, Habit { key: key.name.clone(), form }))
    })
}

/// Nothing here is left half-done by a panic: each holder replaces one value.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::make_sm2_key;
    use crate::model::Time;
    use crate::seal::sm2::Encoding;

    const NUMBER: &str = "110199198003074013";

    fn habit(opener: &Opener, sender: &str) -> Option<(String, Form)> {
        lock(&opener.senders).get(sender).map(|habit| (habit.key.clone(), habit.form))
    }

    #[tokio::test]
    async fn every_key_of_a_rotation_opens_and_what_worked_is_remembered_per_sender() {
        let folder = tempfile::tempdir().unwrap();
        let old = make_sm2_key(folder.path(), "old", "x", Time(1)).unwrap().key.public();
        let new = make_sm2_key(folder.path(), "new", "x", Time(2)).unwrap().key.public();
        let opener = Opener::new(None, folder.path().to_owned()).unwrap();
        for (sender, key, name, form) in [
            ("his", &old, "old", Form::BareC1C2C3),
            ("lis", &new, "new", Form::Der),
            ("his", &new, "new", Form::BareC1C2C3),
        ] {
            for _ in 0..2 {
                let text = key.encrypt(NUMBER, form, Encoding::Hex).unwrap();
                assert_eq!(opener.open(Some(sender), &text).await.as_deref(), Some(NUMBER));
                assert_eq!(habit(&opener, sender), Some((name.to_owned(), form)));
            }
        }
        assert_eq!(habit(&opener, "lis"), Some(("new".to_owned(), Form::Der)), "each its own");
        let text = new.encrypt(NUMBER, Form::C1C3C2, Encoding::Base64).unwrap();
        assert_eq!(opener.open(None, &text).await.as_deref(), Some(NUMBER));
        assert_eq!(lock(&opener.senders).len(), 2, "nobody is remembered under no name");
        let damaged = text.replace(&text[40..44], "AAAA");
        assert_eq!(opener.open(Some("his"), &damaged).await, None);
    }

    #[tokio::test]
    async fn a_new_key_opens_after_a_look_and_a_removed_one_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let configured = Sm2Key::generate().unwrap();
        let by_configured = configured.public();
        let opener = Opener::new(Some(configured), folder.path().to_owned()).unwrap();
        let public = make_sm2_key(folder.path(), "one", "x", Time(1)).unwrap().key.public();
        let text = public.encrypt(NUMBER, Form::C1C3C2, Encoding::Hex).unwrap();
        assert_eq!(opener.open(None, &text).await, None, "nobody has looked yet");
        assert_eq!(opener.look().unwrap(), ["one"]);
        assert_eq!(opener.look().unwrap(), [""; 0]);
        assert_eq!(opener.open(None, &text).await.as_deref(), Some(NUMBER));
        let old = by_configured.encrypt(NUMBER, Form::C1C3C2, Encoding::Hex).unwrap();
        assert_eq!(opener.open(None, &old).await.as_deref(), Some(NUMBER), "still honoured");
        std::fs::write(folder.path().join("two.pem"), "broken").unwrap();
        assert!(opener.look().is_err());
        assert_eq!(opener.open(None, &text).await.as_deref(), Some(NUMBER), "as they were");
        std::fs::remove_file(folder.path().join("two.pem")).unwrap();
        std::fs::remove_file(folder.path().join("one.pem")).unwrap();
        assert_eq!(opener.look().unwrap(), [""; 0]);
        assert_eq!(opener.open(None, &text).await, None);
    }

    #[tokio::test]
    async fn senders_beyond_the_limit_are_forgotten_and_still_served() {
        let folder = tempfile::tempdir().unwrap();
        let public = make_sm2_key(folder.path(), "one", "x", Time(1)).unwrap().key.public();
        let opener = Opener::new(None, folder.path().to_owned()).unwrap();
        let text = public.encrypt(NUMBER, Form::C1C3C2, Encoding::Hex).unwrap();
        for sender in 0..SM2_SENDERS_MAX + 1 {
            let opened = opener.open(Some(&sender.to_string()), &text).await;
            assert_eq!(opened.as_deref(), Some(NUMBER));
        }
        assert_eq!(lock(&opener.senders).len(), 1);
    }

    #[tokio::test]
    async fn many_texts_at_once_are_all_opened() {
        let folder = tempfile::tempdir().unwrap();
        let public = make_sm2_key(folder.path(), "one", "x", Time(1)).unwrap().key.public();
        let opener = Arc::new(Opener::new(None, folder.path().to_owned()).unwrap());
        let tasks: Vec<_> = (0..40)
            .map(|at| {
                let text = public.encrypt(&format!("{at}"), Form::Der, Encoding::Base64).unwrap();
                let opener = Arc::clone(&opener);
                tokio::spawn(async move { opener.open(Some("his"), &text).await })
            })
            .collect();
        for (at, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), Some(at.to_string()));
        }
        assert_eq!(opener.places.available_permits(), SM2_OPENINGS_MAX);
    }
}
