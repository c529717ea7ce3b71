//! Word of what was committed, between the processes of a deployment.

use crate::events::Change;

/// The way to the other processes. What gets lost on it is missed by streams alone.
pub trait Peers: Send + Sync {
    /// Must not wait: it is called between two transactions of the order desk.
    fn tell(&self, changes: Vec<Change>);
}
