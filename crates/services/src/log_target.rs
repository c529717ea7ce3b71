//! Targets of log events that operators filter by.

/// Events of account security and of administrators' actions. Each has a field `event` with a fixed name
/// (`docs/deployment.md` lists them), and repeated events are never suppressed:
///
/// ```
///
/// tracing::warn!(target: services::log_target::SECURITY, event = "login_failed", "login failed");
///
/// ```
///
/// The user, the client's address and the request's id are fields of the surrounding request.
pub const SECURITY: &str = "security";
