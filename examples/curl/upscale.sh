#!/usr/bin/env bash
# Makes an image four times as large.
set -euo pipefail
. examples/curl/atelier.sh

job=$(run generations '{"model": "dcgan-avatars", "n": 1, "seed": 7, "upscale": 1}')
save "$job" 0 face.png
image=$(upload face.png)
job=$(run generations '{"mode": "upscale", "model": "realesr-animevideov3", "images": ["'"$image"'"], "scale": 4}')
save "$job" 0 large.png
