//! The one map from what a peer answers to a fault: refused associations (PS3.8 9.3.4), aborts
//! (9.3.8) and statuses (PS3.7 C, PS3.4 C.4).

use dicom_ul::pdu::{
    AbortRQSource, AssociationRJ, AssociationRJResult, AssociationRJServiceUserReason,
    AssociationRJSource,
};

use super::association::Node;
use crate::fault::Fault;

/// Status: done.
pub const SUCCESS: u16 = 0x0000;
/// Status of a C-STORE whose UIDs are none (PS3.7 C.5.13).
pub const INVALID_INSTANCE: u16 = 0x0117;

/// Status of a command that no service here has (PS3.7 C.5.23).
pub const UNRECOGNIZED_OPERATION: u16 = 0x0211;

/// Whether more answers follow (PS3.4 C.4.1.1.4; FF01: some keys were not supported).
pub fn is_pending(status: u16) -> bool {
    matches!(status, 0xff00 | 0xff01)
}

/// Whether it was done, if not as well as could be: B000 to BFFF and the general warnings.
pub fn is_done(status: u16) -> bool {
    status == SUCCESS || status >> 12 == 0xb || matches!(status, 0x0001 | 0x0107 | 0x0116)
}

/// A request that failed, in words. What names this request means it for good; what may be the
/// peer's bad hour, or a right that somebody grants, may pass.
pub fn fault(service: &str, status: u16) -> Fault {
    let peer = |step, words: &str| Fault::peer(step, format!("{service}: {words} ({status:04X})"));
    match status {
        0x0110 => peer("status", "processing failure"),
        0x0112 => peer("absent", "no such object").for_good(),
        0x0117 => peer("status", "invalid object instance").for_good(),
        0x0118 | 0x0122 => peer("status", "SOP class not supported").for_good(),
        0x0124 => peer("refused", "not authorized"),
        0x0211 => peer("status", "unrecognized operation").for_good(),
        0xfe00 => peer("cancelled", "the peer cancelled it"),
        0xa900..=0xa9ff => peer("status", "the peer does not take these keys").for_good(),
        0xa700..=0xa7ff => peer("busy", "out of resources"),
        0xa801 => peer("status", "move destination unknown").for_good(),
        0xc000..=0xcfff => peer("status", "unable to process"),
        _ => peer("status", "failed"),
    }
}

/// A refused association: which side refused, for how long, and why.
pub fn rejected(node: &Node, rejection: &AssociationRJ) -> Fault {
    use AssociationRJServiceUserReason as Reason;
    let why = match &rejection.source {
        AssociationRJSource::ServiceUser(Reason::CalledAETitleNotRecognized) => {
            format!("it is not called {}", node.called)
        }
        AssociationRJSource::ServiceUser(Reason::CallingAETitleNotRecognized) => {
            format!("it does not know {}: have it entered there", node.calling)
        }
        AssociationRJSource::ServiceUser(reason) => format!("its application: {reason}"),
        AssociationRJSource::ServiceProviderASCE(reason) => format!("its network layer: {reason}"),
        AssociationRJSource::ServiceProviderPresentation(reason) => {
            format!("its network layer: {reason}")
        }
    };
    let words = format!("{} refused the association: {why}", node.address);
    match rejection.result {
        AssociationRJResult::Transient => Fault::peer("busy", words),
        AssociationRJResult::Permanent => Fault::peer("refused", words),
    }
}

/// The peer cut the association off.
pub fn aborted(source: &AbortRQSource) -> Fault {
    let words = match source {
        AbortRQSource::ServiceUser => "the peer's application aborted".to_owned(),
        AbortRQSource::ServiceProvider(reason) => {
            format!("the peer's network layer aborted: {reason}")
        }
        AbortRQSource::Reserved => "the peer aborted".to_owned(),
    };
    Fault::peer("aborted", words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Retry;

    #[test]
    fn a_status_says_whether_trying_again_helps() {
        let judged = |status| {
            let fault = fault("C-GET", status);
            (fault.step, fault.retry)
        };
        assert_eq!(judged(0xa701), ("busy", Retry::Later));
        assert_eq!(judged(0xa702), ("busy", Retry::Later));
        assert_eq!(judged(0xa900), ("status", Retry::Never));
        assert_eq!(judged(0xc001), ("status", Retry::Later));
        assert_eq!(judged(0x0122), ("status", Retry::Never));
        assert_eq!(judged(0x0124), ("refused", Retry::Later));
        assert_eq!(judged(0xfe00), ("cancelled", Retry::Later));
        assert!(is_pending(0xff00) && is_pending(0xff01) && !is_pending(0));
        assert!(is_done(0) && is_done(0xb000) && !is_done(0xa702) && !is_done(0xff00));
    }
}
