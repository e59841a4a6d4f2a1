# The stock image: one static binary, /dcd, and nothing else.
#
#   docker build -t dcd .
#
# RUST_IMAGE is any image with rustup's Rust 1.95 and a C compiler for musl: rust:1.95-alpine
# as it is, or a Debian-like one with musl-tools (scripts/docker/rust-image makes one).
# No "syntax" line and no "RUN --mount": the classic builder and offline engines build it too.
ARG RUST_IMAGE=rust:1.95-alpine

FROM ${RUST_IMAGE} AS build
WORKDIR /src
RUN if command -v apk >/dev/null; then apk add --no-cache gcc musl-dev; fi \
 && rustup target add "$(uname -m)-unknown-linux-musl"

# The dependencies, against empty sources: this layer lasts until a manifest changes.
# (So no manifest may name a test or bench target: cargo would look for its file here.)
# rust-toolchain.toml stays out: it would make rustup fetch components that nothing here uses.
COPY Cargo.toml Cargo.lock ./
COPY runner/Cargo.toml runner/
COPY plugin-sdk/Cargo.toml plugin-sdk/
RUN mkdir runner/src plugin-sdk/src \
 && touch runner/src/lib.rs plugin-sdk/src/lib.rs \
 && echo 'fn main() {}' >runner/src/main.rs \
 && cargo build --release --locked --target "$(uname -m)-unknown-linux-musl" -p dcd-runner

COPY wit wit
COPY plugin-sdk plugin-sdk
COPY runner runner
# COPY keeps the files' times, which may be older than the empty sources': cargo would call them built.
RUN find runner plugin-sdk wit -type f -exec touch {} + \
 && cargo build --release --locked --target "$(uname -m)-unknown-linux-musl" -p dcd-runner \
 && install -m 755 "target/$(uname -m)-unknown-linux-musl/release/dcd" /dcd

FROM scratch
# After the build, so that a new revision alone compiles nothing.
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="DistributedCD" \
      org.opencontainers.image.description="Runs a team's pipeline here, now, in the team's own image, and keeps the history of it" \
      org.opencontainers.image.source="https://github.com/progsoftware/dcd" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /dcd /dcd
ENTRYPOINT ["/dcd"]
