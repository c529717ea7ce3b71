//! Messages about committed changes between the processes of an installation.

use crate::events::Change;

/// The connection to the other processes of the installation. Lost messages affect only streams.
pub trait Peers: Send + Sync {
    /// Sends changes to the other processes. It must not block: the order desk calls it between two transactions.
    fn send_changes(&self, changes: Vec<Change>);
}
