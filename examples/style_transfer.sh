#!/usr/bin/env bash
# Paint a photo in a style with curl alone: examples/style_transfer.sh PHOTO [STYLE] > painted.png
# STYLE is an image file, or a built-in style such as builtin:19. The service must be up (scripts/run).
set -euo pipefail
url=${ATELIER_URL:-http://127.0.0.1:8000}
photo=$1 style=${2:-builtin:19}

# Prints the API's answer, or its error on standard error.
call() {
  local body
  body=$(curl --fail-with-body -sS "$@") || { echo "$body" >&2; return 1; }
  echo "$body"
}
upload() { call -F "file=@$1" "$url/v1/images" | sed 's/.*"id":"\([^"]*\)".*/\1/'; }

content=$(upload "$photo")
[[ $style == builtin:* ]] || style=$(upload "$style")
job=$(call "$url/v1/style-transfers" \
  -H 'Content-Type: application/json' -H 'Prefer: wait=60' \
  -d "{\"method\": \"fast\", \"content\": \"$content\", \"style\": \"$style\", \"size\": 512}" |
  sed 's/^{"id":"\([^"]*\)".*/\1/')
curl --fail-with-body -sS "$url/v1/jobs/$job/outputs/0"
