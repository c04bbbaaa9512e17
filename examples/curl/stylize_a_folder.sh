#!/usr/bin/env bash
# Paints all images of a folder as one job, and downloads a zip file.
set -euo pipefail
. examples/curl/atelier.sh

ids=$(for photo in examples/photos/*.jpg; do printf '"%s",' "$(upload "$photo")"; done)
job=$(run style-transfers '{"mode": "many", "contents": ['"${ids%,}"'], "style": "builtin:19", "size": 256}')
call "jobs/$job/outputs" -L -o painted.zip
