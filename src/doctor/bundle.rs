//! Placeholder
use crate::config::Config;
use crate::console::Report;
use std::path::Path;
/// x
pub struct Bundle;
/// x
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct BundleError;
impl Bundle {
    /// x
    pub fn collect(_: &Path, _: &Config, _: &Report) -> Bundle { Bundle }
    /// x
    pub fn write(&self, _: &Path) -> Result<(), BundleError> { Ok(()) }
}
