#!/bin/sh
# Runs in the peers' tree: one local API, and for each FOLDER/*.log an agent that reads it and ends (see crowdsec.py).
set -eu
folder=$1
crowdsec -no-cs -no-capi > "$folder/api.out" 2>&1 &
api=$!
trap 'kill $api; wait $api' EXIT
tries=0
until cscli lapi status > "$folder/status.out" 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { tail -n 5 "$folder/api.out"; exit 1; }
    sleep 0.1
done
# An agent mostly sleeps, to let its buckets run dry, so several run at once.
find "$folder" -name '*.log' -print0 |
    xargs -0 -P 6 -I LOG sh -c 'crowdsec -no-api -dsn "file://$1" -type asterisk > "$1.out" 2>&1' sh LOG
