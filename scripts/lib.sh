# shellcheck shell=bash
# lib.sh: what the scripts share. Sourced, never run:
#
#   . "$(dirname "$0")/lib.sh"
#
# Goes to the repository's root and chooses the Rust toolchain, so that every script works from
# any directory and compiles the same way: same flags, same target directories, nothing twice.

name=$(basename "$0")
script=$(realpath "$0")
# shellcheck disable=SC2034  # for the scripts that source this
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit

# The scripts and the tests look for what cargo made where it puts it by default.
unset CARGO_TARGET_DIR CARGO_BUILD_TARGET RUSTFLAGS

# The test binaries that need an engine, as nextest names them. A pattern, so that one may be missing.
# shellcheck disable=SC2034  # for the scripts that source this
container_tests='binary(/^(e2e|identity)$/)'
# Those that need the servers of scripts/servers.
# shellcheck disable=SC2034  # for the scripts that source this
server_tests='(binary(/^backends$/) and not test(/^history_dir::/))'
# The one with Garage, which compiles for minutes.
# shellcheck disable=SC2034  # for the scripts that source this
garage_test='test(=s3::garage_is_refused_as_it_overwrites)'

say() { printf '%s: %s\n' "$name" "$*" >&2; }
die() {
  printf '%s: error: %s\n' "$name" "$*" >&2
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# Prints the comment that a script starts with.
help() { awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$script"; }

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    die "needs root for: $*; run it as root or install sudo"
  fi
}

# apt_install PACKAGE...: with the package lists read again only when the old ones do not do.
apt_install() {
  have apt-get || die "needs $*, and there is no apt-get to install them with; install them and try again"
  say "installing Debian packages: $*"
  local log apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=180)
  log=$(mktemp)
  { as_root "${apt[@]}" install "$@" || { as_root "${apt[@]}" update && as_root "${apt[@]}" install "$@"; }; } \
    >"$log" 2>&1 </dev/null || {
    tail -n 15 "$log" >&2
    die "apt-get could not install: $* (the lines above end its log, $log)"
  }
  rm -f "$log"
}

wanted_rust() { sed -n 's/^channel *= *"\(.*\)"/\1/p' rust-toolchain.toml; }

# The toolchain of rust-toolchain.toml under whatever name it is installed ("stable" may well be it):
# a copy that is here is better than a download.
use_toolchain() {
  local wanted toolchain
  have rustup || die "no rustup on this machine; install it from https://rustup.rs, then try again"
  ! RUSTUP_AUTO_INSTALL=0 rustc --version >/dev/null 2>&1 || return 0
  wanted=$(wanted_rust)
  while read -r toolchain _; do
    if rustup run "$toolchain" rustc --version 2>/dev/null | grep -q "^rustc $wanted "; then
      say "Rust $wanted is installed as $toolchain: using that"
      export RUSTUP_TOOLCHAIN=$toolchain
      return 0
    fi
  done < <(rustup toolchain list)
  say "installing Rust $wanted"
  rustup toolchain install "$wanted" --profile minimal --component rustfmt,clippy >&2 ||
    die "rustup could not install Rust $wanted; the lines above say why"
}

host_target() { rustc -vV | sed -n 's/^host: //p'; }

# part NAME COMMAND...: runs a part of the work; says what it is, how long it took, and which one failed.
# (No "if" or "||" around the command: in a function that would let it go on after an error.)
part() {
  part_name=$1 part_start=$SECONDS
  shift
  printf '==> %s\n' "$part_name"
  trap 'say "error: $part_name failed after $((SECONDS - part_start)) s; the lines above say why"' EXIT
  "$@"
  trap - EXIT
  printf '    %s: %s s\n' "$part_name" "$((SECONDS - part_start))"
}

# rerun_as_root ARGUMENTS...: starts the calling script again by sudo, if it is not root's already.
rerun_as_root() {
  [ "$(id -u)" != 0 ] || return 0
  have sudo || die "needs root; run it as root or install sudo"
  # sudo would drop what finds the engine and the Rust toolchain
  local keep=("PATH=$PATH" "HOME=$HOME") variable
  while read -r variable; do keep+=("$variable=${!variable}"); done < <(compgen -e | grep -E '^(DOCKER_|RUSTUP_|CARGO_HOME$|CI$)')
  exec sudo env "${keep[@]}" "$script" "$@"
}

need_engine() {
  docker version >/dev/null 2>&1 ||
    die "no Docker engine answers $(id -un); run scripts/docker/docker-up first (a user other than root must be in the group docker)"
}

# An image carries a digest of what it was made from: one made from the same is kept.
image_recipe() { docker image inspect -f '{{index .Config.Labels "dcd-test.recipe"}}' "$1" 2>/dev/null || true; }

image_size() { docker image inspect -f '{{.Size}}' "$1" | awk '{printf "%.1f MB", $1 / 1e6}'; }

# replace_image IMAGE ID: gives the name to the new image and drops the one that had it, if nothing uses that.
replace_image() {
  local old
  old=$(docker image inspect -f '{{.Id}}' "$1" 2>/dev/null || true)
  docker tag "$2" "$1"
  [ -z "$old" ] || [ "$old" = "$(docker image inspect -f '{{.Id}}' "$1")" ] || docker rmi "$old" >/dev/null 2>&1 || true
}
