#!/usr/bin/env bash
# Synthesizes a texture from noise (Gatys et al. 2015).
set -euo pipefail
. examples/curl/atelier.sh

style=$(upload examples/photos/strokes.jpg)
job=$(run style-transfers '{"mode": "texture", "style": "'"$style"'", "size": 96, "num_steps": 10}')
save "$job" 0 texture.png
