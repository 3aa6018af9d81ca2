#!/usr/bin/env bash
# Builds the image and tries it as a cluster would run it: read-only, without capabilities, asked for
# its health over gRPC; then the chart's pod (values-dev.yaml) with a generated client against it.
# Needs root, Debian's buildah, podman, runc and debootstrap, and the tools of .ci/setup. The first time takes as
# long as a release build with all dependencies; after that the layer of dependencies is there.
set -euo pipefail
cd "$(dirname "$0")/.."
image=localhost/proactive:try
here=$(mktemp -d)
step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

# A machine without systemd, such as a container of a CI.
if [[ ! -d /run/systemd/system ]]; then
  cat >"$here/containers.conf" <<'CONF'
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
CONF
  export CONTAINERS_CONF=$here/containers.conf
fi
export BUILDAH_ISOLATION=chroot

clean() {
  podman rm --force --time 1 --ignore proactive-try >/dev/null 2>&1 || true
  [[ ! -f $here/pod.yaml ]] || podman play kube --down "$here/pod.yaml" >/dev/null 2>&1 || true
  rm -rf "$here"
}
trap clean EXIT

# Without a registry of images: Debian, with the compiler and the crates of this machine. Takes part
# under the name that the Dockerfile asks for, with that image's variables.
make_base() {
  local inside_rust=/rust inside_cargo=/cargo made
  debootstrap --variant=minbase --include=ca-certificates,gcc,libc6-dev,make \
    bookworm "$here/root" >/dev/null
  mkdir "$here/root$inside_cargo"
  cp -a "$(rustc --print sysroot)" "$here/root$inside_rust"
  rm -rf "$here/root$inside_rust/share"
  made=$(buildah from scratch)
  buildah add --quiet "$made" "$here/root" / >/dev/null
  rm -rf "$here/root"
  buildah config --env CARGO_HOME="$inside_cargo" --env CARGO_NET_OFFLINE=true \
    --env PATH="$inside_rust/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
    "$made"
  buildah commit --quiet --rm "$made" "$1" >/dev/null
}

# A variable of that image; nothing if it has none.
of_base() {
  buildah inspect --type image --format '{{range .OCIv1.Config.Env}}{{println .}}{{end}}' "$base" |
    sed -n "s/^$1=//p"
}

step "the image to build on"
base=$(sed -n 's/^FROM \(rust:[^ ]*\) AS build$/\1/p' Dockerfile)
if ! buildah inspect --type image "$base" >/dev/null 2>&1 && ! buildah pull --quiet "$base"; then
  make_base "$base"
fi
crates=()
if [[ $(of_base CARGO_NET_OFFLINE) == true ]]; then
  cargo fetch --locked
  crates=(--volume "${CARGO_HOME:-$HOME/.cargo}/registry:$(of_base CARGO_HOME)/registry:ro")
fi

step "the image"
nice buildah build --layers --network host --pull=never "${crates[@]}" --tag "$image" \
  --label org.opencontainers.image.version="$(sed -n 's/^version = "\(.*\)"$/\1/p;T;q' Cargo.toml)" \
  --label org.opencontainers.image.revision="$(git rev-parse HEAD)" .
podman image inspect --format 'size: {{.Size}} bytes, user {{.User}}' "$image"

# Asks until it answers SERVING.
healthy() {
  local told
  for _ in {1..100}; do
    told=$("$GRPCURL" -plaintext -d "{\"service\":\"$2\"}" "$1" grpc.health.v1.Health/Check 2>&1) || true
    [[ $told != *'"SERVING"'* ]] || { echo "$1: $2 is SERVING"; return; }
    sleep 0.1
  done
  echo "$1: $2 is not SERVING: $told" >&2
  return 1
}

step "read-only, without capabilities"
podman run --detach --name proactive-try --read-only --read-only-tmpfs=false --cap-drop all \
  --security-opt no-new-privileges --network host \
  --env GRPC_PORT=0 --env HTTP_PORT=0 --env ADMIN_PORT=0 --env RUST_LOG=info,rustls_platform_verifier=debug \
  --env GEMINI_API_KEY=none --env FIREBASE_PROJECT_ID=demo-proactive \
  --env FIREBASE_AUTH_EMULATOR_HOST=127.0.0.1:9099 "$image" >/dev/null
address=
for _ in {1..100}; do
  address=$(podman logs proactive-try 2>&1 | sed -n 's/.* grpc=0\.0\.0\.0:\([0-9]*\) .*/127.0.0.1:\1/p')
  [[ -z $address ]] || break
  sleep 0.1
done
healthy "$address" alive
healthy "$address" proactive.v1.ProactiveAI
podman logs proactive-try 2>&1 | grep -E 'Loaded [0-9]{2,} CA root certificates'
podman stop --time 30 proactive-try >/dev/null
[[ $(podman inspect --format '{{.State.ExitCode}}' proactive-try) == 0 ]]
echo "drained, and left with 0"

step "the chart's pod, and a client against it"
# In a network of its own, so that the chart's ports are free; podman then maps no ports, and wants
# none listed.
"$HELM3" template try deploy/helm/proactive --namespace proactive --kube-version 1.33.0 \
  --show-only templates/deployment.yaml --values deploy/helm/proactive/values-dev.yaml \
  --set image.repository="${image%:*}" --set image.tag="${image#*:}" --set image.pullPolicy=Never |
  sed '/^ *ports:$/,/^ *env:$/{/env:/!d}' >"$here/pod.yaml"
export -f healthy
unshare --net bash -euo pipefail -c '
  ip link set lo up
  podman play kube --network host "$1"
  healthy 127.0.0.1:50051 proactive.v1.ProactiveAI
  token=$(podman logs try-proactive-pod-0-proactive 2>/dev/null | sed -n "s/^ *TOKEN=.\(.*\).$/\1/p")
  "$PROACTIVE_PYTHON" -B tests/python/grpc_client.py proto 127.0.0.1:50051 "$token"
' trial "$here/pod.yaml"
step "done"
