//! Blocks of memory that snapshots share, and that change by being made anew.

use std::mem;
use std::sync::Arc;

/// The block with one more in it. The others are moved; copied if a snapshot has them too.
pub fn with<T: Clone + Default>(block: &mut Arc<[T]>, at: usize, new: T) -> Arc<[T]> {
    let (before, after) = Arc::make_mut(block).split_at_mut(at);
    let before = before.iter_mut().map(mem::take);
    let after = after.iter_mut().map(mem::take);
    before.chain([new]).chain(after).collect()
}

/// The block without one of them, and that one.
pub fn without<T: Clone + Default>(block: &mut Arc<[T]>, at: usize) -> (Arc<[T]>, T) {
    let (before, after) = Arc::make_mut(block).split_at_mut(at);
    let (taken, after) = after.split_at_mut(1);
    let before = before.iter_mut().map(mem::take);
    let after = after.iter_mut().map(mem::take);
    (before.chain(after).collect(), mem::take(&mut taken[0]))
}

/// All of the block, moved; copied if a snapshot has them too.
pub fn drain<T: Clone + Default>(block: &mut Arc<[T]>) -> impl ExactSizeIterator<Item = T> {
    Arc::make_mut(block).iter_mut().map(mem::take)
}
