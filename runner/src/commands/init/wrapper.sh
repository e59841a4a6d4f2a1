#!/bin/sh
# Runs DistributedCD in this project's own image:
#
#   ./dcd run          the pipeline, dcd.json
#   ./dcd --help       what else there is
#
# It needs a POSIX shell and Docker (or Podman), works from any directory of the project, and mounts the
# project at its own path. `./dcd run` pulls the image first; when the registry does not answer, or has
# no such image, the copy that is here is used, and when there is none, it is built. Written by
# `dcd init`, and yours from then on.
#
# What can be chosen in the environment:
#
#   DCD_IMAGE=NAME         another image
#   DCD_PULL=always|never  pull before every command, or before none (then also not before `run`)
#   DCD_BUILD=1            build the image here and use that; nothing is pulled
#   DCD_PASS="A B"         names of more variables that the container gets, such as what secrets read
#   DCD_AS_ROOT=1          be root in the container; else you are yourself, and files stay yours
#   DCD_HOME=DIR           directory to be HOME in the container, which keeps caches; else it is /tmp,
#                          which goes with the container
#   DCD_USER=NAME          whom the build is recorded for; else git's user.email, else your account
#   DCD_LOCK_DIR=DIR       where locks are kept that all clones on this machine share;
#                          else dcd/locks in $XDG_STATE_HOME, which is ~/.local/state
#   DCD_SOCKET=PATH|none   the engine's socket; else that of DOCKER_HOST or of Docker's current context
#   DCD_DOCKER_ARGS="…"    more options for `docker run`, split at spaces
#
# The container also gets DCD_*, CI, TERM, NO_COLOR, FORCE_COLOR, CLICOLOR_FORCE, TRACEPARENT, TRACESTATE
# and the proxy variables.
set -eu
unset CDPATH

# The image, the file that it is built from (beside this script), and variables that it always gets.
image=${DCD_IMAGE:-@IMAGE@}
dockerfile=@DOCKERFILE@
pass="${DCD_PASS:-}"

say() { printf 'dcd: %s\n' "$*" >&2; }
die() {
  say "$@"
  exit 3
}

# Places: of this script, of the repository around it, and where dcd is to work.
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
root=$here
while [ -n "$root" ] && [ ! -e "$root/.git" ]; do root=${root%/*}; done
root=${root:-$here}

names_a_file() {
  for argument; do [ ! -f "$argument" ] || return 0; done
  return 1
}

# Where you are; from there up to the next dcd.json, unless you name a file from where you are.
work=$(pwd -P)
case $work/ in
  "$root"/*) ;;
  *) work=$here ;;
esac
if [ ! -e "$work/dcd.json" ] && [ "${1:-}" != init ] && ! names_a_file "$@"; then
  above=$work
  while [ "$above" != "$root" ] && [ ! -e "$above/dcd.json" ]; do above=${above%/*}; done
  [ ! -e "$above/dcd.json" ] || work=$above
fi

# In a worktree of git's, or a submodule, the repository itself is somewhere else.
repository() {
  [ -f "$root/.git" ] || return 0
  cd -- "$root" && cd -- "$(sed -n 's/^gitdir: //p' .git)" || return
  [ ! -f commondir ] || cd -- "$(cat commondir)" || return
  case $(pwd -P)/ in
    "$root"/*) ;;
    *) pwd -P ;;
  esac
}
repository=$(repository) || die "the repository that $root/.git names is not there"

if command -v docker >/dev/null 2>&1; then
  engine=docker
elif command -v podman >/dev/null 2>&1; then
  engine=podman
else
  die "neither docker nor podman is installed: https://docs.docker.com/engine/install"
fi

# The engine's address as this machine has it.
address() {
  if [ -n "${DCD_SOCKET:-}" ]; then
    echo "unix://$DCD_SOCKET"
  elif [ $engine = podman ]; then
    echo "unix://$(podman info --format '{{.Host.RemoteSocket.Path}}' | sed 's|^unix://||')"
  elif [ -n "${DOCKER_HOST:-}" ]; then
    echo "$DOCKER_HOST"
  else
    docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null || echo unix:///var/run/docker.sock
  fi
}
address=$(address)
socket=
case $address in
  unix://none) ;;
  unix://*) socket=${address#unix://} ;;
  tcp://*) ;;
  *) die "the engine at $address is on another machine, which has not got this project's files" ;;
esac

# Whether the files of root in a container are yours outside: without root, and in a virtual machine.
root_is_me() {
  [ "$(uname -s)" = Linux ] && [ $engine = docker ] || return 0
  case $socket in
    /var/run/docker.sock | /run/docker.sock) return 1 ;;
    */.docker/*) return 0 ;;
  esac
  case $(docker info --format '{{.SecurityOptions}}' 2>/dev/null) in
    *name=rootless*) return 0 ;;
  esac
  return 1
}

group_of() { stat -c %g -- "$1" 2>/dev/null || stat -f %g -- "$1"; }
is_here() { $engine image inspect "$image" >/dev/null 2>&1; }

build() {
  $engine version >/dev/null 2>&1 || die "the engine at $address does not answer: start it, or see \`$engine version\`"
  [ -f "$here/$dockerfile" ] || die "the image $image is not here, and neither is $here/$dockerfile to build it from"
  say "building $image from $dockerfile"
  $engine build -t "$image" -f "$here/$dockerfile" "$here" >&2 || die "$image could not be built: see above"
}

# An image of `localhost/` was never pushed, and names no registry.
wants_pull() {
  case ${DCD_PULL:-} in
    always) return 0 ;;
    never) return 1 ;;
  esac
  case $image in
    localhost/*) return 1 ;;
  esac
  [ "$1" = run ] || ! is_here
}

get_image() {
  if [ "${DCD_BUILD:-0}" != 0 ]; then
    build
  elif ! wants_pull "$1"; then
    is_here || build
  elif is_here; then
    reason=$($engine pull -q "$image" 2>&1 >/dev/null) ||
      say "using the copy of the image that is here, as it cannot be pulled: $(printf '%s\n' "$reason" | tail -n 1)"
  else
    $engine pull "$image" >&2 || build
  fi
}

# The digest that the registry gave; an image that was not pushed has only an id.
digest() {
  name=$image
  case ${image##*/} in
    *:*) name=${image%:*} ;;
  esac
  $engine image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$image" |
    awk -v name="$name@" 'NF { last = $0 } index($0, name) == 1 { found = $0 } END { print found ? found : last }'
}

