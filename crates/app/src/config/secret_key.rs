//! The generated key, and files that only their owner can read.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

/// Creates the folder with access only for its owner, because it contains password hashes and the key.
///
/// # Errors
/// If it cannot be created.
pub fn private_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// The name of the file with the generated key, in the data folder.
pub const SECRET_KEY_FILE: &str = "secret_key";
/// The permissions of every file that Stockyard creates: only its owner may read and write it.
pub const PRIVATE_FILE: u32 = 0o600;

/// Removes the permissions of other users from a file, which earlier versions created with the umask's. A missing file
/// is ignored; a failure is only logged.
pub fn make_private(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(metadata) = std::fs::metadata(file) else { return };
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & !PRIVATE_FILE == 0 {
        return;
    }
    let was = format!("{mode:04o}");
    match std::fs::set_permissions(file, std::fs::Permissions::from_mode(PRIVATE_FILE)) {
        Ok(()) => tracing::info!(file = %file.display(), was, now = "0600", "file made private"),
        Err(error) => tracing::warn!(
            file = %file.display(), was, error = &error as &dyn std::error::Error,
            "other users of this machine may read this file, and its permissions cannot be changed"
        ),
    }
}

pub(super) fn kept_key(folder: &Path) -> std::io::Result<SecretString> {
    use std::io::Write;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    private_folder(folder)?;
    let path = folder.join(SECRET_KEY_FILE);
    match std::fs::read_to_string(&path) {
        Ok(key) if key.trim().len() >= 64 => {
            make_private(&path);
            return Ok(key.trim().to_owned().into());
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let key: SecretString = rand::random::<[u128; 3]>().map(|part| format!("{part:032x}")).concat().into();
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(PRIVATE_FILE).open(&path)?;
    // Set explicitly, because the umask may have removed permissions and an existing file keeps its own.
    file.set_permissions(std::fs::Permissions::from_mode(PRIVATE_FILE))?;
    file.write_all(key.expose_secret().as_bytes())?;
    file.sync_all()?;
    Ok(key)
}
