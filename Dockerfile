# The image of Stockyard: one binary, linked to a libpq with TLS, run by a user without rights.
#
#   docker build -t stockyard .

# Every manifest with an empty source beside it: enough to build the dependencies, and unchanged as long as they are.
FROM rust:1.95-bookworm AS manifests
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY crates crates
COPY benches/Cargo.toml benches/
RUN mkdir /manifests \
 && cp --parents Cargo.toml Cargo.lock crates/*/Cargo.toml benches/Cargo.toml /manifests \
 && cd /manifests \
 && for crate in crates/* benches; do mkdir "$crate/src" && touch "$crate/src/lib.rs"; done \
 && rm crates/app/src/lib.rs \
 && echo 'fn main() {}' > crates/app/src/main.rs

FROM rust:1.95-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends libpq-dev pkg-config \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
ARG BUILD="--release --locked --package app --bin stockyard --no-default-features --features system-libpq"
# This layer is rebuilt only when a manifest or Cargo.lock changes.
COPY --from=manifests /manifests ./
RUN cargo build $BUILD
COPY crates crates
COPY migrations migrations
COPY templates templates
COPY static static
# The files may be older than the empty ones just built, which Cargo would take for "nothing changed".
RUN find crates -name '*.rs' -exec touch {} + \
 && cargo build $BUILD

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="Stockyard" \
      org.opencontainers.image.description="Self-hosted virtual stock trading" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libpq5 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin stockyard \
 && install -d -o stockyard -g stockyard -m 700 /data
COPY --from=build /src/target/release/stockyard /usr/local/bin/stockyard
# Only the embedded way of running (SQLite) writes to /data: mount a volume there to keep it.
ENV HOST=0.0.0.0 \
    DATA_DIR=/data
USER stockyard
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["stockyard", "healthcheck"]
CMD ["stockyard", "serve"]
