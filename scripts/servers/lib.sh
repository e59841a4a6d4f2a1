# shellcheck shell=bash
# lib.sh: what the scripts of servers share. Sourced after ../lib.sh, never run.
#
# A script sets `state`, its own directory below `servers`, for pid files, logs and data.

# shellcheck disable=SC2154  # root and name are of ../lib.sh, state is the script's
servers=$root/target/servers
# Seconds to wait for each server.
wait_s=${SERVERS_WAIT:-60}

# alone: until this script ends, no other run of it does anything. What it starts must not inherit 9.
alone() {
  mkdir -p "$state"
  exec 9>"$state/lock"
  flock -w "$((wait_s * 10))" 9 || die "another $name has held $state/lock for $((wait_s * 10)) s; is it stuck?"
}

# answers PORT: any answer of HTTP will do, as without a signature most are a refusal.
answers() { curl -sS -m 10 -o /dev/null "http://127.0.0.1:$1/" 2>/dev/null; }

# alive PIDFILE: the recorded process lives, and is one of ours.
alive() {
  local pid
  pid=$(head -n 1 "$1" 2>/dev/null) && [ -n "$pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$servers/"
}

# wait_for WHAT PIDFILE LOG COMMAND...: until the command says that it answers.
wait_for() {
  local what=$1 pidfile=$2 log=$3 start=$SECONDS
  shift 3
  until "$@"; do
    # A server that detaches itself writes its pid when it is up.
    alive "$pidfile" || [ $((SECONDS - start)) -lt 4 ] || {
      tail -n 15 "$log" >&2
      die "$what stopped while starting; the lines above end its log, $log"
    }
    [ $((SECONDS - start)) -lt "$wait_s" ] || {
      tail -n 15 "$log" >&2
      die "$what did not answer in $wait_s s; log: $log"
    }
    sleep 0.1
  done
}

# start NAME PORT COMMAND...: detached, its pid and log beside each other, until it answers by HTTP.
start() {
  local what=$1 port=$2
  shift 2
  # One that lives and does not answer is only slow.
  if ! alive "$state/$what.pid"; then
    say "starting $what"
    setsid "$@" >"$state/$what.log" 2>&1 </dev/null 9>&- &
    echo $! >"$state/$what.pid"
  fi
  wait_for "$what" "$state/$what.pid" "$state/$what.log" answers "$port"
}

# stop WHAT PIDFILE [SIGNAL]: if this repository's scripts started it.
stop() {
  local pid end=$((SECONDS + wait_s))
  alive "$2" || return 0
  pid=$(head -n 1 "$2")
  kill -s "${3:-TERM}" "$pid"
  while alive "$2"; do
    [ "$SECONDS" -lt "$end" ] || die "$1 (pid $pid) did not stop in $wait_s s"
    sleep 0.1
  done
  rm -f "$2"
  say "stopped $1 (pid $pid)"
}

# report WHAT COMMAND...: says whether it answers, and notes in `missing` if not.
missing=0
# shellcheck disable=SC2034  # for the scripts that source this
report() {
  local what=$1
  shift
  if "$@"; then say "$what answers"; else
    say "$what does not answer"
    missing=1
  fi
}

# start_moto PORT: with S3 and DynamoDB. One installation for all scripts.
start_moto() {
  local home=$servers/moto version=5.2.5 log=$state/pip.log
  mkdir -p "$servers"
  exec 8>"$servers/moto.lock"
  flock -w "$((wait_s * 5))" 8 || die "another script has held $servers/moto.lock for $((wait_s * 5)) s; is it stuck?"
  if [ "$("$home/bin/python" -c 'from importlib.metadata import version; print(version("moto"))' 2>/dev/null)" != "$version" ]; then
    python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3 python3-venv 8>&- 9>&-
    say "installing moto $version"
    rm -rf "$home"
    { python3 -m venv "$home" && "$home/bin/pip" install -q --disable-pip-version-check "moto[s3,server]==$version"; } \
      >"$log" 2>&1 </dev/null || {
      tail -n 15 "$log" >&2
      die "pip could not install moto $version; the lines above end its log, $log"
    }
  fi
  exec 8>&-
  start moto "$1" "$home/bin/python" scripts/servers/serve-moto.py "$1"
}
