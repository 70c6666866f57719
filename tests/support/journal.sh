#!/bin/bash
# A journal of one's own: systemd's journald beside the machine's, seen by nobody else. To be started
# by `unshare --mount --propagation private`, as root. Runs `forepost serve` into it, as systemd
# would, has it refuse one body, and leaves the journal's files in FOLDER/journal.
#
#   journal.sh FOREPOST FOLDER      FOLDER holds forepost.toml
set -u
forepost=$1 folder=$2
mount -t tmpfs tmpfs /run || exit 77
mkdir -p /run/systemd/journal /run/log/journal
/lib/systemd/systemd-journald >/dev/null 2>&1 &
journald=$!
trap 'kill $journald 2>/dev/null' EXIT

# until_there WHAT...: at most 20 s.
until_there() {
    local tries
    for ((tries = 0; tries < 400; tries++)); do
        if "$@" 2>/dev/null; then return 0; fi
        sleep 0.05
    done
    echo "never: $*" >&2
    exit 1
}

until_there test -S /run/systemd/journal/stdout
# What systemd tells a service of its standard error, so that it speaks the journal's own protocol.
systemd-cat -t forepost bash -c '
    export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2)
    exec "$@"' serve "$forepost" serve --config "$folder/forepost.toml" \
    --ready-file "$folder/ready.json" >/dev/null 2>&1 &
serve=$!
until_there test -e "$folder/ready.json"
hospital=$(sed 's/.*"hospital":"\([^"]*\)".*/\1/' "$folder/ready.json")
curl -s -m 10 -o /dev/null -H 'content-type: application/json' --data '{"hospitalld":"H45010000001"}' \
    "http://$hospital/standardInterface/standardHttp/saveDataStorage"
kill -TERM $serve
wait $serve
journalctl -D /run/log/journal --quiet INTERFACE=ic-register-push -n 1 >/dev/null
cp -r /run/log/journal "$folder/journal"
