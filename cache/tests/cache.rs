//! The cache through its door.

// A failed unwrap in a helper is a failed test too.
#![allow(clippy::unwrap_used)]

#[path = "cache/support.rs"]
mod support;

#[path = "cache/arriving.rs"]
mod arriving;
#[path = "cache/fixtures.rs"]
mod fixtures;
#[path = "cache/frames.rs"]
mod frames;
#[path = "cache/model.rs"]
mod model;
#[path = "cache/odd_objects.rs"]
mod odd_objects;
#[path = "cache/searching.rs"]
mod searching;
#[path = "cache/surviving.rs"]
mod surviving;
