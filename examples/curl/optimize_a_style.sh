#!/usr/bin/env bash
# Paints a photo by optimization (Gatys et al. 2016), and shows the loss by step.
set -euo pipefail
. examples/curl/atelier.sh

content=$(upload examples/photos/chelsea.jpg)
style=$(upload examples/photos/strokes.jpg)
job=$(run style-transfers '{"method": "gatys", "content": "'"$content"'", "style": "'"$style"'", "size": 96,
  "num_steps": 10, "init": "fast", "loss_curve": true}')
save "$job" 0 gatys.png
save "$job" 1 gatys-loss.png
