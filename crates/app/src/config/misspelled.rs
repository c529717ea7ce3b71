//! Finds environment variables that look like a misspelled setting.

use std::collections::BTreeSet;

/// Variables of operating systems, shells and platforms whose names are similar to a setting.
const SYSTEM_VARIABLES: &[&str] = &["HOME", "HOSTNAME", "HOSTTYPE", "LOGNAME", "PATH", "PWD", "TERM", "USER"];

/// A prefix that users may expect, although Stockyard's settings have none.
const PREFIX: &str = "STOCKYARD_";

/// A variable that is set but not read, and the setting that it looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misspelled {
    pub variable: String,
    pub setting: String,
}

/// Finds variables that look like one of `settings` but are not.
pub fn find(
    settings: &BTreeSet<String>,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Vec<Misspelled> {
    let mut found: Vec<Misspelled> = variables
        .into_iter()
        .filter(|(name, _)| !settings.contains(name) && !SYSTEM_VARIABLES.contains(&name.as_str()))
        // Kubernetes and Docker set such variables for a service named `stockyard`:
        // STOCKYARD_PORT=tcp://10.0.0.1:8080.
        .filter(|(name, value)| !(name.starts_with(PREFIX) && value.starts_with("tcp://")))
        .filter_map(|(variable, _)| {
            let setting = nearest(settings, &variable)?.to_owned();
            Some(Misspelled { variable, setting })
        })
        .collect();
    found.sort_by(|a, b| a.variable.cmp(&b.variable));
    found
}

fn nearest<'a>(settings: &'a BTreeSet<String>, variable: &str) -> Option<&'a str> {
    let upper = variable.to_uppercase().replace('-', "_");
    let name = upper.strip_prefix(PREFIX).unwrap_or(&upper);
    let distances = settings.iter().map(|setting| (strsim::osa_distance(setting, name), setting));
    let (distance, setting) = distances.min()?;
    (distance <= tolerated_edits(setting)).then_some(setting)
}

/// How many wrong, missing, extra or swapped letters are tolerated. Fewer for short names, which resemble many other
/// words.
fn tolerated_edits(setting: &str) -> usize {
    match setting.len() {
        0..=7 => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn found(variables: &[(&str, &str)]) -> Vec<Misspelled> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        find(&Config::setting_names(), variables)
    }

    #[test]
    fn the_reader_names_its_settings() {
        let names = Config::setting_names();
        for name in ["PORT", "SIMULATION_SEED", "ALPHAVANTAGE_BASE_URL", "YAHOO_COOKIE_URL", "CLOCK_SPEED"] {
            assert!(names.contains(name), "{name} is not in {names:?}");
        }
    }

    #[test]
    fn typical_misspellings_are_found() {
        for (variable, setting) in [
            ("TRADNG", "TRADING"),
            ("TRADIGN", "TRADING"),
            ("trading", "TRADING"),
            ("DATABSE_URL", "DATABASE_URL"),
            ("DATABASE_URI", "DATABASE_URL"),
            ("DATABASEURL", "DATABASE_URL"),
            ("DATABASE-URL", "DATABASE_URL"),
            ("REDDIS_URL", "REDIS_URL"),
            ("SECRETKEY", "SECRET_KEY"),
            ("SECERT_KEY", "SECRET_KEY"),
            ("CLOCK_SPED", "CLOCK_SPEED"),
            ("COMISSION_PER_ORDER", "COMMISSION_PER_ORDER"),
            ("COMMISION_MINIMUM", "COMMISSION_MINIMUM"),
            ("SLIPAGE_PERCENT", "SLIPPAGE_PERCENT"),
            ("ALPHA_VANTAGE_API_KEY", "ALPHAVANTAGE_API_KEY"),
            ("LOG_FROMAT", "LOG_FORMAT"),
            ("PUBLIC_ULR", "PUBLIC_URL"),
            ("STOCKYARD_PORT", "PORT"),
            ("STOCKYARD_DATABASE_URL", "DATABASE_URL"),
            ("STOCKYARD_TRADNG", "TRADING"),
        ] {
            let expected = Misspelled { variable: variable.to_owned(), setting: setting.to_owned() };
            assert_eq!(found(&[(variable, "x")]), [expected]);
        }
    }

    #[test]
    fn a_usual_environment_has_no_misspellings() {
        let usual = [
            "PATH",
            "HOME",
            "HOSTNAME",
            "HOSTTYPE",
            "PORT",
            "HOST",
            "LOGNAME",
            "PWD",
            "OLDPWD",
            "USER",
            "SHELL",
            "SHLVL",
            "TERM",
            "LANG",
            "LANGUAGE",
            "LC_ALL",
            "LC_CTYPE",
            "TZ",
            "MAIL",
            "EDITOR",
            "VISUAL",
            "PAGER",
            "DISPLAY",
            "TMPDIR",
            "TEMP",
            "TMP",
            "_",
            "COLUMNS",
            "LINES",
            "LS_COLORS",
            "SSH_AUTH_SOCK",
            "SSH_CONNECTION",
            "SSH_TTY",
            "XDG_RUNTIME_DIR",
            "XDG_DATA_DIRS",
            "XDG_CONFIG_DIRS",
            "DBUS_SESSION_BUS_ADDRESS",
            "INVOCATION_ID",
            "JOURNAL_STREAM",
            "SYSTEMD_EXEC_PID",
            "NOTIFY_SOCKET",
            "LISTEN_FDS",
            "LISTEN_PID",
            "MAINPID",
            "RUNTIME_DIRECTORY",
            "STATE_DIRECTORY",
            "LOGS_DIRECTORY",
            "CREDENTIALS_DIRECTORY",
            "CI",
            "DYNO",
            "KUBERNETES_PORT",
            "KUBERNETES_SERVICE_HOST",
            "KUBERNETES_SERVICE_PORT",
            "REDIS_PORT",
            "REDIS_HOST",
            "POSTGRES_PASSWORD",
            "POSTGRES_USER",
            "POSTGRES_DB",
            "POSTGRES_PORT",
            "PGHOST",
            "PGPORT",
            "PGUSER",
            "PGPASSWORD",
            "PGDATABASE",
            "PGSSLMODE",
            "PGSSLROOTCERT",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
            "RUST_LOG",
            "RUST_BACKTRACE",
            "CARGO_HOME",
            "RUSTUP_HOME",
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "MALLOC_ARENA_MAX",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "NO_PROXY",
            "http_proxy",
            "https_proxy",
            "no_proxy",
            "ALL_PROXY",
            "FAKETIME",
            "STOCKYARD_TEST_BACKEND",
            "TEST_DATABASE_URL",
            "TEST_REDIS_URL",
            "TEST_DATABASE_TLS_URL",
            "SOURCE_VERSION",
            "STACK",
            "WEB_CONCURRENCY",
            "NODE_ENV",
            "DEBUG",
            "NO_COLOR",
        ];
        assert_eq!(found(&usual.map(|name| (name, "x"))), []);
        let kubernetes = [
            ("STOCKYARD_PORT", "tcp://10.0.0.1:8080"),
            ("STOCKYARD_PORT_8080_TCP_PORT", "8080"),
            ("STOCKYARD_SERVICE_HOST", "10.0.0.1"),
            ("STOCKYARD_SERVICE_PORT", "8080"),
        ];
        assert_eq!(found(&kubernetes), []);
    }

    #[test]
    fn no_setting_resembles_another_setting() {
        let names = Config::setting_names();
        assert_eq!(find(&names, names.iter().map(|name| (name.clone(), String::new()))), []);
    }
}
