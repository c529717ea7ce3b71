//! The body of a window's performance: the points that were written before, and the rest.
//!
//! All points but the last are written once for many answers, also compressed. A gzip body is a header, blocks of
//! deflate, and the checksum of all. The closed points end with a block on a byte's boundary, so that the blocks of the
//! rest can follow, and their checksum is continued.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header::{self, AcceptEncoding, Encoding, Header, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use crc32fast::Hasher;
use domain::performance::{Analysis, Day, cumulative_twr, twr_until_last_day};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use services::books::analysis::{PointsForm, PointsWriter, WindowAnalysis};

use crate::http::problem::Problem;
use crate::portfolios::performance_api::{Performance, PerformancePoint};

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyForm {
    Plain,
    Gzip,
}

/// The form that a client accepts.
pub fn form(request: &HttpRequest) -> BodyForm {
    let supported = [Encoding::gzip(), Encoding::identity()];
    let chosen =
        AcceptEncoding::parse(request).ok().and_then(|accepted| accepted.negotiate(supported.iter()));
    if chosen == Some(Encoding::gzip()) { BodyForm::Gzip } else { BodyForm::Plain }
}

impl BodyForm {
    /// Writes the closed points of a window.
    pub fn writer(self) -> PointsWriter {
        match self {
            Self::Plain => PointsWriter { form: PointsForm::Plain, write: write_closed },
            Self::Gzip => PointsWriter { form: PointsForm::Compressed, write: compress_closed },
        }
    }
}

/// The beginning of every body.
const BEGINNING: &[u8] = br#"{"series":["#;

/// The answer for a window whose points but the last have been written in this form.
pub fn respond(
    form: BodyForm,
    closed: Arc<[u8]>,
    analyzed: &WindowAnalysis,
) -> Result<HttpResponse, Problem> {
    let rest = rest(analyzed)?;
    let mut response = HttpResponse::Ok();
    response.content_type("application/json");
    let closed = Bytes::from_owner(closed);
    let pieces = match form {
        BodyForm::Plain => [closed, rest.into()],
        BodyForm::Gzip => {
            response.insert_header((header::CONTENT_ENCODING, HeaderValue::from_static("gzip")));
            response.insert_header((header::VARY, HeaderValue::from_static("accept-encoding")));
            continue_gzip(closed, &rest).ok_or_else(Problem::internal)?
        }
    };
    Ok(response.body(Pieces(pieces.into())))
}

/// The last point and all that follows the points.
fn rest(analyzed: &WindowAnalysis) -> Result<Vec<u8>, Problem> {
    let mut body = Vec::with_capacity(16 * 1024);
    if let Some(point) = last_point(&analyzed.analysis) {
        serde_json::to_writer(&mut body, &point).map_err(|_| Problem::internal())?;
    }
    let from = body.len();
    let others = Performance::new(analyzed, Vec::new(), None);
    serde_json::to_writer(&mut body, &others).map_err(|_| Problem::internal())?;
    debug_assert!(body[from..].starts_with(BEGINNING), "Invariant: the points come first");
    body.drain(from..from + BEGINNING.len());
    Ok(body)
}

pub fn points(analysis: &Analysis) -> Vec<PerformancePoint> {
    let returns = analysis.benchmark.as_ref().map(|benchmark| benchmark.cumulative(&analysis.series));
    let mut returns = returns.and_then(Result::ok).unwrap_or_default().into_iter().peekable();
    let days = analysis.series.days().iter().zip(cumulative_twr(&analysis.series));
    let point = |(day, twr): (&Day, f64)| {
        let benchmark = returns.next_if(|(date, _)| *date == day.date).map(|(_, of_benchmark)| of_benchmark);
        PerformancePoint::new(day, twr, benchmark)
    };
    days.map(point).collect()
}

/// The last of [`points`].
fn last_point(analysis: &Analysis) -> Option<PerformancePoint> {
    let series = &analysis.series;
    let benchmark = analysis.benchmark.as_ref().and_then(|benchmark| benchmark.until_last_day(series));
    Some(PerformancePoint::new(series.last_day()?, twr_until_last_day(series), benchmark))
}

