//! The HTTP doors: accept, know the caller, read with limits, answer, drain.
//!
//! `serve` owns the sockets, `caller` knows who calls, `register` is the hospital's own interface,
//! `dictionaries` is what clouds ask for, `request` is what several doors read of a request,
//! `page` is what the pages of several doors share, `reply` is the one map from fault to answer.

mod caller;
mod dictionaries;
mod hospital;
mod page;
mod reply;
mod request;
mod serve;
mod tls;
mod zero_copy;

pub use caller::{Caller, Callers, Peer, RequestId};
pub use dictionaries::{CloudDoor, router as cloud_router};
pub use hospital::{Hospital, HospitalDoor, router as hospital_router};
pub use page::{POLICY, escaped, guarded, is_foreign, read_form, see};
pub use reply::bare;
pub use request::{host, read_body};
pub use serve::{Door, ServeError, bind};
pub use tls::{Certificate, HTTP, TlsFault, acceptor};
pub use zero_copy::{Files, Mapped, ZeroCopy};
