# The image of Stockyard: one binary, linked to a libpq with TLS, run by an unprivileged user.
#
#   docker build -t stockyard .
#
# `make test` replays these stages without Docker: scripts/dockerfile-stages.

# All manifests, with a stub for each source file that Cargo expects (libraries, binaries, benches, examples, tests, build
# scripts). That is enough to build the dependencies, and changes only when a manifest changes.
FROM rust:1.95-bookworm AS manifests
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY crates crates
COPY benches benches
RUN mkdir /manifests \
 && cp --parents Cargo.toml Cargo.lock crates/*/Cargo.toml benches/Cargo.toml /manifests \
 && cargo metadata --no-deps --format-version 1 > /metadata.json \
 && grep -o '"src_path":"[^"]*"' /metadata.json | cut -d '"' -f 4 > /sources \
 && while read -r source; do \
        stub="/manifests/${source#"$PWD/"}" \
     && mkdir -p "${stub%/*}" \
     && echo 'fn main() {}' > "$stub" \
     || exit 1; \
    done < /sources

# The chart library of the pages, from npm.
FROM node:22-bookworm-slim AS assets
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
COPY scripts/assets scripts/
RUN scripts/assets

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
COPY --from=assets /src/static/vendor static/vendor
# The source files may be older than the stubs. Without `touch`, Cargo would keep what it has built from the stubs.
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
# Stockyard writes to /data only with SQLite. Mount a volume there to keep the data.
ENV HOST=0.0.0.0 \
    DATA_DIR=/data
USER stockyard
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=330s --retries=3 CMD ["stockyard", "healthcheck"]
CMD ["stockyard", "serve"]
