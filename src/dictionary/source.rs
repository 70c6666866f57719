//! What the flow asks of a door: a hospital's system that gives a whole dictionary.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Dictionary;
use crate::catalog::Record;
use crate::fault::{Fault, Retry};
use crate::limits::{RETRY_MS_MAX, RETRY_MS_MIN};
use crate::model::{DictionaryKind, Time};

/// What a source does, in a box because sources of several kinds stand in one list.
pub type Work<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

/// A hospital's system that gives a whole dictionary.
pub trait Source: Send + Sync {
    /// The configured name.
    fn name(&self) -> &str;

    /// Which dictionary it gives.
    fn kind(&self) -> DictionaryKind;

    /// The hospital of rows that name none.
    fn hospital(&self) -> &str;

    /// From one good answer to the next question.
    fn interval(&self) -> Duration;

    /// All of it, every row checked by the catalogue ([`super::interface`]), those that cannot be
    /// used among them; a part is a fault.
    fn whole(&self) -> Work<'_, Vec<Record>>;
}

/// Asks one source again and again. After a fault the wait doubles from [`RETRY_MS_MIN`] to
/// [`RETRY_MS_MAX`], and is never longer than the interval.
pub(super) async fn poll(
    dictionary: Dictionary,
    source: Arc<dyn Source>,
    clock: fn() -> Time,
    stop: CancellationToken,
) {
    let mut faults = 0u32;
    while !stop.is_cancelled() {
        let asked = tokio::select! {
            asked = ask(&dictionary, source.as_ref(), clock) => asked,
            () = stop.cancelled() => return,
        };
        let outcome = asked.as_ref().map_or_else(|fault| fault.step, |()| "ok");
        metrics::counter!("dictionary_polls_total", "source" => source.name().to_owned(),
            "outcome" => outcome)
        .increment(1);
        let wait = match asked {
            Ok(()) => {
                faults = 0;
                source.interval()
            }
            Err(fault) => {
                let (name, kind) = (source.name(), source.kind().name());
                log::warn!(source = name, kind, fault:% = fault; "no dictionary from this source");
                let wait = wait_after(faults, fault.retry);
                faults += 1;
                wait.min(source.interval())
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn ask(
    dictionary: &Dictionary,
    source: &dyn Source,
    clock: fn() -> Time,
) -> Result<(), Fault> {
    let records = source.whole().await?;
    let (hospital, kind) = (source.hospital(), source.kind());
    dictionary.take_whole(hospital, kind, records, source.name(), clock()).await?;
    Ok(())
}

fn wait_after(faults: u32, retry: Retry) -> Duration {
    let doubled = RETRY_MS_MIN.saturating_mul(1 << faults.min(16)).min(RETRY_MS_MAX);
    let wait = match retry {
        Retry::Later => doubled,
        Retry::AfterMs(asked) => doubled.max(asked.min(RETRY_MS_MAX)),
        Retry::Never => RETRY_MS_MAX,
    };
    Duration::from_millis(wait.max(0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_stay_bounded_and_respect_the_peer() {
        let ms = |faults, retry| wait_after(faults, retry).as_millis() as i64;
        assert_eq!(ms(0, Retry::Later), RETRY_MS_MIN);
        assert_eq!(ms(1, Retry::Later), 2 * RETRY_MS_MIN);
        assert_eq!(ms(u32::MAX, Retry::Later), RETRY_MS_MAX);
        assert_eq!(ms(0, Retry::AfterMs(60_000)), 60_000);
        assert_eq!(ms(0, Retry::AfterMs(i64::MAX)), RETRY_MS_MAX);
    }
}
