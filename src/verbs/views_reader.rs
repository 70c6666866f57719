//! `forepost views-reader`: the process in which a vendor's database driver runs. The service
//! starts it; a person has no use for it.

use super::DONE;
use crate::views;

/// Serves orders on the standard input until it ends.
pub fn run() -> u8 {
    views::reader::run();
    DONE
}
