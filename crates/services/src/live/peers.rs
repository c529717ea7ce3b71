//! Messages about committed changes between the processes of an installation.

use crate::events::Change;

/// The connection to the other processes. A lost message affects streams only.
pub trait Peers: Send + Sync {
    /// Must not wait: the order desk calls it between two transactions.
    fn tell(&self, changes: Vec<Change>);
}
