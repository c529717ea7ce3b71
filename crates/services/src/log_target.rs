//! Targets of log events that operators filter by.

/// Events of account security and actions of administrators. Each has a field `event` with a name that does not change
/// (`docs/deployment.md` lists them), and none is held back because it repeats:
///
/// ```
/// tracing::warn!(target: services::log_target::SECURITY, event = "login_failed", "login failed");
/// ```
///
/// The user who acts, the client's address and the request's id are fields of the request around it.
pub const SECURITY: &str = "security";