/// The beginning of a body with all points but the last, separated by commas, with one after the last.
fn write_closed(analysis: &Analysis) -> Vec<u8> {
    let mut text = BEGINNING.to_vec();
    let mut points = points(analysis);
    points.pop();
    for point in points {
        // Writing to memory does not fail, and points have no maps.
        if serde_json::to_writer(&mut text, &point).is_ok() {
            text.push(b',');
        }
    }
    text
}

/// A gzip header without name and time (RFC 1952, 2.3), for the fastest level on an unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// The checksum and the length of what was compressed, at the end of [`compress_closed`].
const TRAILER: usize = 8;

fn trailer(checksum: Hasher, length: u32) -> [u8; TRAILER] {
    let mut bytes = [0; TRAILER];
    bytes[..4].copy_from_slice(&checksum.finalize().to_le_bytes());
    bytes[4..].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// The length modulo 2³², as gzip writes it.
#[expect(clippy::cast_possible_truncation, reason = "RFC 1952 wants the length modulo 2^32")]
fn short_length(bytes: &[u8]) -> u32 {
    bytes.len() as u32
}

/// [`write_closed`] compressed, with its checksum and length so far.
fn compress_closed(analysis: &Analysis) -> Vec<u8> {
    let plain = write_closed(analysis);
    let mut encoder = DeflateEncoder::new(GZIP_HEADER.to_vec(), CLOSED_LEVEL);
    // Writing to memory does not fail.
    let _ = encoder.write_all(&plain).and_then(|()| encoder.flush());
    let mut compressed = std::mem::take(encoder.get_mut());
    let mut checksum = Hasher::new();
    checksum.update(&plain);
    compressed.extend(trailer(checksum, short_length(&plain)));
    compressed
}

/// Closed points are compressed once for many answers, and are kept in memory.
const CLOSED_LEVEL: Compression = Compression::new(6);

/// The pieces of a gzip body from [`compress_closed`] and the rest.
fn continue_gzip(mut closed: Bytes, rest: &[u8]) -> Option<[Bytes; 2]> {
    let known = closed.split_off(closed.len().checked_sub(TRAILER)?);
    let number = |from: usize| Some(u32::from_le_bytes(known.get(from..from + 4)?.try_into().ok()?));
    let (mut checksum, length) = (Hasher::new_with_initial(number(0)?), number(4)?);
    checksum.update(rest);
    let mut encoder = DeflateEncoder::new(Vec::with_capacity(rest.len() / 2), Compression::fast());
    encoder.write_all(rest).ok()?;
    let mut compressed = encoder.finish().ok()?;
    compressed.extend(trailer(checksum, length.wrapping_add(short_length(rest))));
    Some([closed, compressed.into()])
}

/// A body of several pieces, none of which is copied as a whole: the connection takes so much as it can send.
struct Pieces(VecDeque<Bytes>);

impl Pieces {
    /// As much as a connection gathers before it sends.
    const MAX_AT_ONCE: usize = 32 * 1024;
}

impl MessageBody for Pieces {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0.iter().map(|piece| piece.len() as u64).sum())
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        while self.0.pop_front_if(|piece| piece.is_empty()).is_some() {}
        let Some(piece) = self.0.front_mut() else { return Poll::Ready(None) };
        let next = piece.split_to(piece.len().min(Self::MAX_AT_ONCE));
        Poll::Ready(Some(Ok(next)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sent(mut pieces: Pieces) -> Vec<Bytes> {
        let mut sent = Vec::new();
        while let Some(Ok(piece)) = std::future::poll_fn(|cx| Pin::new(&mut pieces).poll_next(cx)).await {
            sent.push(piece);
        }
        sent
    }

    #[actix_web::test]
    async fn a_body_is_sent_in_small_pieces_and_whole() {
        for sizes in [[0, 0], [0, 5], [70_000, 0], [32_768, 1], [100_000, 40_000]] {
            let pieces = sizes.map(|size| Bytes::from(vec![b'x'; size]));
            let body = Pieces(pieces.into());
            let BodySize::Sized(size) = body.size() else { panic!("its size is known") };
            let sent = sent(body).await;
            assert!(sent.iter().all(|piece| (1..=Pieces::MAX_AT_ONCE).contains(&piece.len())), "{sizes:?}");
            assert_eq!(sent.iter().map(|piece| piece.len() as u64).sum::<u64>(), size);
        }
    }
}
