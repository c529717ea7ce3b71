# shellcheck shell=bash
# Sourced by the other scripts. Appends folders to PATH that are not in it on Debian: the newest PostgreSQL is in
# /usr/lib/postgresql/<version>/bin, nginx in /usr/sbin, cargo-nextest in Cargo's bin folder.
newest_postgres=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1) || true
PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin${newest_postgres:+:$newest_postgres}:/usr/sbin"
unset newest_postgres
export PATH
