//! The way of objects from a source into the lane: bounded, and in pieces worth waking the keeper.

use bytes::{Bytes, BytesMut};

use super::limits::PIECE_BYTES_MIN;
use crate::fault::Fault;
use crate::prefetch::{Lane, Piece};

/// Objects on their way, one after another.
pub struct Handover<'a> {
    lane: &'a Lane,
    object_bytes_max: u64,
    /// Bytes of the object that is coming.
    object_bytes: u64,
    objects: usize,
    /// Small pieces of it, not yet in the lane.
    held: BytesMut,
}

impl<'a> Handover<'a> {
    /// Nothing handed over yet. `object_bytes_max`: bytes of one object.
    pub fn new(lane: &'a Lane, object_bytes_max: u64) -> Handover<'a> {
        Handover { lane, object_bytes_max, object_bytes: 0, objects: 0, held: BytesMut::new() }
    }

    /// Objects that came whole.
    pub fn objects(&self) -> usize {
        self.objects
    }

    /// Bytes of the object that is coming, or came last.
    pub fn object_bytes(&self) -> u64 {
        self.object_bytes
    }

    /// An object begins; one that did not end is dropped.
    pub async fn begin(&mut self) -> Result<(), Fault> {
        self.object_bytes = 0;
        self.held.clear();
        self.lane.put(Piece::Begin).await
    }

    /// Its next bytes.
    pub async fn bytes(&mut self, bytes: Bytes) -> Result<(), Fault> {
        self.object_bytes += bytes.len() as u64;
        let bytes_max = self.object_bytes_max;
        if self.object_bytes > bytes_max {
            let detail = format!("an object over {bytes_max} B");
            return Err(Fault::peer("too large", detail).for_good());
        }
        if self.held.is_empty() && bytes.len() >= PIECE_BYTES_MIN {
            return self.lane.put(Piece::Bytes(bytes)).await;
        }
        if self.held.is_empty() {
            self.held.reserve(2 * PIECE_BYTES_MIN);
        }
        self.held.extend_from_slice(&bytes);
        if self.held.len() >= PIECE_BYTES_MIN { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Fault> {
        let held = std::mem::take(&mut self.held).freeze();
        self.lane.put(Piece::Bytes(held)).await
    }

    /// It is whole.
    pub async fn end(&mut self) -> Result<(), Fault> {
        if !self.held.is_empty() {
            self.flush().await?;
        }
        self.objects += 1;
        self.lane.put(Piece::End).await
    }
}
