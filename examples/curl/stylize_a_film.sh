#!/usr/bin/env bash
# Paints an animation, frame after frame; a GIF, a WebP or an MP4.
set -euo pipefail
. examples/curl/atelier.sh

film=$(upload docs/images/space-animation.webp archives)
job=$(run style-transfers '{"mode": "film", "film": "'"$film"'", "style": "builtin:19", "n_frames": 4}')
save "$job" 0 film.webp
