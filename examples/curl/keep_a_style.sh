#!/usr/bin/env bash
# Invents a style between paintings, keeps it, and paints a photo with it.
set -euo pipefail
. examples/curl/atelier.sh

content=$(upload examples/photos/chelsea.jpg)
job=$(run collections '{"name": "Styles", "space": "style", "data": "styles", "limit": 30,
  "clusterings": [{"method": "kmeans", "n_clusters": 3}]}')
job=$(run cluster-samplings '{"collection": "'"${job/job_/col_}"'", "cluster": 0, "n": 1, "content": "'"$content"'",
  "size": 128, "seed": 3}')
style=$(call styles -H 'Content-Type: application/json' -d '{"name": "Invented", "job": "'"$job"'", "output": 0}' | field id)
job=$(run style-transfers '{"content": "'"$content"'", "style": "'"$style"'", "size": 256}')
save "$job" 0 invented.png
