# The stock image: one static binary, /dcd, and nothing else; and a second one, which holds the first-party plugins.
#
#   docker build -t dcd .
#   docker build -t dcd-plugins --target plugins .
#   docker build -t dcd-plugins --target plugins --build-arg PLUGINS="-p http -p history-s3" .    # these two
#
# RUST_IMAGE is any image with rustup's Rust 1.95 and a C compiler for musl: rust:1.95-alpine
# as it is, or a Debian-like one with musl-tools and clang (scripts/docker/rust-image makes one).
# No "syntax" line and no "RUN --mount": the classic builder and offline engines build it too.
ARG RUST_IMAGE=rust:1.95-alpine

# The plugins come first: the builder without BuildKit makes every stage up to the one that is wanted.
FROM ${RUST_IMAGE} AS build-plugins
WORKDIR /src/plugins
# clang compiles the C in ring for WebAssembly.
RUN if command -v apk >/dev/null; then apk add --no-cache clang gcc musl-dev; fi \
 && rustup target add wasm32-wasip2
COPY wit /src/wit
COPY plugin-sdk /src/plugin-sdk
# The SDK's manifest takes its versions from here, and cargo wants every member of a workspace to be there.
COPY Cargo.toml /src/
COPY runner/Cargo.toml /src/runner/
COPY plugins /src/plugins
ARG PLUGINS="--workspace --exclude fixture --exclude fixture-history --exclude fixture-observer"
# A file is called as the plugin is.
RUN mkdir -p /src/runner/src && touch /src/runner/src/lib.rs && echo 'fn main() {}' >/src/runner/src/main.rs \
 && cargo build --release --locked --target wasm32-wasip2 ${PLUGINS} \
 && mkdir /dcd-plugins \
 && for file in target/wasm32-wasip2/release/*.wasm; do \
      install -m 644 "$file" "/dcd-plugins/$(basename "$file" | tr _ -)"; \
    done \
 && rm -r target

FROM scratch AS plugins
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="DistributedCD plugins" \
      org.opencontainers.image.description="The first-party plugins of DistributedCD, to COPY from" \
      org.opencontainers.image.source="https://github.com/progsoftware/dcd" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build-plugins /dcd-plugins /dcd-plugins

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
