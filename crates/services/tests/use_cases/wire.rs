//! A connection to PostgreSQL that is cut right after a COMMIT was executed, so that its answer never arrives.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use persistence::DatabaseUrl;

pub struct Wire {
    pub url: DatabaseUrl,
    commits: Arc<AtomicI64>,
}

impl Wire {
    pub fn to(url: &DatabaseUrl) -> Self {
        let DatabaseUrl::Postgres(url) = url else { panic!("only PostgreSQL is reached by wire") };
        let (before, rest) = url.split_once('@').unwrap();
        let (server, name) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap();
        let url = DatabaseUrl::Postgres(format!("{before}@{here}/{name}?sslmode=disable"));
        let commits = Arc::new(AtomicI64::new(i64::MAX));
        let (server, counter) = (server.to_owned(), commits.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
                carry(client, server, &counter);
            }
        });
        Self { url, commits }
    }

    /// Cuts a connection after the COMMIT with this number, counted from now on over all connections.
    pub fn cut_after(&self, commit: i64) {
        self.commits.store(commit, Ordering::SeqCst);
    }

    /// Whether a connection was cut.
    pub fn is_cut(&self) -> bool {
        self.commits.load(Ordering::SeqCst) <= 0
    }
}

fn carry(client: TcpStream, server: TcpStream, commits: &Arc<AtomicI64>) {
    let cut = Arc::new(AtomicBool::new(false));
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (is_cut, commits) = (cut.clone(), commits.clone());
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(size @ 1..) = from.read(&mut buffer) {
            let said = &buffer[..size];
            if said.windows(6).any(|word| word == b"COMMIT") && commits.fetch_sub(1, Ordering::SeqCst) == 1 {
                is_cut.store(true, Ordering::SeqCst);
            }
            if to.write_all(said).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    let (mut from, mut to) = (server, client);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(size @ 1..) = from.read(&mut buffer) {
            if cut.load(Ordering::SeqCst) || to.write_all(&buffer[..size]).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
}
