# shellcheck shell=bash
# Sourced by the scripts beside it: puts programs on the PATH that Debian keeps off it, after everything else.
# The newest PostgreSQL lies in /usr/lib/postgresql/<version>/bin, nginx in /usr/sbin, cargo-nextest in Cargo's own folder.
newest_postgres=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1) || true
PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin${newest_postgres:+:$newest_postgres}:/usr/sbin"
unset newest_postgres
export PATH
