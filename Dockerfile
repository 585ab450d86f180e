# syntax=docker/dockerfile:1.7
# Three small images from one file: `edge`, `settler`, and `web` (nginx with the page).

FROM rust:1.95.0-bookworm AS build
WORKDIR /build
# Line tables would be four fifths of the programs' size.
ENV CARGO_PROFILE_RELEASE_DEBUG=false
ENV CARGO_PROFILE_RELEASE_STRIP=debuginfo
# What dependencies are made of, with empty crates: this layer is rebuilt only when they change.
COPY Cargo.toml Cargo.lock ./
COPY crates/bench/Cargo.toml crates/bench/
COPY crates/books/Cargo.toml crates/books/
COPY crates/chaos/Cargo.toml crates/chaos/
COPY crates/domain/Cargo.toml crates/domain/
COPY crates/service/Cargo.toml crates/service/
COPY crates/simulator/Cargo.toml crates/simulator/
COPY crates/stack/Cargo.toml crates/stack/
COPY edge/Cargo.toml edge/
COPY settler/Cargo.toml settler/
COPY perf/benches perf/benches
RUN for crate in crates/bench crates/books crates/chaos crates/domain crates/service \
        crates/simulator crates/stack edge settler; do \
        mkdir -p "$crate/src" && touch "$crate/src/lib.rs" \
        && echo 'fn main() {}' > "$crate/src/main.rs"; \
    done \
    && cargo build --release --locked -p edge -p settler
# Our own sources, with the scripts and statements that are compiled in.
COPY lua lua
COPY sql sql
COPY nginx nginx
COPY crates crates
COPY edge edge
COPY settler settler
# Newer than what the empty crates were built from.
RUN find crates edge settler -name '*.rs' -exec touch {} + \
    && cargo build --release --locked -p edge -p settler

FROM debian:12.11-slim AS runtime
# No home, no shell, no right to anything.
USER 65532:65532

FROM runtime AS edge
COPY --from=build /build/target/release/edge /usr/local/bin/edge
ENV HTTP_ADDR=0.0.0.0:8081
EXPOSE 8081
ENTRYPOINT ["edge"]
CMD ["run"]

FROM runtime AS settler
COPY --from=build /build/target/release/settler /usr/local/bin/settler
ENV PROBE_ADDR=0.0.0.0:9091
EXPOSE 9091
ENTRYPOINT ["settler"]
CMD ["run"]

FROM nginx:1.28.0-alpine AS web
COPY nginx/nginx.conf nginx/site.conf nginx/proxy.conf nginx/socket.conf /srv/nginx/
COPY nginx/compose/ /srv/nginx/
COPY nginx/limits/on.conf /srv/nginx/limits.conf
COPY public /srv/public
USER nginx
EXPOSE 8080
ENTRYPOINT ["nginx", "-p", "/srv/nginx/", "-c", "/srv/nginx/nginx.conf", "-e", "stderr"]
CMD ["-g", "daemon off; pid /srv/nginx/tmp/nginx.pid; error_log stderr warn;"]
