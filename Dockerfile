# The server as an image that holds one file to run, and the authorities it trusts.
#
#   docker build -t proactive .
#   docker run --read-only --cap-drop all -p 50051:50051 -p 8080:8080 -p 9464:9464 --env-file FILE proactive
#
# Static against glibc, on scratch: nothing else in it can be attacked or must be patched, and the
# allocator, the memory functions and the resolver are those that the tests and the bench run with
# (musl's are others). glibc 2.34 and later hold the resolver's `files` and `dns` in themselves.
#
# No HEALTHCHECK: it would need a client in the image, and Kubernetes asks gRPC health by itself.
# Elsewhere ask grpc.health.v1.Health on GRPC_PORT, or GET /readyz on ADMIN_PORT.
# checkov:skip=CKV_DOCKER_2:see above

FROM rust:1.95.0-slim-bookworm AS build
# jemalloc's build runs make; the compiler is there. No version: Debian keeps only the newest of a
# package, and it does not get into the image.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates make \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# Asked of the program only, for which its builds below name a target though it is this machine's
# own: procedural macros cannot be static.
ENV RUSTFLAGS="-C target-feature=+crt-static"

# All dependencies, built for a program that does nothing: this layer is made again only when the
# manifest, the lock file or the compiler change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches/frame \
 && touch src/lib.rs benches/frame/main.rs \
 && echo 'fn main() {}' > src/main.rs \
 && cp src/main.rs build.rs \
 && cargo build --locked --release --target "$(rustc --print host-tuple)"

COPY build.rs ./
COPY proto proto
COPY examples examples
COPY src src
# Newer than what was built for the program that does nothing, whatever times the sources have.
RUN find build.rs src -name '*.rs' -exec touch {} + \
 && cargo build --locked --release --bin proactive --target "$(rustc --print host-tuple)" \
 && cp "target/$(rustc --print host-tuple)/release/proactive" /proactive

FROM scratch
LABEL org.opencontainers.image.title="proactive" \
      org.opencontainers.image.description="ProactiveAI: desktops' frames in over gRPC, one decision per frame out" \
      org.opencontainers.image.licenses="Apache-2.0"
# What Google's certificates are judged by.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /proactive /proactive
# Not a name, which scratch has no list of and Kubernetes' runAsNonRoot cannot judge.
USER 65532:65532
# gRPC (GRPC_PORT), WebSocket and HTTP (HTTP_PORT), and the operators' pages (ADMIN_PORT).
EXPOSE 50051 8080 9464
# SIGTERM drains; docker waits 10 s of itself: `docker stop --time 30`.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/proactive"]
CMD ["serve"]
