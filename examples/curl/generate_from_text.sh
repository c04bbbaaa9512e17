#!/usr/bin/env bash
# Generates an image from a text, then changes it by another text.
set -euo pipefail
. examples/curl/atelier.sh

job=$(run generations '{"model": "stable-diffusion-avatars", "mode": "text-to-image",
  "prompt": "a smiling woman with a red hat", "num_inference_steps": 5, "seed": 1, "upscale": 1}')
save "$job" 0 woman.png
image=$(upload woman.png)
job=$(run generations '{"model": "stable-diffusion-avatars", "mode": "image-to-image", "image": "'"$image"'",
  "prompt": "a smiling woman with glasses and a red hat", "num_inference_steps": 5, "strength": 0.6}')
save "$job" 0 glasses.png
