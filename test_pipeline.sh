#!/usr/bin/env bash
# Walks a running Parsec through every kind of request and prints PASS or FAIL for each.
# Usage: ./test_pipeline.sh [URL]     default: http://127.0.0.1:8080
# Where keys are asked for, PARSEC_API_KEY must hold one without a tenant and with all scopes.
set -uo pipefail

case "${1:-}" in -h | --help) sed -n '2,4s/^# //p' "$0"; exit 0 ;; esac
url=${1:-http://127.0.0.1:8080}
url=${url%/}
run="$(date +%s)-$$"
tenant="pipeline-$run"
now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0
failed=0
key=()
if [ -n "${PARSEC_API_KEY:-}" ]; then # in a file, for everybody may read command lines
  (umask 077 && printf 'X-API-Key: %s\n' "$PARSEC_API_KEY" > "$scratch/key")
  key=(-H "@$scratch/key")
fi

# event ID: one valid event as JSON
event() {
  printf '{"id":"%s","tenant_id":"%s","timestamp":"%s","severity":"INFO","source":"Test","message":"event %s","metadata":{"run":"%s"}}' \
    "$1" "$tenant" "$now" "$1" "$run"
}

# request METHOD PATH [CURL ARGUMENTS]: status in $status, body in $body
request() {
  local method=$1 path=$2
  shift 2
  status=$(curl -sS -m 30 -o "$scratch/body" -w '%{http_code}' -X "$method" -H 'Expect:' ${key[@]+"${key[@]}"} "$@" "$url$path" 2> "$scratch/error") || true
  body=$(cat "$scratch/body" 2> /dev/null)
  : > "$scratch/body"
}

# check NAME STATUS [TEXT...]: the last answer has this status and contains each text
check() {
  local name=$1 expected=$2 text why=""
  shift 2
  [ "$status" = "$expected" ] || why="status $status instead of $expected $(cat "$scratch/error")"
  for text in "$@"; do
    case $body in *"$text"*) ;; *) why="$why; no $text" ;; esac
  done
  if [ -z "$why" ]; then
    passed=$((passed + 1))
    echo "PASS  $name"
  else
    failed=$((failed + 1))
    echo "FAIL  $name: ${why#; }"
    printf '      %.300s\n' "$body"
  fi
}

if ! curl -sS -m 5 -o /dev/null "$url/livez"; then
  echo "FAIL  nothing answers at $url; start it with: make run"
  exit 1
fi

request GET /health
check "health" 200 '"status":"' '"checks":{' '"timestamp":"'
request GET /readyz
check "ready" 200

request POST /ingest -d "$(event single)"
check "single event" 200 '"success":true' '"ack":"durable"' '"accepted":1' '"rejected":0'

request POST /ingest -d "{\"events\":[$(event batch-1),$(event batch-2)]}"
check "batch object" 200 '"success":true' '"accepted":2'

request POST /ingest -d "[$(event array-1),$(event array-2),$(event array-3)]"
check "array" 200 '"success":true' '"accepted":3'

printf '%s\n%s\n' "$(event lines-1)" "$(event lines-2)" > "$scratch/lines"
request POST /ingest --data-binary "@$scratch/lines"
check "JSON lines" 200 '"success":true' '"accepted":2'

event gzip | gzip -c > "$scratch/lines.gz"
request POST /ingest -H 'Content-Encoding: gzip' --data-binary "@$scratch/lines.gz"
check "gzip" 200 '"success":true' '"accepted":1'

request POST "/ingest?tenant_id=$tenant&message_field=log&source=mapped&severity=warn&timestamp_field=date" \
  -d "{\"id\":\"mapped\",\"log\":\"named otherwise\",\"date\":\"$now\"}"
check "field names in the address" 200 '"success":true' '"accepted":1'

request POST "/ingest?ack=enqueued" -d "$(event enqueued)"
check "acknowledged from the queue" 200 '"ack":"enqueued"' '"accepted":1'

request POST /ingest -d "[$(event partial),{\"tenant_id\":\"$tenant\"}]"
check "partial success" 200 '"success":false' '"accepted":1' '"rejected":1' '"index":1' '"code":"missing_field"'

request POST /ingest -d "{\"tenant_id\":\"$tenant\",\"timestamp\":\"yesterday\",\"severity\":\"info\",\"source\":\"t\",\"message\":\"m\"}"
check "invalid event" 400 '"accepted":0' '"rejected":1' '"code":"invalid_timestamp"' '"field":"timestamp"'

request POST /ingest -d '{"tenant_id":'
check "broken JSON" 400 '"success":false' '"code":"invalid_json"'

request POST /ingest -d ''
check "empty body" 400 '"code":"no_events"'

request POST /ingest -H 'Content-Encoding: snappy' -d "$(event encoding)"
check "unknown encoding" 415 '"code":"unsupported_encoding"'

{ printf '{"id":"big","tenant_id":"%s","timestamp":"%s","severity":"info","source":"t","message":"' "$tenant" "$now"
  head -c 400000 /dev/zero | tr '\0' x
  printf '"}'; } > "$scratch/event"
request POST /ingest --data-binary "@$scratch/event"
check "oversize event" 400 '"code":"event_too_large"'

head -c 17000000 /dev/zero | tr '\0' ' ' > "$scratch/large"
request POST /ingest --data-binary "@$scratch/large"
check "oversize body" 413 '"code":"payload_too_large"'

request GET /ingest
check "wrong method" 405

request GET /stats
check "stats" 200 '"worker":{' '"processed":' '"producer":{' '"messages_sent":' '"channel":{' '"capacity":' '"ledger":{'

request GET /metrics
check "metrics" 200 'parsec_ingest_events_accepted_total'

# Stored a moment after the answer: asked again for up to 30 seconds.
sent="single batch-1 batch-2 array-1 array-2 array-3 lines-1 lines-2 gzip mapped enqueued partial"
for _ in $(seq 60); do
  request GET "/query/events?tenant=$tenant&from=-1h&limit=1000"
  found=$(grep -o '"id":"' <<< "$body" | wc -l)
  [ "$found" -ge "$(wc -w <<< "$sent")" ] && break
  sleep 0.5
done
texts=()
for id in $sent; do texts+=("\"id\":\"$id\""); done
check "search finds what was sent" 200 "${texts[@]}" '"cursor":null' '"complete_until":'
if [ "$found" -eq "$(wc -w <<< "$sent")" ]; then body="once"; else body="$found events instead of $(wc -w <<< "$sent")"; fi
check "and finds each of them once" 200 "once"

request GET "/query/events?tenant=nobody-$run"
check "search of an unknown tenant" 200 '"events":[]'
request GET "/query/events"
check "search without a tenant" 400 '"code":"missing_parameter"'
request GET "/nowhere"
check "unknown address" 404 '"code":"not_found"'

echo
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