trap 'exit 130' INT
get_image "${1:-}"
if [ "${1:-}" = run ]; then
  digest=$(digest)
  say "image ${digest:-$image, $($engine image inspect --format '{{.Id}}' "$image"), which was not pushed}"
fi
trap - INT

# The options, from the last one to the first.
set -- "$image" "$@"
if [ -n "${DCD_DOCKER_ARGS:-}" ]; then
  set -f
  # shellcheck disable=SC2086  # split on purpose
  set -- $DCD_DOCKER_ARGS "$@"
  set +f
fi

# As a line of CSV, which a path may have commas in.
mount() { printf 'type=bind,"source=%s","target=%s"' "$1" "${2:-$1}"; }
set -- --mount "$(mount "$root")" --workdir "$work" "$@"
[ -z "$repository" ] || set -- --mount "$(mount "$repository")" "$@"
if [ -n "$socket" ]; then
  # Where the engine runs in a virtual machine, its socket has another path there.
  [ $engine = podman ] || [ "$(uname -s)" = Linux ] || socket=/var/run/docker.sock
  case $socket in
    */.docker/*) socket=/var/run/docker.sock ;;
  esac
  set -- --mount "$(mount "$socket" /var/run/docker.sock)" "$@"
elif [ "${DCD_SOCKET:-}" != none ]; then
  set -- --env "DOCKER_HOST=$address" "$@"
fi

DCD_LOCK_DIR=${DCD_LOCK_DIR:-${XDG_STATE_HOME:-${HOME:-/tmp}/.local/state}/dcd/locks}
mkdir -p -- "$DCD_LOCK_DIR"
set -- --mount "$(mount "$DCD_LOCK_DIR")" "$@"

home=
if [ -n "${DCD_HOME:-}" ]; then
  mkdir -p -- "$DCD_HOME"
  home=$(cd -- "$DCD_HOME" && pwd -P)
  set -- --mount "$(mount "$home")" "$@"
fi
if [ "$(id -u)" = 0 ] || [ "${DCD_AS_ROOT:-0}" != 0 ] || root_is_me; then
  # Git in the image would refuse a repository of somebody else.
  set -- --env GIT_CONFIG_COUNT=1 --env GIT_CONFIG_KEY_0=safe.directory --env 'GIT_CONFIG_VALUE_0=*' "$@"
else
  [ -z "$socket" ] || set -- --group-add "$(group_of "$socket")" "$@"
  set -- --user "$(id -u):$(id -g)" "$@"
  home=${home:-/tmp}
fi
[ -z "$home" ] || set -- --env "HOME=$home" "$@"
[ "$(getenforce 2>/dev/null)" != Enforcing ] || set -- --security-opt label=disable "$@"

DCD_USER=${DCD_USER:-$(git -C "$root" config user.email 2>/dev/null || id -un 2>/dev/null || :)}
export DCD_LOCK_DIR DCD_USER
for name in $(env | sed -n 's/^\(DCD_[A-Za-z0-9_]*\)=.*/\1/p') CI TERM NO_COLOR FORCE_COLOR CLICOLOR_FORCE \
  TRACEPARENT TRACESTATE http_proxy https_proxy no_proxy all_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY $pass; do
  # Only those that are set: by name, so that no value is seen on the command line.
  set -- --env "$name" "$@"
done

# Steps have no input. A terminal is for colours, live progress and Ctrl-C.
if [ -t 0 ] && [ -t 1 ]; then set -- --interactive --tty "$@"; fi

# In place of this script, so that signals reach dcd, and its exit code is yours.
exec $engine run --rm "$@"
