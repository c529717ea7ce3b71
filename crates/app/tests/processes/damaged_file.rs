//! `verify` on damaged SQLite files.

use crate::client::Client;
use crate::installation::Installation;

/// Overwrites pages of the file one by one. For each, `verify` has to report the damage with advice and exit with 1.
#[tokio::test]
async fn verify_reports_damaged_pages_and_what_to_do() {
    let installation = Installation::embedded();
    let mut server = installation.serve().await;
    let sam = Client::new(std::slice::from_ref(&server.url)).register().await;
    let id = sam.open_portfolio("1000.00").await;
    for _ in 0..20 {
        sam.buy(id, "AAPL", "0.1").await;
    }
    server.process.ends_well().await;
    installation.verify().await;
    // Vacuumed, because damage to unused pages would not matter.
    installation.books().execute("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");
    let file = installation.folder().join("data/stockyard.db");
    let sound = std::fs::read(&file).unwrap();
    let pages = sound.len() / 4096;
    let mut reported = 0;
    // Each page needs a process, so only some pages are tested, including the first.
    for page in (0..pages).step_by((pages / 12).max(1)) {
        let mut damaged = sound.clone();
        damaged[page * 4096..(page + 1) * 4096].fill(0xa5);
        std::fs::write(&file, &damaged).unwrap();
        for beside in ["stockyard.db-wal", "stockyard.db-shm"] {
            let _ = std::fs::remove_file(file.with_file_name(beside));
        }
        let verified = installation.run(&["verify"]).await;
        assert_eq!(verified.code, Some(1), "page {page}: {verified:?}");
        let told = format!("{}{}", verified.stdout, verified.stderr);
        assert!(!told.contains("the books balance") && !told.contains("panicked"), "page {page}: {told}");
        assert!(told.contains("backup"), "page {page}: {told}");
        reported += 1;
    }
    assert!(reported >= 10, "{pages} pages");
}
