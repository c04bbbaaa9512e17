#!/usr/bin/env bash
# Moves an image along principal components of a collection, samples its clusters, and animates a path.
set -euo pipefail
. examples/curl/atelier.sh

job=$(run collections '{"name": "Digits", "space": "pixels", "data": "digits", "limit": 60, "image_size": 16,
  "channels": 1, "clusterings": [{"method": "kmeans", "n_clusters": 5}]}')
collection=${job/job_/col_}
job=$(run pc-steerings '{"collection": "'"$collection"'", "components": [{"component": 0}, {"component": 1}]}')
save "$job" 0 steered.png
job=$(run cluster-samplings '{"collection": "'"$collection"'", "cluster": 0, "n": 3, "seed": 2}')
save "$job" 0 sample.png
job=$(run pc-animations '{"collection": "'"$collection"'", "path": {"through": [{"cluster": 0}, {"cluster": 1}]},
  "n_frames": 8}')
save "$job" 0 animation.webp
