#!/usr/bin/env bash
# Generates a part of an image anew, where a mask is white: the figure of a photo.
set -euo pipefail
. examples/curl/atelier.sh

image=$(upload examples/photos/astronaut.jpg)
mask=$(upload examples/photos/astronaut-figure.png)
job=$(run generations '{"model": "stable-diffusion-avatars", "mode": "inpaint", "prompt": "a woman with a yellow hat",
  "image": "'"$image"'", "mask": "'"$mask"'", "num_inference_steps": 5}')
save "$job" 0 hat.png
