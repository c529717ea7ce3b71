//! Log lines in JSON: one object per line, with the fields of the event and of the surrounding request or job.

use std::error::Error;
use std::fmt::{self, Debug};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// A formatter that writes an error with its causes, under the same name as in text logs (`error.sources`). The
/// formatter of tracing-subscriber writes only the outermost text.
pub struct Json;

impl<S> FormatEvent<S, JsonFields> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Map::new();
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        line.insert("timestamp".into(), timestamp.into());
        line.insert("level".into(), event.metadata().level().as_str().into());
        line.insert("target".into(), event.metadata().target().into());
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            if let Some(fields) = extensions.get::<FormattedFields<JsonFields>>()
                && let Ok(Value::Object(fields)) = serde_json::from_str(&fields.fields)
            {
                line.extend(fields);
            }
        }
        event.record(&mut Fields(&mut line));
        let line = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(writer, "{line}")
    }
}

struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().trim_start_matches("r#").into(), value.into());
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.insert(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let (mut sources, mut cause) = (Vec::new(), value.source());
        while let Some(error) = cause {
            sources.push(Value::from(error.to_string()));
            cause = error.source();
        }
        self.insert(field, value.to_string());
        if !sources.is_empty() {
            self.0.insert(format!("{}.sources", field.name()), sources.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Debug)]
    struct Failed(&'static str, Option<Box<Failed>>);

    impl fmt::Display for Failed {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Failed {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|error| error as &dyn Error)
        }
    }

    #[test]
    fn a_line_has_the_fields_of_event_and_spans_and_every_cause_of_an_error() {
        let log = Arc::new(Mutex::new(Vec::<u8>::new()));
        let writer = {
            let log = log.clone();
            move || Shared(log.clone())
        };
        let layer = tracing_subscriber::fmt::layer()
            .fmt_fields(JsonFields::new())
            .event_format(Json)
            .with_writer(writer);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("request", request_id = "r-1", user_id = tracing::field::Empty);
            let _entered = span.enter();
            span.record("user_id", 7);
            let error = Failed(
                "no answer",
                Some(Failed("no connection", Some(Failed("refused", None).into())).into()),
            );
            tracing::error!(error = &error as &dyn Error, status = 503_u16, symbol = %"A\"B", "database");
        });
        let line: Value = serde_json::from_slice(&log.lock().unwrap()).unwrap();
        for (field, expected) in [
            ("level", Value::from("ERROR")),
            ("message", "database".into()),
            ("request_id", "r-1".into()),
            ("user_id", 7.into()),
            ("status", 503.into()),
            ("symbol", "A\"B".into()),
            ("error", "no answer".into()),
            ("error.sources", vec!["no connection", "refused"].into()),
        ] {
            assert_eq!(line[field], expected, "{field} of {line}");
        }
        assert!(line["timestamp"].is_string(), "{line}");
    }

    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
